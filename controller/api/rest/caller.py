"""Who asks: shown by a bearer token, where the controller wants one, and told by a header, for the record."""

import re

from aiohttp import web

from hotswap.auth import Authenticator, Caller
from hotswap.errors import Invalid
from hotswap.rpc.callers import WHO

HEADER = WHO.title()
NAME = re.compile(r"[\x20-\x7e]{0,256}")
"""What gRPC's metadata can carry too, since a call may be passed on."""


async def of(request: web.Request, *, authenticator: Authenticator) -> Caller:
    """Raises `Unauthenticated`."""
    name = request.headers.get(HEADER, "")
    if not NAME.fullmatch(name):
        raise Invalid(f"the header {HEADER} is not a name of up to 256 printable ASCII characters")
    return await authenticator.authenticate(request.headers.get("Authorization"), claimed=name)
