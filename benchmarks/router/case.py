"""What is asked of every proxy: the cases, and the request with its ten fields."""

from dataclasses import dataclass

FUNCTION = "bench"
EVENTS = "events"
"""Function with streams that do not end."""
WEIGHTS = {1: 90, 2: 10}
"""Percent by backend."""
FIELDS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.7",
    "Authorization": "Bearer hs_0123456789abcdef_0123456789abcdef0123456789abcdef",
    "Cache-Control": "no-cache",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes",
    "Referer": "https://example.test/gallery?page=12",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
"""Nine; the load adds Host as the tenth."""
NEW_EACH_TIME = {
    "Cookie": "session=0123456789abcdef%016x; theme=dark; consent=yes",
    "traceparent": "00-0af7651916cd43dd%016x-b7ad6b7169203331-01",
}
"""Fields that differ from request to request, where a case has such; with a place for a number."""
SATURATED = "get"
"""The case that tells what a full load is."""


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    path: str
    """After the function's prefix."""
    connections: int
    method: str = "GET"
    body: int = 0
    """Bytes of the request's."""
    changing: bool = False
    """No head of a request is like another one."""
    unit: str = "request"
    rate: float | None = None
    """Requests a second, about; `None`: as many as can be had."""
    half: bool = False
    """Its rate is half of what both ours and HAProxy take in the saturated case."""

    @property
    def fields(self) -> dict[str, str]:
        return FIELDS | NEW_EACH_TIME if self.changing else FIELDS

    @property
    def target(self) -> str:
        return f"/fn/{EVENTS if self.streams else FUNCTION}/{self.path}"

    @property
    def streams(self) -> bool:
        """Each connection has one answer, which does not end; what is counted is its events."""
        return self.unit == "event"


CASES = (
    Case("get", "tiny GET, 64 connections", "tiny", 64),
    Case("changing", "tiny GET with two fields that are always new, 64 connections", "tiny", 64, changing=True),
    Case("half-load", "tiny GET at half of a full load, 128 connections", "tiny", 128, half=True),
    Case("post", "POST of 1 KiB, 64 connections", "tiny", 64, method="POST", body=1024),
    Case("response-64k", "response of 64 KiB, 32 connections", "64k", 32),
    Case("stream-1m", "chunked response of 1 MiB, 16 connections", "1m", 16),
    Case("connections-256", "tiny GET, 256 connections", "tiny", 256),
    Case("connections-4096", "tiny GET, 4,096 connections", "tiny", 4096),
    Case("events-1000", "1,000 open event streams, 10 events a second on each", "", 1000, unit="event"),
)
"""Those that leave the most memory behind come last: a proxy runs from the first to the last."""
