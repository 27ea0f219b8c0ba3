"""One invocation on its way: what is known of it, how the function sees it, and what its answer means."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from hotswap.metrics import Count
from hotswap.settings import RouterLimits
from router import fields
from router.balance import Load
from router.counters import Pending
from router.forwarding import Peer
from router.limit import Limit
from router.routes import Route
from router.table import VersionEntry
from router.target import Target, of_invoke
from router.upload import Upload

FORWARDING = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")


@dataclass(slots=True)
class Invocation:
    request: web.BaseRequest
    peer: Peer
    id: str
    target: Target
    route: Route
    version: int
    terms: VersionEntry
    upload: Upload
    limit: Limit
    limits: RouterLimits
    pending: Pending
    clock: Callable[[], float]
    began: float
    cold: bool = False
    """It had to wait for its instance."""
    tried: set[Load] = field(default_factory=set)
    """Endpoints that took no connection."""
    resent: bool = False

    @property
    def name(self) -> str:
        return f'version {self.version} of "{self.route.function}"'

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that the client offers to change to, where a tunnel can be made of it."""
        told = self.request.raw_headers
        offered = fields.value(told, b"upgrade")
        asked = offered is not None and b"upgrade" in fields.connection_tokens(told)
        return offered if asked and offered is not None and offered.strip().lower() == b"websocket" else None

    def request_head(self) -> bytes:
        """What the function gets to see."""
        request = self.request
        target = of_invoke(self.terms.kind) if self.target.invoke else self.target.rest
        host = fields.value(request.raw_headers, b"host") or b""
        if self.target.authority is not None:
            host = self.target.authority.encode()
        return fields.request_head(
            request.method,
            target,
            request.raw_headers,
            host=host,
            framing=self.upload.framing,
            added=[
                (b"Hotswap-Request-Id", self.id.encode()),
                (b"Hotswap-Function", self.route.function.encode()),
                (b"Hotswap-Version", b"%d" % self.version),
            ],
            forwarding=self.peer.lines({name: fields.values(request.raw_headers, name) for name in FORWARDING}, host),
            upgrade=self.upgrade,
        )

    def answer_lines(self) -> bytes:
        """What the router adds to every answer of a function."""
        added = b"\r\nHotswap-Version: %d\r\nHotswap-Request-Id: %b" % (self.version, self.id.encode())
        return added + b"\r\nX-Amz-Executed-Version: %d" % self.version if self.target.invoke else added

    def count(self, outcome: Count) -> None:
        """Before the last byte of the answer goes out: who has it finds it counted, whatever dies then."""
        seconds = max(0.0, self.clock() - self.began - self.limit.waited)
        self.pending.end(outcome, seconds=seconds, slow=seconds > self.route.latency_limit, cold=self.cold)
