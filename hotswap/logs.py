"""How the services log: one line an event, to standard error, with time, level, service and message."""

import logging
import sys

OURS = ("hotswap", "controller", "router", "agent")


def configure(service: str, *, level: str = "INFO") -> None:
    """What libraries have to say below INFO is of no use to who runs a service, and is left out at any level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {service} %(message)s"))
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(least, logging.INFO), handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(least)
