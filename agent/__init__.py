"""The agent of a runner node: it starts, swaps, drains and watches the processes that run the functions' versions."""
