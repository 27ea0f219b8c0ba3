"""The router's own answers as bytes."""

from router.fields import VIA, date_line
from router.problems import CONTENT_TYPE, Problem


def refusal(problem: Problem, *, request_id: bytes, added: bytes, headless: bool) -> bytes:
    """`added` is the end of the head; an answer that is `headless` has no body, and tells its length all the same."""
    body = problem.document(request_id.decode())
    lines = [
        b"HTTP/1.1 %d %b" % (problem.status, problem.status.phrase.encode()),
        b"\r\nContent-Type: " + CONTENT_TYPE.encode(),
        b"\r\nContent-Length: %d" % len(body),
        date_line(),
        b"\r\nVia: " + VIA,
        b"\r\nHotswap-Request-Id: " + request_id,
        *(f"\r\n{name}: {value}".encode() for name, value in problem.fields),
        added,
        b"\r\n\r\n",
    ]
    return b"".join(lines) + (b"" if headless else body)
