"""How deployments are judged, and how they end."""

import asyncio

from hotswap.deployment import Active, Bake, Deployment, Event, Shift, Status, Verb
from hotswap.judge.verdict import Outcome
from hotswap.model import FULL_WEIGHT, Alias
from hotswap.requests import ABTesting, Canary, OnInsufficientData
from tests.simulation.cluster import Written
from tests.simulation.invariants.invariant import Invariant, Surroundings, Told
from tests.simulation.versions import Nature

LEFT_AS_IT_STANDS = {Status.HELD, Status.FROZEN}
"""Statuses in which a person's abort, or nobody's decision, leaves the alias alone where there is no way back."""
CLEARLY, ENOUGH = 2, 20
"""So far over the limit, and so many invocations, that no rounding hides it."""


class EndsRight(Invariant):
    """After a rollback the version that was there before has everything; after a success the new one has; and a
    version that was judged bad has nothing, unless a person wanted it so."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._stable: dict[str, int | None] = {}
        self._asked: dict[str, Verb] = {}
        """What people asked for last."""
        self._touched: set[str] = set()
        """Deployments on whose alias somebody else laid a hand while they ran."""

    def seen(self, written: Written) -> Told:
        self._note_foreign_hands(written)
        for before, after in written.of(Deployment):
            if after is None:
                continue
            if after.status is Status.RUNNING and (before is None or before.status is Status.QUEUED):
                self._stable[after.id] = self._present_stable(after)
            if after.asked and not (before and before.asked == after.asked):
                self._asked[after.id] = after.asked.verb
            ended = after.status.terminal and not (before and before.status.terminal)
            if ended and before and after.id not in self._touched:
                yield from self._ended(before, after)

    def _note_foreign_hands(self, written: Written) -> None:
        for before, after in written.of(Alias):
            alias = after or before
            active = alias and self.picture.get(Active, alias.function, alias.name)
            by_hand = written.author.role == "foreign" or (after is not None and not after.owner)
            if active and by_hand:
                self._touched.add(active.deployment)

    def _present_stable(self, deployment: Deployment) -> int | None:
        """What it has to go back to: the last good version where it has traffic, else the only one that has."""
        alias = self.picture.get(Alias, deployment.function, deployment.alias)
        if alias is None:
            return None
        others = {one: weight for one, weight in alias.weights.items() if weight and one != deployment.version}
        if alias.last_good in others:
            return alias.last_good
        return next(iter(others), None)

    def _ended(self, before: Deployment, after: Deployment) -> Told:
        alias = self.picture.get(Alias, after.function, after.alias)
        weights = alias.weights if alias else {}
        stable = self._stable.get(after.id)
        moved = alias is not None and alias.owner == after.id
        winners = _may_win(after)
        won = next((version for version in winners if weights == {version: FULL_WEIGHT}), None)
        if after.status is Status.SUCCEEDED and won is None:
            yield f"{after.id} has succeeded with {weights} instead of all for one of {sorted(winners)}"
        if after.status is Status.SUCCEEDED and alias and alias.last_good != won:
            yield f"{after.id} has succeeded, but the alias goes back to version {alias.last_good}"
        if after.status is Status.SUCCEEDED and self._asked.get(after.id) in {Verb.ROLLBACK, Verb.ABORT}:
            yield f"{after.id} was asked to {self._asked[after.id]}, and has succeeded"
        if after.status is Status.ROLLED_BACK and moved and weights != {stable: FULL_WEIGHT}:
            yield f"{after.id} is rolled back with {weights}; version {stable} was the last good one"
        if after.status is Status.FAILED and moved:
            yield f"{after.id} has failed before any traffic moved, but it has set {weights}"
        failed = any(verdict.outcome is Outcome.FAIL for verdict in after.verdicts)
        promoted = self._asked.get(after.id) in {Verb.PROMOTE, Verb.RESUME, Verb.RETRY}
        wanted = promoted or (after.status is Status.ABORTED and before.status in LEFT_AS_IT_STANDS)
        if failed and not wanted and weights.get(after.version):
            yield f"{after.id} was judged FAIL and is {after.status}, but version {after.version} has {weights}"


def _may_win(deployment: Deployment) -> set[int]:
    if not isinstance(deployment.request, ABTesting):
        return {deployment.version}
    return {version for step in deployment.plan if isinstance(step, Shift) for version in step.weights}


class BadIsCaught(Invariant):
    """A version that has failed from the start, with traffic enough to tell, is not rolled out by a canary, whatever
    was counted and judged."""

    def seen(self, written: Written) -> Told:
        for before, after in written.of(Deployment):
            if before and after and after.status is Status.SUCCEEDED and before.status is Status.RUNNING:
                yield from self._bad(after)

    def _bad(self, deployment: Deployment) -> Told:
        request = deployment.request
        phases = [step for step in deployment.plan if isinstance(step, Bake)]
        if not isinstance(request, Canary) or not phases or deployment.asked:
            return
        nature = self.scene.natures[deployment.function, deployment.version]
        config = request.config
        limit, policy = config.rollback_on_error_rate, config.on_insufficient_data
        always = nature.breaks == 0 and limit is not None and nature.error_rate >= CLEARLY * limit
        told = config.min_invocations >= ENOUGH and policy is not OnInsufficientData.ADVANCE
        if always and told and not self._overruled(deployment):
            yield f"{deployment.id} has succeeded, though {nature.error_rate:.0%} of version {deployment.version} fail"

    def _overruled(self, deployment: Deployment) -> bool:
        """A person has promoted it past a phase."""
        events = [one for one in self.picture.all(Event) if one.deployment == deployment.id]
        return any(event.kind == "asked" for event in events)


class GoodIsKept(Invariant):
    """No version is judged to fail before it does."""

    def seen(self, written: Written) -> Told:
        now = asyncio.get_running_loop().time()
        for before, after in written.of(Deployment):
            known = len(before.verdicts) if before else 0
            for verdict in after.verdicts[known:] if after else ():
                judged = verdict.version or (after.version if after else 0)
                nature = self.scene.natures[after.function, judged] if after else Nature()
                if verdict.outcome is Outcome.FAIL and not (nature.bad and nature.breaks < now):
                    yield f"{after.id if after else ''} is judged FAIL, but its version is sound: {verdict.text}"


class EverythingEnds(Invariant):
    """No deployment goes on for ever."""

    def at_end(self) -> Told:
        for one in self.picture.all(Deployment):
            if not one.status.terminal:
                yield f"{one.id} never ends: it is {one.status} at step {one.progress.index}: {one.reason}"
