import pytest

from hotswap.model import Alias, Endpoint
from hotswap.store import Changes, Gone, Stored
from router.follow import ALIASES, ENDPOINTS, VERSIONS
from router.table import Removed, Revisions, Table
from tests.router_entries import alias, endpoint, update, version


def stored(weights: dict[int, int], *, revision: int, name: str = "production", key: str = "") -> Stored[Alias]:
    record = Alias(function="fn", name=name, weights=weights)
    return Stored(record, key or f"/hotswap/aliases/fn/{name}", revision, revision)


def changes(*told: Stored[Alias] | Gone, revision: int, whole: bool = False) -> Changes[Alias]:
    return Changes(tuple(told), revision, whole)


def known(revision: int = 5) -> Table:
    entries = update(
        alias({1: 100}, revision=revision), version(1), endpoint("a"), revisions=Revisions(aliases=revision)
    )
    return Table().apply(entries)


def test_a_change_is_an_entry() -> None:
    made = ALIASES.update(changes(stored({2: 100}, revision=7), revision=8), known())
    assert made.aliases == [alias({2: 100}, revision=7)]
    assert made.revisions == Revisions(aliases=8)


def test_the_last_change_of_a_key_in_a_batch_holds() -> None:
    put, gone = stored({2: 100}, revision=6), Gone(("fn", "production"), 7)
    made = ALIASES.update(changes(put, gone, revision=7), known())
    assert (made.aliases, made.removed) == ([], [Removed("aliases", "fn", "production", 7)])
    made = ALIASES.update(changes(gone, stored({3: 100}, revision=8), revision=8), known())
    assert (len(made.aliases), made.removed) == (1, [])


def test_what_cannot_be_routed_by_leaves_the_last_good_one() -> None:
    made = ALIASES.update(changes(stored({2: 90}, revision=7), revision=7), known())
    assert known().apply(made).find("fn", "production") == alias({1: 100}, revision=5)


def test_a_value_under_another_s_key_is_left_out() -> None:
    made = ALIASES.update(changes(stored({2: 100}, revision=7, key="/hotswap/aliases/fn/other"), revision=7), known())
    assert made.aliases == []


@pytest.mark.parametrize("parts", [("x",), ("fn", "abc"), ("fn", "1", "b", "c"), ("fn", "x", "a"), ("no", "1")])
def test_foreign_keys_that_go_are_nothing_to_us(parts: tuple[str, ...]) -> None:
    gone = Gone(parts, 9)
    for following in (ALIASES, VERSIONS, ENDPOINTS):
        assert following.update(Changes((gone,), 9, whole=False), known()).removed == []


def test_a_whole_list_removes_what_it_does_not_have() -> None:
    made = ALIASES.update(changes(stored({1: 100}, revision=7, name="blue"), revision=9, whole=True), known())
    assert made.removed == [Removed("aliases", "fn", "production", 9)]


@pytest.mark.parametrize("key", ["/hotswap/aliases/fn", "/hotswap/aliases/", "/hotswap/aliases/fn/production/x"])
def test_foreign_keys_that_stand_are_left_out(key: str) -> None:
    made = ALIASES.update(changes(stored({2: 100}, revision=7, key=key), revision=7), known())
    assert (made.aliases, made.removed) == ([], [])


def test_a_whole_list_brings_only_what_is_news() -> None:
    told = stored({1: 100}, revision=5), stored({2: 100}, revision=8, name="blue")
    made = ALIASES.update(changes(*told, revision=9, whole=True), known(revision=5))
    assert made.aliases == [alias({2: 100}, revision=8, name="blue")]
    assert (made.removed, made.revisions) == ([], Revisions(aliases=9))


def test_a_store_that_went_back_is_followed() -> None:
    made = ALIASES.update(changes(stored({2: 100}, revision=2), revision=3, whole=True), known(revision=900))
    after = known(revision=900).apply(made)
    assert after.find("fn", "production") == alias({2: 100}, revision=2)
    assert after.revisions.aliases == 3


def test_a_store_that_lost_its_data_empties_nothing_and_is_followed_from_then_on() -> None:
    after = known(revision=900).apply(ALIASES.update(changes(revision=1, whole=True), known(revision=900)))
    assert after.find("fn", "production") == alias({1: 100}, revision=0)
    after = after.apply(ALIASES.update(changes(stored({2: 100}, revision=2), revision=2), after))
    assert after.find("fn", "production") == alias({2: 100}, revision=2)


def told(*, withdrawn: bool, revision: int) -> Stored[Endpoint]:
    record = Endpoint(
        function="fn", version=1, instance="a", node="n", address="127.0.0.1:1", concurrency=1, withdrawn=withdrawn
    )
    return Stored(record, "/hotswap/endpoints/fn/1/a", revision, revision)


@pytest.mark.parametrize("also_deleted", [False, True])
def test_an_endpoint_that_is_withdrawn_is_removed_and_said_to_be_so(also_deleted: bool) -> None:  # noqa: FBT001
    marked, gone = told(withdrawn=True, revision=6), Gone(("fn", "1", "a"), 7)
    batch = (marked, gone) if also_deleted else (marked,)
    made = ENDPOINTS.update(Changes(batch, 7, whole=False), known())
    assert (made.endpoints, [(one.name, one.withdrawn) for one in made.removed]) == ([], [("1/a", True)])


def test_an_endpoint_that_is_deleted_without_a_word_has_vanished() -> None:
    made = ENDPOINTS.update(Changes((Gone(("fn", "1", "a"), 7),), 7, whole=False), known())
    assert [(one.name, one.withdrawn) for one in made.removed] == [("1/a", False)]
