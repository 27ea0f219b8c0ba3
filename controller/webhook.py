"""One delivery to one hook: an HTTP POST, signed so that the receiver knows who sent it and that nothing was changed.

    Hotswap-Notice: d-1f2e3d4c/12
    Hotswap-Timestamp: 1763973627
    Hotswap-Signature: v1=<hex of HMAC-SHA256(secret, timestamp + "." + body)>

The signature is Stripe's scheme, which most languages have at hand: the time is signed too, so that a delivery that
somebody recorded is not taken for a new one later. (GitHub signs the body alone, which leaves that open; Standard
Webhooks signs the id as well, which here is part of the body.) `v1` names the scheme, so that another can be sent
beside it one day.

What comes back is not trusted: redirects are not followed, cookies are not kept, and the body of the answer is
thrown away, unpacked by nobody, up to a limit at which the connection is closed.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import aiohttp

from hotswap.deployment import Status
from hotswap.hook import Hook
from hotswap.model import Model, encode
from hotswap.notice import Notice

LIMIT = aiohttp.ClientTimeout(total=10, sock_connect=5)
"""For one delivery, name lookup and answer included."""
READ_AT_MOST = 4096
"""Bytes of an answer that are read, so that its connection can be used again."""
OK = range(200, 300)
GONE = 410

Clock = Callable[[], datetime]


class Message(Model, frozen=True, kw_only=True):
    """The body of a delivery."""

    id: str
    type: Literal["deployment.status", "test"]
    at: datetime
    deployment: str
    number: int
    function: str
    alias: str
    version: int
    previous_status: Status | None
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a delivery."""

    status: int
    """0 when there was no answer."""
    text: str
    """For people: `200 OK`, or why there was no answer."""

    @property
    def delivered(self) -> bool:
        return self.status in OK

    @property
    def gone(self) -> bool:
        return self.status == GONE


def body(notice: Notice, *, kind: Literal["deployment.status", "test"] = "deployment.status") -> bytes:
    return encode(
        Message(
            id=notice.id,
            type=kind,
            at=notice.at,
            deployment=notice.deployment,
            number=notice.number,
            function=notice.function,
            alias=notice.alias,
            version=notice.version,
            previous_status=notice.previous_status,
            status=notice.status,
            reason=notice.reason,
        )
    )


def headers(notice_id: str, content: bytes, *, secret: str, at: datetime) -> dict[str, str]:
    timestamp = str(int(at.timestamp()))
    return {
        "Content-Type": "application/json",
        "User-Agent": "hotswap",
        "Hotswap-Notice": notice_id,
        "Hotswap-Timestamp": timestamp,
        "Hotswap-Signature": f"v1={signature(secret, timestamp, content)}",
    }


def signature(secret: str, timestamp: str, content: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()


class Webhooks:
    def __init__(self, session: aiohttp.ClientSession, *, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def send(self, hook: Hook, notice_id: str, content: bytes) -> Answer:
        """Never raises for what the network or the receiver does."""
        signed = headers(notice_id, content, secret=hook.secret, at=self._clock())
        try:
            async with self._session.post(hook.url, data=content, headers=signed, allow_redirects=False) as response:
                await response.content.read(READ_AT_MOST)
                return Answer(response.status, f"{response.status} {response.reason or ''}".strip())
        except TimeoutError:
            return Answer(0, f"no answer within {LIMIT.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that no name lookup takes
            return Answer(0, f"no answer: {error}")


@asynccontextmanager
async def webhooks(*, clock: Clock) -> AsyncIterator[Webhooks]:
    """The couriers bound how many connections there are; a limit here would let one slow hook hold up another."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=LIMIT,
        auto_decompress=False,
    ) as session:
        yield Webhooks(session, clock=clock)
