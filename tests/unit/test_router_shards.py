from hypothesis import given
from hypothesis import strategies as st

from router.shards import Shards

NAMES = st.integers(0, 400).map(str)
CHANGES = st.lists(st.dictionaries(NAMES, st.none() | st.integers()), max_size=8)


@given(CHANGES)
def test_it_holds_what_a_dictionary_would(changes: list[dict[str, int | None]]) -> None:
    expected: dict[str, int] = {}
    made: Shards[int] = Shards()
    for change in changes:
        before, was = made, dict(made)
        made = made.changed(change)
        for name, value in change.items():
            expected.pop(name, None)
            if value is not None:
                expected[name] = value
        assert dict(before) == was, "the one before is not touched"
    assert made == expected
    assert len(made) == len(expected)


def test_parts_that_do_not_change_are_shared() -> None:
    made: Shards[int] = Shards()
    made = made.changed({str(number): number for number in range(1_000)})
    after = made.changed({"7": 70})
    assert sum(one is not other for one, other in zip(made.parts, after.parts, strict=True)) == 1
    assert after["7"] == 70
    assert after["8"] == 8
