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

from controller import decide, traffic
from controller.launch import Launch
from controller.metrics.routers import Phase
from controller.placement import Placement, Wanted
from controller.steps import kept, present
from controller.strategies.plan import give_all
from controller.watcher import Watcher
from hotswap.deployment import Deployment, Shift, Start
from hotswap.metrics import CounterRow
from hotswap.store import Store, Transaction
from tests.simulation.world import play

Patch = pytest.MonkeyPatch


def writes_without_its_fence(patch: Patch) -> None:
    patch.setattr(Store, "transaction", lambda self, fence=None: Transaction(self, None))


def writes_record_and_alias_one_after_the_other(patch: Patch) -> None:
    whole = Watcher._write

    async def in_two(self: Any, after: Any, events: Any, *, alias: Any = None) -> None:
        before = self._alias
        await whole(self, after, events)
        if alias:
            await self._means.store.transaction(self._means.fence).put(alias, over=before).commit()
            self._stale = True

    patch.setattr(Watcher, "_write", in_two)


def goes_back_to_the_new_version(patch: Patch) -> None:
    def to_itself(state: Any) -> Any:
        return (Start(version=state.version.number), give_all(state.version.number)) if state.stable else ()

    patch.setattr(import_module("controller.strategies.plan"), "_way_back", to_itself)


def takes_a_version_away_before_routers_have_let_go(patch: Patch) -> None:
    async def at_once(self: Any, function: str, revision: int) -> None:
        return

    patch.setattr(Placement, "_let_go", at_once)


def never_looks_at_a_deadline(patch: Patch) -> None:
    patch.setattr(decide, "_due", lambda deployment, observation: datetime(9000, 1, 1, tzinfo=UTC))


def gives_traffic_to_what_is_not_ready(patch: Patch) -> None:
    async def at_once(self: Any, function: str, version: int) -> None:
        return

    patch.setattr(Placement, "started", at_once)


def is_content_with_one_node(patch: Patch) -> None:
    def one(self: Any, names: set[str]) -> bool:
        return any(not stored.value.withdrawn for stored in self._endpoints)

    patch.setattr(Launch, "_complete", one)


def makes_a_shift_again_that_shows_already(patch: Patch) -> None:
    patch.setattr(traffic, "written", lambda deployment, alias: deployment.progress.effect > 0)


def goes_past_a_shift_that_was_only_intended(patch: Patch) -> None:
    def always(deployment: Deployment, alias: Any) -> bool:
        return isinstance(present(deployment), Shift) or bool(deployment.progress.effect)

    patch.setattr(traffic, "written", always)
    patch.setattr("controller.watcher.written", always)


def keeps_the_alias_when_it_has_ended(patch: Patch) -> None:
    async def leaves_active(self: Any, after: Any, events: Any) -> None:
        await self._write(after, events)

    patch.setattr(Watcher, "_end", leaves_active)


def counts_the_version_that_was_there_before(patch: Patch) -> None:
    def others(self: Any, row: CounterRow) -> bool:
        return bool(row.function == self._function and row.version != self._version)

    patch.setattr(Phase, "_counts", others)


def reads_the_aliases_first(patch: Patch) -> None:
    """As it once did, until the simulation found it."""

    async def wanted(self: Any, function: str) -> Wanted:
        aliases = tuple(await self._store.aliases.list(function))
        named = {version for alias in aliases for version, weight in alias.value.weights.items() if weight}
        for active in await self._store.active.list(function):
            deployment = await self._store.deployments.get(active.value.deployment)
            named |= kept(deployment.value) if deployment else frozenset()
        return Wanted(frozenset(named), aliases)

    patch.setattr(Placement, "_wanted", wanted)


CAUGHT: dict[Callable[[Patch], None], tuple[int, str]] = {
    writes_without_its_fence: (11, "OneWriter"),
    writes_record_and_alias_one_after_the_other: (0, "ShowsOnce"),
    goes_back_to_the_new_version: (0, "EndsRight"),
    takes_a_version_away_before_routers_have_let_go: (0, "NothingUnderfoot"),
    never_looks_at_a_deadline: (6, "EverythingEnds"),
    gives_traffic_to_what_is_not_ready: (57, "WeightsAddUp"),
    is_content_with_one_node: (1, "StartedEverywhere"),
    makes_a_shift_again_that_shows_already: (0, "ShowsOnce"),
    goes_past_a_shift_that_was_only_intended: (0, "EndsRight"),
    keeps_the_alias_when_it_has_ended: (0, "OneDeployment"),
    counts_the_version_that_was_there_before: (84, "BadIsCaught"),
    reads_the_aliases_first: (1, "NothingUnderfoot"),
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
