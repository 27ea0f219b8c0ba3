"""The readers that the verdicts stand on: what they take for a message, and what they find wrong with one."""

import pytest

from tests.conformance.wire import flaw, take_answer, take_request

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
SOUND = [
    HEAD + b"\r\n",
    HEAD + b"Content-Length: 3\r\n\r\nxyz",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n",
]
UNSOUND = [
    HEAD + b"Content-Length: 3\r\n\r\nxy",
    HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nxyz",
    HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"X : 1\r\n\r\n",
    HEAD + b"X: 1\n2\r\n\r\n",
    HEAD + b"X: \x00\r\n\r\n",
    HEAD + b" X: 1\r\n\r\n",
    b"POST /# HTTP/2.0\r\nHost: a\r\n\r\n",
    HEAD + b"\r\nrest",
]


@pytest.mark.parametrize("data", SOUND)
def test_a_sound_request_is_taken_when_it_is_whole_and_not_before(data: bytes) -> None:
    assert [take_request(data[:end]) for end in range(len(data))] == [None] * len(data)
    request = take_request(data + b"more")
    assert request is not None
    assert request.size == len(data)
    assert flaw(data) == flaw(data * 3) == ""


@pytest.mark.parametrize("data", UNSOUND)
def test_an_unsound_request_has_a_flaw(data: bytes) -> None:
    assert flaw(data)
    assert flaw(SOUND[0] + data)


def test_trailers_are_among_the_lines_of_a_request() -> None:
    request = take_request(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert request is not None
    assert (request.body, "x-trailer" in request.names) == (b"x", True)


def test_an_answer_without_framing_ends_with_its_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nall"
    assert take_answer(data, to_head=False, ended=False) is None
    answer = take_answer(data, to_head=False, ended=True)
    assert answer is not None
    assert answer.body == b"all"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 103)])
def test_some_answers_have_no_body(method: str, status: int) -> None:
    data = b"HTTP/1.1 %d -\r\nContent-Length: 5\r\n\r\n" % status
    answer = take_answer(data, to_head=method == "HEAD", ended=False)
    assert answer is not None
    assert answer.body == b""
