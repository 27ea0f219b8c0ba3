"""The simulation finds bugs: the engine is broken on purpose, in one function each, and the seed that is named tells.

The same seed finds nothing in the engine as it is. When scenarios change other seeds do: `python -m
tests.simulation.test_finds_bugs` tells the first for each.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from itertools import count
from typing import Any

import pytest

from controller import steps, traffic, transition
from controller.alias import shifted
from controller.decision import Counted
from controller.engine import Engine
from controller.launch import Launch
from controller.placement import Placement, Wanted
from controller.steps import present
from controller.strategies.plan import give_all
from controller.transition import News
from controller.watcher import Watcher
from hotswap.deployment import Deployment, Shift, Start
from hotswap.metrics import Tally
from hotswap.store import Store, Transaction
from tests.simulation.world import play

Patch = pytest.MonkeyPatch


def writes_without_its_fence(patch: Patch) -> None:
    patch.setattr(Store, "transaction", lambda self, fence=None: Transaction(self, None))


def writes_record_and_alias_one_after_the_other(patch: Patch) -> None:
    async def in_two(self: Any, step: Shift) -> None:
        now, before = self._means.clock(), self._alias
        news = News("weights", steps.shares(step.weights))
        after, events = transition.told(self.deployment, [news], now)
        alias = shifted(before.value if before else None, step, self.deployment, now)
        await self._committed(self._write(after, events), after)
        await self._means.store.transaction(self._means.fence).put(alias, over=before).commit()
        self._stale = True

    patch.setattr(Watcher, "_shift", in_two)


def goes_back_to_the_new_version(patch: Patch) -> None:
    def to_itself(stable: int | None, given_up: list[int], **_: Any) -> Any:
        return (Start(version=given_up[0]), give_all(given_up[0])) if stable else ()

    patch.setattr(import_module("controller.strategies.plan"), "way_back", to_itself)


def takes_a_version_away_before_routers_have_let_go(patch: Patch) -> None:
    async def at_once(self: Any, function: str, revision: int) -> None:
        return

    patch.setattr(Placement, "_let_go", at_once)


def never_looks_at_a_deadline(patch: Patch) -> None:
    for module in ("effects", "holding"):
        patch.setattr(f"controller.{module}.due", lambda deployment, observation: datetime(9000, 1, 1, tzinfo=UTC))


def gives_traffic_to_what_is_not_ready(patch: Patch) -> None:
    async def at_once(self: Any, function: str, step: Start) -> None:
        return

    patch.setattr(Placement, "started", at_once)


def is_content_with_one_node(patch: Patch) -> None:
    def one(self: Any, names: set[str], endpoints: Any) -> bool:
        return any(not stored.value.withdrawn for stored in endpoints)

    patch.setattr(Launch, "_complete", one)


def makes_a_shift_again_that_shows_already(patch: Patch) -> None:
    patch.setattr(traffic, "written", lambda deployment, alias: deployment.progress.effect > 0)


def goes_past_a_shift_that_was_only_intended(patch: Patch) -> None:
    def always(deployment: Deployment, alias: Any) -> bool:
        return isinstance(present(deployment), Shift) or bool(deployment.progress.effect)

    patch.setattr(traffic, "written", always)
    patch.setattr("controller.observer.written", always)


def keeps_the_alias_when_it_has_ended(patch: Patch) -> None:
    async def leaves_active(self: Any, transaction: Any, after: Any, alias: Any) -> None:
        return

    patch.setattr(Watcher, "_let_go", leaves_active)


def counts_the_version_that_was_there_before(patch: Patch) -> None:
    def others(self: Counted, version: int, *, since: int) -> Tally:
        rows = [tally.counts for (number, revision), tally in self.tallies.items() if number != version]
        return Tally.total(rows)

    patch.setattr(Counted, "of", others)
    patch.setattr(Counted, "epochs", lambda self, version, stable, *, since: [])


def reads_the_aliases_first(patch: Patch) -> None:
    """As it once did, until the simulation found it; and without what would refuse the write today."""
    patch.setattr(Transaction, "require_none_newer", lambda self, *_, revision: self)
    whole = Placement._wanted

    async def wanted(self: Any, function: str) -> Wanted:
        aliases = await self._store.aliases.list(function)
        found = await whole(self, function)
        named = {number for one in aliases for number, weight in one.value.weights.items() if weight}
        late = {number for one in found.aliases for number, weight in one.value.weights.items() if weight}
        places = {number: where for number, where in found.places.items() if number in named or number not in late}
        return Wanted(places, tuple(aliases))

    patch.setattr(Placement, "_wanted", wanted)


def takes_no_turn_in_the_queue(patch: Patch) -> None:
    patch.setattr(Engine, "_first_in_line", lambda self, deployment: False)


CAUGHT: dict[Callable[[Patch], None], tuple[int, str]] = {
    writes_without_its_fence: (4, "OneWriter"),
    writes_record_and_alias_one_after_the_other: (0, "ShowsOnce"),
    goes_back_to_the_new_version: (4, "EndsRight"),
    takes_a_version_away_before_routers_have_let_go: (3, "NothingUnderfoot"),
    never_looks_at_a_deadline: (2, "EverythingEnds"),
    gives_traffic_to_what_is_not_ready: (0, "StartedEverywhere"),
    is_content_with_one_node: (36, "StartedEverywhere"),
    makes_a_shift_again_that_shows_already: (0, "ShowsOnce"),
    goes_past_a_shift_that_was_only_intended: (0, "EndsRight"),
    keeps_the_alias_when_it_has_ended: (0, "OneDeployment"),
    counts_the_version_that_was_there_before: (110, "BadIsCaught"),
    reads_the_aliases_first: (14, "NothingUnderfoot"),
    takes_no_turn_in_the_queue: (1, "EverythingEnds"),
}


@pytest.mark.parametrize("bug", CAUGHT, ids=lambda bug: bug.__name__)
def test_a_seed_finds_the_bug_and_nothing_without_it(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    seed, invariant = CAUGHT[bug]
    assert not play(seed).violations
    bug(monkeypatch)
    assert play(seed).violations[0].startswith(invariant)


def first_to_find(bug: Callable[[Patch], None], invariant: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        bug(patch)
        return next(seed for seed in count() if any(it.startswith(invariant) for it in play(seed).violations[:1]))


if __name__ == "__main__":
    for broken, (_, broken_rule) in CAUGHT.items():
        print(f"{broken.__name__}: ({first_to_find(broken, broken_rule)}, {broken_rule!r})", flush=True)
