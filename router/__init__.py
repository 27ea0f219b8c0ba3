"""The router: takes every invocation, picks a version by the weights of an alias, and relays it to an instance."""
