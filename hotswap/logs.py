"""How the services log: one line an event, to standard error, with time, level, service and message."""

import logging
import sys


def configure(service: str, *, level: str = "INFO") -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {service} %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
