"""The codec's reading of bodies, whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.codec.body import LAST_CHUNK, MOST_EXTENSION, BadBody, Body, Chunked, Sized, StillFramed, framed


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


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize(
    ("data", "passed"),
    [
        (b"0\r\n\r\n", b"0\r\n\r\n"),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (b'03;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n', b"03\r\nabc\r\n0\r\n\r\n"),
        (b"1\r\na\r\n1;x\r\nb\r\n00;x\r\nX: 1\r\nY: 2\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n00\r\n\r\n"),
    ],
)
def test_chunks_that_are_passed_on_keep_their_framing_and_nothing_else(data: bytes, passed: bytes, step: int) -> None:
    body = StillFramed()
    assert fed(body, data + b"GET", step=step) == (passed, b"GET")
    assert body.done


@pytest.mark.parametrize("reader", [Chunked, StillFramed])
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
def test_chunks_that_can_be_read_in_two_ways_are_refused(data: bytes, step: int, reader: type[Chunked]) -> None:
    with pytest.raises(BadBody):
        fed(reader(), data, step=step)


@pytest.mark.parametrize("reader", [Chunked, StillFramed])
@pytest.mark.parametrize(
    "data",
    [
        b"3;" + b"x" * MOST_EXTENSION,
        b"1;xxxxxxxx\r\na\r\n" * (MOST_EXTENSION // 8),
        b"0\r\nX: " + b"x" * MOST_EXTENSION,
        b"0\r\n" + b"X: 12\r\n" * (MOST_EXTENSION // 4),
    ],
)
def test_what_chunks_carry_beside_the_body_is_bounded(data: bytes, reader: type[Chunked]) -> None:
    with pytest.raises(BadBody):
        fed(reader(), data, step=4_096)


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=1, max_value=50))
def test_chunks_carry_what_was_put_into_them(pieces: list[bytes], step: int) -> None:
    data = b"".join(map(framed, pieces)) + LAST_CHUNK
    assert fed(Chunked(), data + b"next", step=step) == (b"".join(pieces), b"next")


EXTRA = st.sampled_from([b"", b";x", b";a=b"])


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTRA)),
    EXTRA,
    st.lists(st.sampled_from([b"X: 1\r\n", b"Content-Length: 3\r\n"]), max_size=3),
    st.integers(min_value=1, max_value=50),
)
def test_chunks_that_are_passed_on_carry_what_was_put_into_them(
    pieces: list[tuple[bytes, bytes]], last: bytes, trailers: list[bytes], step: int
) -> None:
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extra, piece) for piece, extra in pieces)
    data = chunks + b"0%b\r\n" % last + b"".join(trailers) + b"\r\n"
    plain = b"".join(framed(piece) for piece, _ in pieces) + LAST_CHUNK
    assert fed(StillFramed(), data + b"next", step=step) == (plain, b"next")


@given(st.binary(), st.binary(), st.integers(min_value=1, max_value=50))
def test_a_body_of_a_length_ends_there(payload: bytes, rest: bytes, step: int) -> None:
    assert fed(Sized(len(payload)), payload + rest, step=step) == (payload, rest)


FRAGMENTS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"0", b"3", b"03", b"a", b";", b";x", b"abc", b"3\r\nabc\r\n", b"X: 1", b" "]
)


@given(st.binary(max_size=60) | st.lists(FRAGMENTS, max_size=20).map(b"".join))
def test_whatever_comes_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    """The same however it comes, and whether or not it is passed on in chunks."""
    verdicts = []
    for reader in (Chunked, StillFramed):
        for step in (1, 3, 1_000):
            body = reader()
            try:
                verdicts.append(fed(body, data, step=step)[1] if body.done else None)
            except BadBody:
                verdicts.append(b"refused")
    assert verdicts == verdicts[:1] * 6


@given(st.lists(FRAGMENTS, max_size=20).map(b"".join))
def test_what_is_passed_on_in_chunks_reads_as_what_came(data: bytes) -> None:
    came = Chunked()
    try:
        payload, rest = fed(came, data, step=1_000)
    except BadBody:
        return
    passed, same_rest = fed(StillFramed(), data, step=2)
    assert same_rest == rest
    again = Chunked()
    assert payload.startswith(fed(again, passed, step=1_000)[0])
    assert again.done == came.done
