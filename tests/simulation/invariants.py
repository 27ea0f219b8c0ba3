"""What must hold in every world, whatever breaks. Each invariant sees every revision of the store as it is written, and
the end; it says what is wrong, or nothing. They share no code with the engine beyond its words.

A new invariant is a class with `seen` or `at_end`, or both, and a line in `ALL`.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from hotswap.deployment import Active, Bake, Deployment, Event, Leader, Outcome, Shift, Status, Verb
from hotswap.model import FULL_WEIGHT, Alias, Assignment, Endpoint, Node
from hotswap.requests import Canary, OnInsufficientData
from tests.simulation.cluster import Picture, Written
from tests.simulation.nodes import RunnerNode, instances
from tests.simulation.routers import RouterHosts
from tests.simulation.scenario import Scenario

Told = Iterator[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What may be looked at."""

    picture: Picture
    """With the revision that is seen applied."""
    nodes: dict[str, RunnerNode]
    routers: RouterHosts
    scene: Scenario


class Invariant:
    def __init__(self, around: Surroundings) -> None:
        self.picture = around.picture
        self.nodes = around.nodes
        self.routers = around.routers
        self.scene = around.scene

    def seen(self, written: Written) -> Told:
        yield from ()

    def at_end(self) -> Told:
        """When nothing breaks any more and all has had its time."""
        yield from ()


class OneWriter(Invariant):
    """Only who leads writes as a leader."""

    def seen(self, written: Written) -> Told:
        if written.author.role != "leader":
            return
        leaders = [key for key, value in self.picture.values.items() if isinstance(value, Leader)]
        fences = [self.picture.created[key] for key in leaders]
        if fences != [written.author.fence]:
            yield (
                f"{written.author.name} wrote as the leader of revision {written.author.fence}, "
                f"but now the lead is that of {fences or 'nobody'}"
            )


class WeightsAddUp(Invariant):
    """The weights of an alias are 100 together, and only a version that was ready is given any."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._ready: set[tuple[str, int]] = set()
        """Versions that had an endpoint since an assignment names them."""

    def seen(self, written: Written) -> Told:
        for _, endpoint in written.of(Endpoint):
            if endpoint and not endpoint.withdrawn:
                self._ready.add((endpoint.function, endpoint.version))
        for before, alias in written.of(Alias):
            if alias is None:
                continue
            if sum(alias.weights.values()) != FULL_WEIGHT:
                yield f"{_of(alias)} has weights that add up to {sum(alias.weights.values())}: {alias.weights}"
            if written.author.role != "foreign":
                yield from self._unready(before, alias)
        if written.of(Assignment):
            assigned = {(one.function, version) for one in self.picture.all(Assignment) for version in one.versions}
            self._ready &= assigned | {(one.function, one.version) for one in self.picture.all(Endpoint)}

    def _unready(self, before: Alias | None, alias: Alias) -> Told:
        had = {version for version, weight in before.weights.items() if weight} if before else set()
        for version, weight in alias.weights.items():
            if weight and version not in had and (alias.function, version) not in self._ready:
                yield f"{_of(alias)} gives {weight} % to version {version}, which was not started"


class ShowsOnce(Invariant):
    """A shift is one write of alias, record and event, and each of its attempts shows in the alias once."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._shown: set[str] = set()

    def seen(self, written: Written) -> Told:
        shifts = [alias for before, alias in written.of(Alias) if alias and _is_shift(before, alias)]
        for alias in shifts:
            if alias.step in self._shown:
                yield f"{_of(alias)}: the effect of {alias.step} shows twice"
            self._shown.add(alias.step)
        told = [event for _, event in written.of(Event) if event and event.kind == "weights"]
        if len(told) != len(shifts) and written.author.role == "leader":
            yield f"{len(told)} events tell of weights, and {len(shifts)} shifts were written: {told or shifts}"
        for before, after in written.of(Deployment):
            if before and after:
                yield from self._left_out(before, after)

    def _left_out(self, before: Deployment, after: Deployment) -> Told:
        """A shift that was passed must have shown."""
        step = before.steps[before.progress.index] if before.progress.index < len(before.steps) else None
        onward = before.status is after.status and after.progress.index == before.progress.index + 1
        if onward and isinstance(step, Shift):
            way = "back" if before.status is Status.ROLLING_BACK else "plan"
            key = f"{before.id}/{way}/{before.progress.index}/{before.progress.attempt}"
            if key not in self._shown:
                yield f"{after.id} went past the shift {key}, which never showed"


class EventsAreWhole(Invariant):
    """The events of a deployment are numbered without a gap, and come with the record that counts them."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._last: defaultdict[str, int] = defaultdict(int)

    def seen(self, written: Written) -> Told:
        for before, event in written.of(Event):
            if event is None:
                continue
            if before is not None or event.number != self._last[event.deployment] + 1:
                yield f"event {event.number} of {event.deployment} follows event {self._last[event.deployment]}"
            self._last[event.deployment] = event.number
        for _, deployment in written.of(Deployment):
            if deployment and deployment.events != self._last[deployment.id]:
                yield f"{deployment.id} counts {deployment.events} events; there are {self._last[deployment.id]}"


class OneDeployment(Invariant):
    """A deployment has not ended if and only if it holds its alias; what has ended stays so, unless it is reopened."""

    def seen(self, written: Written) -> Told:
        if not written.of(Deployment) and not written.of(Active):
            return
        held = {(one.function, one.alias): one.deployment for one in self.picture.all(Active)}
        running = [one for one in self.picture.all(Deployment) if not one.status.terminal]
        for one in running:
            if held.pop((one.function, one.alias), None) != one.id:
                yield f"{one.id} is {one.status}, but does not hold {one.function}:{one.alias}"
        for (function, alias), name in held.items():
            yield f"{name} has ended, and still holds {function}:{alias}"
        for before, after in written.of(Deployment):
            if before and before.status.terminal and (after is None or after.status is not Status.ROLLING_BACK):
                yield f"{before.id} was {before.status} and became {after.status if after else 'nothing'}"


class EndsRight(Invariant):
    """After a rollback the version that was there before has everything; after a success the new one has; and a
    version that was judged bad has nothing, unless a person wanted it so."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._stable: dict[str, int | None] = {}
        self._promoted: set[str] = set()
        self._touched: set[str] = set()
        """Deployments on whose alias somebody else laid a hand while they ran."""

    def seen(self, written: Written) -> Told:
        self._note_foreign_hands(written)
        for before, after in written.of(Deployment):
            if after is None:
                continue
            if before is None:
                self._stable[after.id] = self._present_stable(after)
            if after.asked and after.asked.verb is Verb.PROMOTE:
                self._promoted.add(after.id)
            ended = after.status.terminal and not (before and before.status.terminal)
            if ended and before and after.id not in self._touched:
                yield from self._ended(before, after)

    def _note_foreign_hands(self, written: Written) -> None:
        if written.author.role == "foreign":
            for before, after in written.of(Alias):
                alias = after or before
                active = alias and self.picture.get(Active, alias.function, alias.name)
                if active:
                    self._touched.add(active.deployment)

    def _present_stable(self, deployment: Deployment) -> int | None:
        """What it has to go back to: the last good version where it has traffic, else the heaviest."""
        alias = self.picture.get(Alias, deployment.function, deployment.alias)
        if alias is None:
            return None
        others = {one: weight for one, weight in alias.weights.items() if weight and one != deployment.version}
        if alias.last_good in others:
            return alias.last_good
        return max(others, key=lambda one: (others[one], one), default=None)

    def _ended(self, before: Deployment, after: Deployment) -> Told:
        alias = self.picture.get(Alias, after.function, after.alias)
        weights = alias.weights if alias else {}
        stable = self._stable[after.id]
        moved = alias is not None and alias.owner == after.id
        if after.status is Status.SUCCEEDED and weights != {after.version: FULL_WEIGHT}:
            yield f"{after.id} has succeeded with {weights} instead of all for version {after.version}"
        if after.status is Status.ROLLED_BACK and moved and weights != {stable: FULL_WEIGHT}:
            yield f"{after.id} is rolled back with {weights}; version {stable} was the last good one"
        if after.status is Status.FAILED and moved:
            yield f"{after.id} has failed before any traffic moved, but it has set {weights}"
        failed = any(verdict.outcome is Outcome.FAIL for verdict in after.verdicts)
        wanted = after.id in self._promoted or (after.status is Status.ABORTED and before.status in LEFT_AS_IT_STANDS)
        if failed and not wanted and weights.get(after.version):
            yield f"{after.id} was judged FAIL and is {after.status}, but version {after.version} has {weights}"


LEFT_AS_IT_STANDS = {Status.HELD, Status.FROZEN}
"""Statuses in which a person's abort, or nobody's decision, leaves the alias alone where there is no way back."""


CLEARLY, ENOUGH = 2, 20
"""So far over the limit, and so many invocations, that no rounding hides it."""


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


class NothingUnderfoot(Invariant):
    """No version is taken from a node while a router that is known still sends it traffic."""

    def seen(self, written: Written) -> Told:
        if written.author.role != "leader":
            return
        for before, after in written.of(Assignment):
            taken = set(before.versions) - set(after.versions if after else ()) if before else set()
            for version in sorted(taken):
                yield from self._still_routed(before.function if before else "", version)

    def _still_routed(self, function: str, version: int) -> Told:
        for host in self.routers.values():
            known = f"/hotswap/routers/{host.name}" in self.picture.values
            if known and host.process and host.router and host.router.routes_to(function, version):
                yield f"version {version} of {function} is taken away while {host.name} still routes to it"


class EverythingEnds(Invariant):
    """No deployment goes on for ever."""

    def at_end(self) -> Told:
        for one in self.picture.all(Deployment):
            if not one.status.terminal:
                yield f"{one.id} never ends: it is {one.status} at step {one.progress.index}: {one.reason}"


class NothingLeftOver(Invariant):
    """What aliases name is assigned to every node, and nothing else is; what is assigned runs, and nothing else
    does, unless it stands in for a version that does not start."""

    def at_end(self) -> Told:
        needed: defaultdict[str, set[int]] = defaultdict(set)
        for alias in self.picture.all(Alias):
            needed[alias.function] |= {version for version, weight in alias.weights.items() if weight}
        alive = [node.name for node in self.picture.all(Node)]
        assigned = {(one.node, one.function): set(one.versions) for one in self.picture.all(Assignment)}
        for node in alive:
            for function, versions in needed.items():
                found = assigned.get((node, function), set())
                if found != versions:
                    yield f"{node} is assigned {sorted(found)} of {function}; aliases need {sorted(versions)}"
        yield from self._running(alive, assigned)

    def _running(self, alive: list[str], assigned: dict[tuple[str, str], set[int]]) -> Told:
        serving = {(one.node, one.function, one.version) for one in self.picture.all(Endpoint)}
        for node, instance in instances(self.nodes):
            named = assigned.get((node, instance.function), set())
            stands_in = any((node, instance.function, version) not in serving for version in named)
            if node in alive and instance.version not in named and not stands_in:
                yield f"{instance.name} runs version {instance.version} of {instance.function}, which nothing names"
        for endpoint in self.picture.all(Endpoint):
            node_runs = self.nodes[endpoint.node].running
            if endpoint.instance not in node_runs:
                yield f"the endpoint of {endpoint.instance} stands, but it does not run"


ALL: tuple[type[Invariant], ...] = (
    OneWriter,
    WeightsAddUp,
    ShowsOnce,
    EventsAreWhole,
    OneDeployment,
    EndsRight,
    BadIsCaught,
    NothingUnderfoot,
    EverythingEnds,
    NothingLeftOver,
)


def _of(alias: Alias) -> str:
    return f"{alias.function}:{alias.name}"


def _is_shift(before: Alias | None, after: Alias) -> bool:
    """Whether a deployment has set the weights; a foreign edit leaves the step's name, and so does the end."""
    return bool(after.step) and (before is None or before.step != after.step or before.history != after.history)
