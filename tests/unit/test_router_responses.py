"""The codec's reading of response heads: what it refuses, and what the client gets to see of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.codec.responses import BadResponse, read_head


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"nonsense",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 OK\r\nA : b",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded",
        b"HTTP/1.1 200 OK\r\nA: b\nB: c",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: x",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK" + b"\r\nA: b" * 129,
    ],
)
def test_what_two_readers_may_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(BadResponse):
        read_head(head)


def test_the_client_sees_the_fields_as_they_came_but_for_those_that_end_here() -> None:
    head = read_head(
        b"HTTP/1.1 404 Not  There\r\nServer: s\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX:\xff\r\n"
        b"Hotswap-Version: 9\r\nHotswap-Error: exception\r\nContent-Length: 07\r\nVia: 1.1 x"
    )
    assert (head.status, head.start) == (404, b"HTTP/1.1 404 Not  There")
    assert head.lines == b"\r\nServer: s\r\nX:\xff\r\nVia: 1.1 x\r\nContent-Length: 7\r\nVia: 1.1 hotswap"
    assert (head.length, head.chunked, head.keep, head.raised, head.dated) == (7, False, True, True, False)


@pytest.mark.parametrize(
    ("head", "then"),
    [
        (b"HTTP/1.1 200 OK", "kept"),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", "closed"),
        (b"HTTP/1.0 200 OK", "closed"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", "kept"),
    ],
)
def test_whether_the_connection_is_kept(head: bytes, then: str) -> None:
    assert read_head(head).keep is (then == "kept")


@pytest.mark.parametrize("status", [100, 103, 204])
def test_statuses_without_a_body_have_no_length(status: int) -> None:
    head = read_head(b"HTTP/1.1 %d X\r\nContent-Length: 5" % status)
    assert head.length == 0
    assert b"Content-Length" not in head.lines


def test_a_missing_reason_is_let_pass() -> None:
    assert read_head(b"HTTP/1.1 200").start == read_head(b"HTTP/1.1 200 ").start == b"HTTP/1.1 200 "


@given(st.binary(max_size=80))
def test_whatever_comes_is_read_or_refused_and_nothing_else(tail: bytes) -> None:
    try:
        head = read_head(b"HTTP/1.1 200 OK\r\n" + tail)
    except BadResponse:
        return
    assert b"\n" not in tail.replace(b"\r\n", b"")
    assert head.status == 200
