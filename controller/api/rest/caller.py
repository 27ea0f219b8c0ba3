"""Who asks. Until callers are authenticated they say so themselves, as they do over gRPC."""

import re

from aiohttp import web

from hotswap.errors import Invalid
from hotswap.rpc import wire

HEADER = wire.WHO.title()
NAME = re.compile(r"[\x20-\x7e]{0,256}")
"""What gRPC's metadata can carry too, since a call may be passed on."""


def who(request: web.Request) -> str:
    """The name for the record; empty where nobody said."""
    name = request.headers.get(HEADER, "")
    if not NAME.fullmatch(name):
        raise Invalid(f"the header {HEADER} is not a name of up to 256 printable ASCII characters")
    return name
