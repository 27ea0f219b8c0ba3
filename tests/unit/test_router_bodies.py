"""The codec's reading of bodies, whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.codec.body import LAST_CHUNK, MOST_EXTENSION, BadBody, Body, Chunked, Sized, framed


def fed(body: Body, data: bytes, *, step: int) -> tuple[bytes, bytes]:
    """The body, and what came after it."""
    payload = after = b""
    for at in range(0, len(data), step):
        if body.done:
            return payload, after + data[at:]
        piece, rest = body.read(data[at : at + step])
        payload += piece
        after += rest
    return payload, after


@pytest.mark.parametrize("step", [1, 2, 3, 1_000])
@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"0003\r\n\r\n\r\r\n000\r\n\r\n", b"\r\n\r"),
        (b'3;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n', b"abc"),
        (b"a\r\n0123456789\r\n0\r\nX-Trailer: 1\r\nContent-Length: 7\r\n\r\n", b"0123456789"),
    ],
)
def test_chunks_are_read_without_their_framing(data: bytes, payload: bytes, step: int) -> None:
    body = Chunked()
    assert fed(body, data + b"GET", step=step) == (payload, b"GET")
    assert body.done


@pytest.mark.parametrize("step", [1, 1_000])
@pytest.mark.parametrize(
    "data",
    [
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n",
        b"g\r\n",
        b"11111111111111111\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 ;a\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab\r\n0\r\n\r\n",
        b"3;a\x00\r\nabc\r\n0\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nX: 1\n\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
    ],
)
def test_chunks_that_can_be_read_in_two_ways_are_refused(data: bytes, step: int) -> None:
    with pytest.raises(BadBody):
        fed(Chunked(), data, step=step)


@pytest.mark.parametrize(
    "data",
    [
        b"3;" + b"x" * MOST_EXTENSION,
        b"1;xxxxxxxx\r\na\r\n" * (MOST_EXTENSION // 8),
        b"0\r\nX: " + b"x" * MOST_EXTENSION,
        b"0\r\n" + b"X: 12\r\n" * (MOST_EXTENSION // 4),
    ],
)
def test_what_chunks_carry_beside_the_body_is_bounded(data: bytes) -> None:
    with pytest.raises(BadBody):
        fed(Chunked(), data, step=4_096)


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=1, max_value=50))
def test_chunks_carry_what_was_put_into_them(pieces: list[bytes], step: int) -> None:
    data = b"".join(map(framed, pieces)) + LAST_CHUNK
    assert fed(Chunked(), data + b"next", step=step) == (b"".join(pieces), b"next")


@given(st.binary(), st.binary(), st.integers(min_value=1, max_value=50))
def test_a_body_of_a_length_ends_there(payload: bytes, rest: bytes, step: int) -> None:
    assert fed(Sized(len(payload)), payload + rest, step=step) == (payload, rest)


@given(st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        fed(Chunked(), data, step=1)
        bytewise = True
    except BadBody:
        bytewise = False
    try:
        fed(Chunked(), data, step=1_000)
        whole = True
    except BadBody:
        whole = False
    assert bytewise == whole
