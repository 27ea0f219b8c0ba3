"""No row is without a test, and what the tables say of themselves is sound."""

from pathlib import Path

import pytest

from tests.conformance.cases import ROWS, listed, raw, rows
from tests.conformance.elsewhere import ELSEWHERE
from tests.conformance.lenient import LENIENT
from tests.conformance.worker import LANES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("row", ROWS)
def test_the_row_has_a_test(row: str) -> None:
    assert row in ELSEWHERE or row in {it.id for it in rows()}
    for test in ELSEWHERE.get(row, []):
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(), f"{test} is gone; what does {row} stand on now?"


def test_a_row_of_the_tables_is_one_that_is_promised() -> None:
    assert [it.id for it in rows()] == [row for row in ROWS if row in {it.id for it in rows()}]


def test_no_two_cases_have_one_id() -> None:
    ids = [it.id for it in listed()]
    assert len(set(ids)) == len(ids)


def test_what_is_excused_is_a_case_and_has_a_reason() -> None:
    assert LENIENT.keys() <= LANES.keys()
    for excused in LENIENT.values():
        assert excused.keys() <= {it.id for it in listed()}
        assert all(excused.values())


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"a\r\n", b"a\r\n"),
        ("a\n  b\\n\n", b"a  b\n"),
        (r"\x00\xff\\x00", b"\x00\xff\\x00"),
        (r"<{ab*3}>", b"<ababab>"),
        (r"{X: 1\r\n*2}", b"X: 1\r\nX: 1\r\n"),
    ],
)
def test_a_text_stands_for_its_bytes(text: str, data: bytes) -> None:
    assert raw(text) == data
