"""The `hotswap` command: every command is a thin caller of a service; what a command means is the service's."""
