"""Weights that a person sets by hand: versions that do not run are started first, so that an alias never routes to
nothing.

Only the leader can have versions started. While they start they are pinned in its memory: should it die, they are
withdrawn by the next leader, and the alias has not changed. A write that was given up may still be on its way to the
store when they are pinned no more: so it requires that nothing was taken away since.
"""

import asyncio
from dataclasses import dataclass

from controller import record, transition
from controller.alias import set_by_hand
from controller.launch import StartFailed
from controller.means import Clock, Routing
from controller.placement import Placement
from controller.service import Service
from controller.steps import shares
from hotswap.deployment import Active, Deployment, Start
from hotswap.errors import Conflict, Outdated, Refused
from hotswap.model import Alias, Removal, Weights, check_alias_name, check_weights
from hotswap.store import Fence, Store, Stored

START_LIMIT = 300.0
"""Seconds that versions get to become ready."""
APPLY_LIMIT = 10.0
"""Seconds that the answer waits for the routers to have the weights."""


@dataclass(frozen=True, slots=True)
class By:
    """Who sets weights, and what they say of it; see `HandWeights.set`."""

    who: str
    why: str
    override: bool
    expected: int | None


class HandWeights:
    def __init__(
        self, *, store: Store, fence: Fence, placement: Placement, routers: Routing, service: Service, clock: Clock
    ) -> None:
        self._store = store
        self._fence = fence
        self._placement = placement
        self._routers = routers
        self._service = service
        self._clock = clock

    async def set(
        self,
        function: str,
        name: str,
        weights: Weights,
        *,
        who: str,
        why: str,
        override: bool = False,
        expected: int | None = None,
    ) -> Stored[Alias]:
        """Raises `Refused` while a deployment runs on the alias, unless `override` has that one stand still.

        `expected` is the revision at which the alias must stand; raises `Outdated` where it does not.
        """
        check_weights(weights, where=f'alias "{check_alias_name(name)}" of "{function}"')
        for version in weights:
            await self._service.version(function, version)
        if not override:
            await self._service.refuse_while_running(function, name, insist="--override")
        _check_revision(await self._store.aliases.get(function, name), expected)
        named = {version: weight for version, weight in weights.items() if weight}
        by = By(who, why, override=override, expected=expected)
        try:
            async with self._placement.pinned(function, named):
                await self._start(function, named)
                stored = await self._write(function, name, named, by)
        except Conflict:  # somebody was faster: whoever named a revision is told that it stands no more
            if not override:
                await self._service.refuse_while_running(function, name, insist="--override")
            _check_revision(await self._store.aliases.get(function, name), expected)
            raise
        await self._tell_routers(stored.mod_revision)
        return stored

    async def _start(self, function: str, weights: Weights) -> None:
        try:
            async with asyncio.timeout(START_LIMIT):
                for version in weights:
                    await self._placement.assign(function, Start(version=version))
                for version in weights:
                    await self._placement.started(function, Start(version=version))
        except (StartFailed, TimeoutError) as error:
            why = str(error) or f"they were not ready within {START_LIMIT:g} s"
            raise Refused(
                f'the weights of "{function}" were not changed to {shares(weights)}: {why}',
                hint=f"see `hotswap versions {function}`, or set weights among versions that run",
            ) from None

    async def _write(self, function: str, name: str, weights: Weights, by: By) -> Stored[Alias]:
        before, removal = await self._store.aliases.get(function, name), await self._store.removals.get(function)
        now = self._clock()
        _check_revision(before, by.expected)
        alias = before.value if before else Alias(function=function, name=name, weights=weights)
        after = set_by_hand(alias, weights, who=by.who, why=by.why, now=now)
        transaction = self._store.transaction(self._fence).put(after, over=before)
        if removal:
            transaction.require(removal)
        else:
            transaction.require_absent(Removal, function)
        if running := await self._running(function, name) if by.override else None:
            record.put(transaction, running, *transition.overridden(running.value, who=by.who, why=by.why, now=now))
        else:
            transaction.require_absent(Active, function, name)
        revision = await transaction.commit()
        return Stored(after, self._store.key_of(after), before.create_revision if before else revision, revision)

    async def _running(self, function: str, name: str) -> Stored[Deployment] | None:
        active = await self._store.active.get(function, name)
        return await self._store.deployments.get(active.value.deployment) if active else None

    async def _tell_routers(self, revision: int) -> None:
        """The weights are set; a router that is late does not change that."""
        try:
            async with asyncio.timeout(APPLY_LIMIT):
                await self._routers.applied("aliases", revision)
        except TimeoutError:
            pass


def _check_revision(alias: Stored[Alias] | None, expected: int | None) -> None:
    revision = alias.mod_revision if alias else 0
    if expected is None or revision == expected:
        return
    stands = f"stands at revision {revision} now" if alias else "is not there"
    raise Outdated(f"the alias {stands}", hint="read it again, then decide again")
