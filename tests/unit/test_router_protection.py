import msgspec

from router.protection import KEEP_SECONDS, Protection
from router.table import Removed, Table
from tests.router_entries import alias, endpoint, removed, table, update


def vanished(*names: str) -> list[Removed]:
    return [removed("endpoints", name, revision=50) for name in names]


def withdrawn(*names: str) -> list[Removed]:
    return [msgspec.structs.replace(one, withdrawn=True) for one in vanished(*names)]


def two_versions() -> Table:
    """Version 1 has all the weight; 2 has none."""
    return table(
        alias({1: 100, 2: 0}),
        *(endpoint(name, port=port) for name, port in (("a", 1), ("b", 2), ("c", 3))),
        *(endpoint(name, of=2, port=port) for name, port in (("d", 4), ("e", 5))),
    )


def protecting(*names: str) -> tuple[Protection, Table]:
    """These have vanished, at the time 0."""
    protection, made = Protection(), two_versions()
    protection.removals(made, vanished(*names), listed=False, now=0.0)
    return protection, made


def test_what_vanishes_without_being_withdrawn_is_kept_be_it_the_only_one_or_one_of_many() -> None:
    for names in (["1/a"], ["1/a", "1/b", "1/c"]):
        protection, made = Protection(), two_versions()
        assert protection.removals(made, vanished(*names), listed=False, now=0.0) == []
        assert protection.kept == len(names)


def test_what_is_withdrawn_goes_at_once_to_the_last() -> None:
    gone = withdrawn("1/a", "1/b", "1/c")
    assert Protection().removals(two_versions(), gone, listed=False, now=0.0) == gone


def test_what_vanishes_of_a_version_without_weight_goes_at_once() -> None:
    gone = vanished("2/d", "2/e")
    assert Protection().removals(two_versions(), gone, listed=False, now=0.0) == gone


def test_what_a_list_misses_goes_at_once_where_others_of_its_version_stay() -> None:
    gone = vanished("1/a", "1/b")
    assert Protection().removals(two_versions(), gone, listed=True, now=0.0) == gone


def test_what_a_list_misses_is_kept_where_its_version_would_have_none() -> None:
    gone = vanished("1/a", "1/b", "1/c")
    assert Protection().removals(two_versions(), gone, listed=True, now=0.0) == []


def test_what_is_kept_is_let_go_after_a_time() -> None:
    protection, made = protecting("1/a", "1/b", "1/c")
    assert protection.due(made, now=KEEP_SECONDS - 1) == []
    assert len(protection.due(made, now=KEEP_SECONDS)) == 3
    assert protection.kept == 0


def test_what_is_kept_is_let_go_as_soon_as_its_weight_is_gone() -> None:
    protection, made = protecting("1/a", "1/b", "1/c")
    shifted = made.apply(update(alias({2: 100}, revision=60)))
    assert len(protection.due(shifted, now=1.0)) == 3


def test_what_is_kept_goes_when_it_is_withdrawn_after_all() -> None:
    protection, made = protecting("1/a")
    gone = withdrawn("1/a")
    assert protection.removals(made, gone, listed=False, now=1.0) == gone
    assert protection.kept == 0


def test_what_is_announced_again_is_not_let_go() -> None:
    protection, made = protecting("1/a", "1/b", "1/c")
    assert protection.announced([endpoint("a", port=1, revision=60)]) == []
    assert {one.name for one in protection.due(made, now=KEEP_SECONDS)} == {"1/b", "1/c"}


def test_what_is_kept_goes_when_something_else_has_its_address() -> None:
    protection, _ = protecting("1/a", "1/b")
    assert protection.announced([endpoint("new", port=1, revision=60)]) == vanished("1/a")
    assert protection.kept == 1
