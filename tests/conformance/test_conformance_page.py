"""How what was seen is told, in a cell of the page and in a line of the table."""

import pytest

from tests.conformance.cases import Case, Row
from tests.conformance.client import Heard
from tests.conformance.page import Column, cell, page
from tests.conformance.report import Played, lines
from tests.conformance.upstream import Told
from tests.conformance.verdict import Seen, deviations
from tests.conformance.wire import Message, take_answer, take_request

ACCEPTED = Case(send="", sees=["X: 1"], sees_not=["te"])
REFUSED = Case(send="", status=400, closes=True, forwarded="none")


def answer(status: int) -> Message:
    made = take_answer(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\n\r\n" % status, to_head=False, ended=False)
    assert made is not None
    return made


def seen(status: int, *, forwarded: bytes = b"", ended: bool = False) -> Seen:
    request = take_request(forwarded)
    told = Told(bytearray(forwarded), [request] if request else [])
    return Seen(Heard(answers=[answer(status)], ended=ended, probed=not ended), [told] if forwarded else [])


SOUND = b"GET /fn/f/ HTTP/1.1\r\nHost: a\r\nx: 1\r\n\r\n"
CHANGED = b"GET /fn/f/ HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"
SILENT = Seen(Heard(), [])
CUT = Seen(Heard(left=b"HTTP/1.1 200 OK\r\n", ended=True), [])


@pytest.mark.parametrize(
    ("case", "what", "text"),
    [
        (ACCEPTED, seen(200, forwarded=SOUND), "→ 200"),
        (ACCEPTED, seen(200, forwarded=CHANGED), "→ 200; forwards no `X: 1`; forwards `te`"),
        (ACCEPTED, seen(200, forwarded=SOUND, ended=True), "**→ 200 ✕**"),
        (ACCEPTED, seen(400, ended=True), "**400 ✕**"),
        (ACCEPTED, SILENT, "**no answer**"),
        (ACCEPTED, CUT, "**cut**"),
        (REFUSED, seen(400, ended=True), "400 ✕"),
        (REFUSED, seen(400), "**400**"),
        (REFUSED, seen(200, forwarded=SOUND), "**→ 200**"),
        (REFUSED, seen(400, forwarded=SOUND[:9], ended=True), "**⇢ 400 ✕**"),
    ],
)
def test_a_cell_tells_what_came_and_marks_what_is_not_the_verdict(case: Case, what: Seen, text: str) -> None:
    assert cell(case, what) == text
    assert bool(deviations(case, what)) == (";" in text or "**" in text)


def test_nothing_stands_where_nothing_was_sent() -> None:
    assert cell(ACCEPTED, None) == ""


def test_the_page_counts_how_each_proxy_differs() -> None:
    column = Column("nginx", "1.2.3", {"F1-length-first": seen(200, forwarded=SOUND), "F5": seen(400, ended=True)})
    told = page([column], ["Envoy"], ["P9"])
    assert "| nginx | 1.2.3 | 2 | 0 | 1 | 1 | 0 |" in told
    assert "left out: Envoy." in told


def test_a_line_of_the_table_says_what_is_wrong() -> None:
    (listed,) = Row(id="H0", rfc="", title="an input", why="", case=[REFUSED]).listed()
    (_, line) = lines([Played(listed, "whole", seen(200, forwarded=SOUND))])
    assert "400, closes, not forwarded" in line
    assert line.endswith("no: status 200; stays open; forwarded")
