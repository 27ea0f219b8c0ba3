import random

from hotswap.settings import RouterLimits
from router.routes import Route, Routes
from router.rows import Owner, Row
from router.table import Missing, Table
from router.wire import Poll
from tests.router_entries import alias, endpoint, removed, update, version


def routes() -> Routes:
    return Routes(
        Poll(), workers=1, rng=random.Random(3), clock=lambda: 0.0, limits=RouterLimits(), on_error=lambda: None
    )


def rows(weights: dict[int, int], *, revision: int, function: str = "fn") -> list[Row]:
    return [Row(Owner(function, "production", number, revision), 10 * revision + number) for number in weights]


def found(routes: Routes, function: str = "fn", qualifier: str = "production") -> Route:
    route = routes.find(function, qualifier)
    assert isinstance(route, Route)
    return route


def test_a_function_that_is_first_invoked_after_many_changes_goes_by_the_last() -> None:
    made = routes()
    for revision, weights in ((1, {1: 100}), (2, {1: 50, 2: 50}), (3, {2: 100})):
        made.apply(update(alias(weights, revision=revision)), rows(weights, revision=revision))
    made.apply(update(endpoint("a", of=2)), rows({2: 100}, revision=3))
    route = found(made)
    assert (route.pick(), route.rows) == (2, {2: 32})
    assert not made.endpoints("fn", 2).empty
    assert made.endpoints("fn", 1).empty


def test_once_invoked_it_follows_every_change() -> None:
    made = routes()
    made.apply(update(alias({1: 100}, revision=1), endpoint("a")), rows({1: 100}, revision=1))
    route, endpoints = found(made), made.endpoints("fn", 1)
    change = update(alias({2: 100}, revision=2), removed=[removed("endpoints", "1/a", revision=2)])
    made.apply(change, rows({2: 100}, revision=2))
    assert found(made) is route, "what it has had is carried on"
    assert (route.pick(), route.rows) == (2, {2: 22})
    assert endpoints.empty


def test_it_makes_no_difference_when_a_function_is_first_asked_for() -> None:
    early, late = routes(), routes()
    changes = [
        (update(alias({1: 100}, revision=1), version(1), endpoint("a")), rows({1: 100}, revision=1)),
        (update(alias({1: 90, 2: 10}, revision=2), version(2)), rows({1: 90, 2: 10}, revision=2)),
    ]
    for change, granted in changes:
        for made in (early, late):
            made.apply(change, granted)
        found(early)
    assert found(early).rows == found(late).rows
    assert found(early, qualifier="2").weights == found(late, qualifier="2").weights
    assert early.terms("fn", 2) == late.terms("fn", 2)


def test_what_is_gone_before_it_was_asked_for_is_missing() -> None:
    made = routes()
    made.apply(update(alias({1: 100}, revision=1)), rows({1: 100}, revision=1))
    made.apply(update(removed=[removed("aliases", "production", revision=2)]), [])
    assert isinstance(made.find("fn", "production"), Missing)
    assert made.table == Table()
    assert made.endpoints("fn", 1).empty, "an invocation on its way may still ask"
