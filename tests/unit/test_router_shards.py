from hypothesis import given
from hypothesis import strategies as st

from router.shards import Shards

NAMES = st.integers(0, 400).map(str)
VALUES = st.integers(-(2**63), 2**63 - 1)
CHANGES = st.lists(st.dictionaries(NAMES, st.none() | VALUES), max_size=8)


@given(CHANGES)
def test_it_holds_what_a_dictionary_would(changes: list[dict[str, int | None]]) -> None:
    expected: dict[str, int] = {}
    made = Shards(int)
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
    made = Shards(int)
    made = made.changed({str(number): number for number in range(1_000)})
    after = made.changed({"7": 70})
    assert sum(one is not other for one, other in zip(made.parts, after.parts, strict=True)) == 1
    assert after["7"] == 70
    assert after["8"] == 8


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_what_came_packed_is_as_what_did_not(values: dict[str, int], later: dict[str, int]) -> None:
    packed = Shards(int).changed(Shards(int).changed(values).packed())
    assert set(packed) == set(values)
    after = packed.changed(later)
    assert after == {**values, **later}
    assert packed == values
    assert packed.packed() == Shards(int).changed(values).packed()
    assert all(name in packed and packed.get(name) == value for name, value in values.items())
    assert packed.get("none") is None
