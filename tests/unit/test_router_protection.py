from router.protection import KEEP_SECONDS, Protection
from router.table import Removed, Table
from tests.router_entries import alias, endpoint, removed, table, update


def burst(*names: str, revision: int = 50) -> list[Removed]:
    return [removed("endpoints", name, revision=revision) for name in names]


def two_versions() -> Table:
    """Version 1 has all the weight; 2 has none."""
    return table(
        alias({1: 100, 2: 0}), endpoint("a"), endpoint("b"), endpoint("c"), endpoint("d", of=2), endpoint("e", of=2)
    )


def test_endpoints_that_vanish_at_one_revision_are_kept_when_traffic_would_have_nowhere_to_go() -> None:
    protection = Protection()
    assert protection.removals(two_versions(), burst("1/a", "1/b", "1/c"), now=0.0) == []
    assert protection.kept == 3


def test_a_withdrawal_one_by_one_takes_effect_to_the_last() -> None:
    protection, made = Protection(), two_versions()
    for revision, name in enumerate(("1/a", "1/b", "1/c"), start=50):
        gone = protection.removals(made, burst(name, revision=revision), now=0.0)
        assert [one.name for one in gone] == [name]
        made = made.apply(update(removed=gone))


def test_a_version_without_weight_is_withdrawn_however_it_goes() -> None:
    made = table(alias({2: 100}), endpoint("a"), endpoint("b"), endpoint("c"), endpoint("d", of=2))
    gone = burst("1/a", "1/b", "1/c")
    assert Protection().removals(made, gone, now=0.0) == gone


def test_endpoints_take_leave_together_when_others_of_their_version_stay() -> None:
    gone = burst("1/a", "1/b", "2/d", "2/e")
    assert Protection().removals(two_versions(), gone, now=0.0) == gone


def test_what_is_kept_is_let_go_after_a_time() -> None:
    protection, made = Protection(), two_versions()
    protection.removals(made, burst("1/a", "1/b", "1/c"), now=0.0)
    assert protection.due(made, now=KEEP_SECONDS - 1) == []
    assert len(protection.due(made, now=KEEP_SECONDS)) == 3
    assert protection.kept == 0


def test_what_is_kept_is_let_go_as_soon_as_its_weight_is_gone() -> None:
    protection, made = Protection(), two_versions()
    protection.removals(made, burst("1/a", "1/b", "1/c"), now=0.0)
    shifted = made.apply(update(alias({2: 100}, revision=60)))
    assert len(protection.due(shifted, now=1.0)) == 3


def test_what_is_announced_again_is_not_let_go() -> None:
    protection, made = Protection(), two_versions()
    protection.removals(made, burst("1/a", "1/b", "1/c"), now=0.0)
    protection.announced([endpoint("a", revision=60)])
    assert {one.name for one in protection.due(made, now=KEEP_SECONDS)} == {"1/b", "1/c"}
