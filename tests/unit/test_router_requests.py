"""The codec's reading of request heads: what it refuses, and what the function gets to see of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.codec.grammar import MOST_FIELDS, MOST_HEAD, MOST_LINE
from router.codec.requests import Fields, Line, RequestReader
from router.forwarding import Peer
from router.problems import Problem
from router.target import Target

GET = b"GET /fn/a HTTP/1.1\r\nHost: h\r\n"


def read(data: bytes) -> tuple[Line, Fields]:
    head = RequestReader(Peer("10.0.0.1")).read(data)
    assert head is not None
    return head


def refused(data: bytes) -> int:
    """The status of the refusal, which comes whole and byte by byte."""
    with pytest.raises(Problem) as whole:
        RequestReader(Peer("10.0.0.1")).read(data)
    assert whole.value.close
    reader = RequestReader(Peer("10.0.0.1"))
    with pytest.raises(Problem) as piecewise:
        assert [reader.read(data[:end]) for end in range(1, len(data) + 1)] == [], "none of it is read"
    assert piecewise.value.status == whole.value.status
    return int(whole.value.status)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"GET  /fn/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a\tHTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a http/1.1\r\nHost: h\r\n\r\n", 400),
        (b"G(T /fn/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/\xe4 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a/%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a/../../b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http://u@h/fn/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http:///fn/a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"GET /fn/a HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET /fn/a HTTP/1.1\r\n\r\n", 400),
        (b"GET /fn/a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"GET /fn/a HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /fn/a HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /fn/a HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET /fn/a HTTP/1.1\nHost: h\n\n", 400),
        (b"GET /fn/a HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400),
        (GET + b"A : b\r\n\r\n", 400),
        (GET + b": b\r\n\r\n", 400),
        (GET + b"A\r\n\r\n", 400),
        (GET + b" A: b\r\n\r\n", 400),
        (GET + b"A: b\r\n c\r\n\r\n", 400),
        (GET + b"A: b\rc\r\n\r\n", 400),
        (GET + b"A: b\x00c\r\n\r\n", 400),
        (GET + b"A: b\x01c\r\n\r\n", 400),
        (GET + b"A: b\x7fc\r\n\r\n", 400),
        (GET + b"Connection: Host\r\n\r\n", 400),
        (GET + b"Connection: x, content-length\r\n\r\n", 400),
        (GET + b"Connection: x\r\nConnection: Authorization\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (GET + b"Content-Length: 3, 3\r\n\r\n", 400),
        (GET + b"Content-Length: +3\r\n\r\n", 400),
        (GET + b"Content-Length: -3\r\n\r\n", 400),
        (GET + b"Content-Length: 0x3\r\n\r\n", 400),
        (GET + b"Content-Length:\r\n\r\n", 400),
        (GET + b"Content-Length: 9223372036854775808\r\n\r\n", 400),
        (GET + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
        (GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (GET + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (b"POST /fn/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_two_readers_may_read_in_two_ways_is_refused(data: bytes, status: int) -> None:
    assert refused(data) == status


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /fn/" + b"a" * MOST_LINE + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (GET + b"A: " + b"b" * MOST_LINE + b"\r\n\r\n", 431),
        (GET + b"A: b\r\n" * MOST_FIELDS + b"\r\n", 431),
        (GET + (b"A: " + b"b" * 8_000 + b"\r\n") * (MOST_HEAD // 8_000 + 1) + b"\r\n", 431),
    ],
)
def test_a_head_has_limits_whole_or_not(data: bytes, status: int) -> None:
    with pytest.raises(Problem) as whole:
        RequestReader(Peer("h")).read(data)
    assert whole.value.status == status
    if data.count(b"\r\n") < MOST_FIELDS:  # too many fields are found when the head is whole
        with pytest.raises(Problem) as begun:
            RequestReader(Peer("h")).read(data[:-4])
        assert begun.value.status == status


def test_a_head_just_under_its_limits_is_read() -> None:
    _, fields = read(GET + b"A: b\r\n" * (MOST_FIELDS - 1) + b"\r\n")
    assert fields.lines.count(b"\r\nA: b") == MOST_FIELDS - 1


def test_the_function_sees_the_fields_as_they_came_and_what_the_router_tells() -> None:
    line, fields = read(
        b"PATCH /fn/a:2/x%2Fy?q HTTP/1.1\r\nHost: h:1\r\nX-Bytes:\xff\xfe \r\nX_Mine: kept\r\nConnection: X-Hop, te\r\n"
        b"X-hop: 1\r\nX_Hop: 2\r\nKeep-Alive: 5\r\nTE: trailers\r\nForwarded: for=1\r\nX-Forwarded-For: 1.2.3.4\r\n"
        b"Content_Length: 7\r\nTransfer_Encoding: chunked\r\nHotswap-Request-Id: abc-1\r\nVia: 1.0 edge\r\n"
        b"Content-Length: 003\r\nCookie: a=b; c_d=e\r\n\r\nxyz"
    )
    assert isinstance(line.target, Target)
    assert line.start == b"PATCH /x%2Fy?q HTTP/1.1"
    assert fields.lines == (
        b"\r\nHost: h:1\r\nX-Bytes:\xff\xfe \r\nX_Mine: kept\r\nCookie: a=b; c_d=e\r\nVia: 1.0 edge, 1.1 hotswap"
        b"\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h:1\r\nContent-Length: 3"
    )
    assert (fields.length, fields.chunked, fields.last, fields.request_id) == (3, False, False, b"abc-1")


def test_a_target_in_absolute_form_replaces_host() -> None:
    line, fields = read(b"GET http://other:8/fn/a/b HTTP/1.1\r\nHost: h\r\n\r\n")
    assert line.start == b"GET /b HTTP/1.1"
    assert fields.lines.startswith(b"\r\nHost: other:8\r\n")
    assert fields.lines.endswith(b"\r\nX-Forwarded-Host: other:8")


@pytest.mark.parametrize(
    ("version", "connection", "then"),
    [
        (b"1.1", b"", "kept"),
        (b"1.1", b"Connection: close\r\n", "closed"),
        (b"1.1", b"Connection: x\r\nConnection: Close, y\r\n", "closed"),
        (b"1.0", b"", "closed"),
        (b"1.0", b"Connection: Keep-Alive\r\n", "kept"),
    ],
)
def test_how_long_the_connection_lives_is_told_by_version_and_connection(
    version: bytes, connection: bytes, then: str
) -> None:
    _, fields = read(b"GET /fn/a HTTP/%b\r\nHost: h\r\n%b\r\n" % (version, connection))
    assert fields.last is (then == "closed")


def test_http_1_0_needs_no_host() -> None:
    assert read(b"GET /fn/a HTTP/1.0\r\n\r\n")[1].lines.startswith(b"\r\nHost: \r\n")


def test_a_target_that_names_nothing_is_told_and_the_connection_goes_on() -> None:
    line, _ = read(b"GET /elsewhere HTTP/1.1\r\nHost: h\r\n\r\n")
    assert isinstance(line.target, Problem)
    assert line.target.status == 404


def test_an_offer_to_change_the_protocol_counts_only_if_connection_names_it_and_no_body_comes_first() -> None:
    assert read(GET + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n")[1].upgrade == b"websocket"
    assert read(GET + b"Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n")[1].upgrade == b"WebSocket"
    assert read(GET + b"Upgrade: websocket\r\n\r\n")[1].upgrade is None
    assert read(GET + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n")[1].upgrade is None
    for framing, upgrade in (
        (b"Content-Length: 0", b"websocket"),
        (b"Content-Length: 1", None),
        (b"Transfer-Encoding: chunked", None),
    ):
        told = GET + b"Upgrade: websocket\r\nConnection: upgrade\r\n" + framing + b"\r\n\r\n"
        assert read(told)[1].upgrade == upgrade


NAMES = st.sampled_from([b"Accept", b"X-A", b"cookie", b"x_b", b"Content-Type", b"~"])
VALUES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\xe4", b":", b",", b'"']), max_size=8).map(b"".join)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=6)
SPECIAL = st.sampled_from(
    [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close, x-a\r\n", b"Via: 1.1 x\r\n"]
)


@given(LINES, LINES, SPECIAL, st.sampled_from([b"GET", b"PoST", b"HEAD"]))
def test_what_goes_on_is_a_head_that_reads_the_same(
    before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]], special: bytes, method: bytes
) -> None:
    lines = [b"".join(b"%b: %b\r\n" % pair for pair in some) for some in (before, after)]
    line, fields = read(method + b" /fn/a/b HTTP/1.1\r\nHost: h\r\n" + lines[0] + special + lines[1] + b"\r\n")
    again, seen = read(line.start.replace(b" /", b" /fn/a/") + fields.lines + b"\r\n\r\n")
    assert (again.method, seen.length, seen.chunked) == (method, fields.length, fields.chunked)
    kept = [b"%b: %b" % pair for pair in before + after if b"x-a" not in special or pair[0] != b"X-A"]
    assert fields.lines.split(b"\r\n")[2 : 2 + len(kept)] == kept


@given(
    st.lists(st.tuples(LINES, SPECIAL, st.sampled_from([b"/fn/a", b"/fn/b", b"http://o/fn/a"])), min_size=1, max_size=6)
)
def test_a_head_reads_the_same_whatever_came_before_it_on_its_connection(
    requests: list[tuple[list[tuple[bytes, bytes]], bytes, bytes]],
) -> None:
    reader = RequestReader(Peer("10.0.0.1"))
    for lines, special, path in [*requests, *reversed(requests)]:
        fields = b"".join(b"%b: %b\r\n" % pair for pair in lines)
        data = b"POST %b HTTP/1.1\r\nHost: h\r\n%b%b\r\nrest" % (path, fields, special)
        assert reader.read(data) == read(data)
        assert data[reader.end :] == b"rest"


@given(st.lists(NAMES, max_size=5), st.lists(st.lists(VALUES, min_size=5, max_size=5), min_size=2, max_size=6), SPECIAL)
def test_a_head_reads_the_same_after_others_that_differ_in_values(
    names: list[bytes], requests: list[list[bytes]], special: bytes
) -> None:
    reader = RequestReader(Peer("10.0.0.1"))
    for values in [*requests, *reversed(requests)]:
        fields = b"".join(b"%b: %b\r\n" % pair for pair in zip(names, values, strict=False))
        data = b"POST /fn/a HTTP/1.1\r\nHost: h\r\n%b%b\r\nrest" % (special, fields)
        assert reader.read(data) == read(data)
        assert data[reader.end :] == b"rest"


@pytest.mark.parametrize("value", [b"\x00", b"a\rb", b"a\nb", b"a\r\n b", b"a\r\nb", b"\x7f"])
def test_a_value_that_always_changes_is_still_held_against_the_grammar(value: bytes) -> None:
    reader = RequestReader(Peer("10.0.0.1"))
    for number in range(4):
        assert reader.read(GET + b"A: %d\r\nB: c\r\n\r\n" % number) is not None
    with pytest.raises(Problem):
        reader.read(GET + b"A: %b\r\nB: c\r\n\r\n" % value)


def test_a_length_that_changes_is_read_each_time() -> None:
    reader = RequestReader(Peer("10.0.0.1"))
    heads = [reader.read(GET + b"A: %d\r\nContent-Length: %d\r\n\r\n" % (number, number)) for number in range(4)]
    assert [head[1].length for head in heads if head is not None] == [0, 1, 2, 3]
