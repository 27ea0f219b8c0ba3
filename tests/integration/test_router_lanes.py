"""The same request through both lanes: the function sees the same, and the client gets the same."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap.etcd.local import LocalEtcd
from hotswap.settings import EtcdSettings
from router.codec.body import LAST_CHUNK, Chunked, framed
from tests.router_harness import Request, RouterUnderTest, Upstream, read_request, routing, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

FN = "lanes"
LIMIT = 20.0


@dataclass(frozen=True)
class Answer:
    head: bytes
    body: bytes
    ends: bool
    """With its connection."""


@dataclass
class Scripted:
    """A function that says what it is told to."""

    answer: bytes = b""
    then_close: bool = False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(self.answer)
            await writer.drain()
            if self.then_close:
                return


@dataclass
class Lanes:
    express: RouterUnderTest
    general: RouterUnderTest
    script: Scripted
    server: Upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lanes(shared_etcd: LocalEtcd, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lanes]:
    etcd = EtcdSettings(endpoints=(shared_etcd.endpoint,))
    folder, script = tmp_path_factory.mktemp("lanes"), Scripted()
    async with (
        routing(etcd, folder / "express", name="express") as express,
        routing(etcd, folder / "general", lane="general", name="general") as general,
        upstream(script.talk) as server,
    ):
        await express.publish(FN, {1: [server.address]}, weights={1: 100})
        stored = await general.store.aliases.get(FN, "production")
        assert stored
        await general.applied("aliases", stored.mod_revision)
        yield Lanes(express, general, script, server)


TEXT = st.text(st.sampled_from('ab ,;="\t\xe4_'), max_size=12).map(lambda text: text.encode("latin-1").strip(b" \t"))
REQUEST_FIELDS = st.sampled_from(
    b"Accept X-A x-a Cookie X_B Content_Length TE Keep-Alive Via Forwarded X-Forwarded-For X-Forwarded-Host "
    b"Hotswap-Version Trailer Proxy-Connection Upgrade".split()
)
RESPONSE_FIELDS = st.sampled_from(
    [b"Server", b"Set-Cookie", b"set-cookie", b"X-A", b"Via", b"Keep-Alive", b"Hotswap-Version", b"Upgrade", b"Trailer"]
)
CONNECTION = st.sampled_from([b"", b", x-a", b", X-A, te, , cookie"])
PIECES = st.lists(st.binary(min_size=1, max_size=20), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The last of its connection."""
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    minor = b"1" if framing == "chunked" else draw(st.sampled_from([b"0", b"1"]))
    lines = [
        b"%b %b HTTP/1.%b"
        % (
            draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"DELETE", b"PATCH"])),
            b"%b/fn/lanes%b"
            % (
                draw(st.sampled_from([b"", b"http://other:1"])),
                draw(st.sampled_from([b"", b"/", b":1/x", b"/a%2Fb//;c?d=%20&e", b":production?x"])),
            ),
            minor,
        ),
        b"Host: example.org",
        b"Hotswap-Request-Id: the-same",
        b"Connection: close" + draw(CONNECTION),
        *(b"%b: %b" % pair for pair in draw(st.lists(st.tuples(REQUEST_FIELDS, TEXT), max_size=6))),
    ]
    pieces = draw(PIECES)
    body = b"".join(pieces)
    if framing == "length":
        lines.append(b"Content-Length: 0%d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(map(framed, pieces)) + draw(st.sampled_from([LAST_CHUNK, b"0;x=y\r\nHost: evil\r\n\r\n"]))
    else:
        body = b""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    framing = draw(st.sampled_from(["length", "chunked", "closed"]))
    pieces = draw(PIECES)
    lines = [
        b"HTTP/1.1 " + draw(st.sampled_from([b"200 OK", b"302 Found", b"404 Not  Found", b"503 ", b"299 \xe4"])),
        b"Date: Tue, 24 Nov 2026 12:00:00 GMT",
        *(b"%b: %b" % pair for pair in draw(st.lists(st.tuples(RESPONSE_FIELDS, TEXT), max_size=6))),
    ]
    body = b"".join(pieces)
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(map(framed, pieces)) + draw(st.sampled_from([LAST_CHUNK, b"0\r\nX-Trailer: 1\r\n\r\n"]))
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return Answer(interim + b"\r\n".join(lines) + b"\r\n\r\n", body, ends=framing == "closed")


@given(requests(), answers())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_both_lanes_do_the_same(lanes: Lanes, request_: bytes, answer: Answer) -> None:
    headless = request_.startswith(b"HEAD ")
    lanes.script.answer = answer.head if headless else answer.head + answer.body
    lanes.script.then_close = answer.ends
    seen: list[tuple[Request, bytes]] = []
    for router in (lanes.express, lanes.general):
        got = await exchanged(router, request_)
        seen.append((lanes.server.requests.pop(), got))
        assert lanes.server.requests == []
    (to_function, to_client), (same_to_function, same_to_client) = seen
    assert to_function.body == same_to_function.body
    assert sorted(to_function.head.split(b"\r\n")) == sorted(same_to_function.head.split(b"\r\n"))
    assert parts(to_client) == parts(same_to_client)


async def exchanged(router: RouterUnderTest, data: bytes) -> bytes:
    """All that comes back until the router closes."""
    reader, writer = await asyncio.open_connection(*router.host_port)
    writer.write(data)
    async with asyncio.timeout(LIMIT):
        got = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return got


def parts(answer: bytes) -> list[bytes]:
    """Heads and body; where the chunks of that end depends on time alone."""
    heads: list[bytes] = []
    while True:
        head, _, answer = answer.partition(b"\r\n\r\n")
        heads.append(head)
        if not head.startswith(b"HTTP/1.1 1"):
            break
    if b"\r\nTransfer-Encoding: chunked" in heads[-1]:
        body = Chunked()
        answer, rest = body.read(answer)
        assert (body.done, rest) == (True, b"")
    return [*heads, answer]
