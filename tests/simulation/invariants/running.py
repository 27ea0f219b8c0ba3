"""What runs where: started before it has traffic, taken away after it, and nothing left over."""

from collections import defaultdict

from hotswap.deployment import Deployment, Start
from hotswap.model import FULL_WEIGHT, Alias, Assignment, Endpoint, Node
from tests.simulation.cluster import Written
from tests.simulation.invariants.invariant import Invariant, Surroundings, Told, where
from tests.simulation.nodes import instances


class WeightsAddUp(Invariant):
    """The weights of an alias are 100 together, and only a version that was ready is given any, but by somebody who
    edits the store."""

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
                yield f"{where(alias)} has weights that add up to {sum(alias.weights.values())}: {alias.weights}"
            if written.author.role != "foreign":
                yield from self._unready(before, alias)
        if written.of(Assignment):
            assigned = {(one.function, version) for one in self.picture.all(Assignment) for version in one.versions}
            self._ready &= assigned | {(one.function, one.version) for one in self.picture.all(Endpoint)}

    def _unready(self, before: Alias | None, alias: Alias) -> Told:
        had = {version for version, weight in before.weights.items() if weight} if before else set()
        for version, weight in alias.weights.items():
            if weight and version not in had and (alias.function, version) not in self._ready:
                yield f"{where(alias)} gives {weight} % to version {version}, which was not started"


class StartedEverywhere(Invariant):
    """A start is over when every node that the version was assigned to then, and that was never away, has it ready."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._assigned: dict[tuple[str, str, int], int] = {}
        """Node, function, version -> revision at which it was assigned."""

    def seen(self, written: Written) -> Told:
        for old, new in written.of(Assignment):
            self._note(old, new, written.revision)
        for before, after in written.of(Deployment):
            if not before or not after or after.status is not before.status:
                continue
            step = before.steps[before.progress.index] if before.steps else None
            if isinstance(step, Start) and after.progress.index == before.progress.index + 1:
                yield from self._missing(before, step)

    def _note(self, before: Assignment | None, after: Assignment | None, revision: int) -> None:
        had, has = set(before.versions if before else ()), set(after.versions if after else ())
        for one in (before, after):
            if one:
                for version in had - has:
                    self._assigned.pop((one.node, one.function, version), None)
                for version in has - had:
                    self._assigned[one.node, one.function, version] = revision

    def _missing(self, deployment: Deployment, step: Start) -> Told:
        version = step.version
        ready = {
            one.node
            for one in self.picture.all(Endpoint)
            if (one.function, one.version) == (deployment.function, version) and not one.withdrawn
        }
        for node in self.picture.all(Node):
            assigned = self._assigned.get((node.name, deployment.function, version))
            if assigned is None or assigned > deployment.progress.effect:
                continue
            stayed = self.picture.created[f"/hotswap/nodes/{node.name}"] < assigned
            named = step.nodes is None or node.name in step.nodes
            if stayed and named and node.name not in ready:
                yield f"{deployment.id} takes version {version} for started, but it is not ready on {node.name}"


class NothingUnderfoot(Invariant):
    """No version is taken from the last node while a router still sends it traffic by an alias that exists, if the
    router was known when the alias let the version go. One that comes back later is announced before it has caught
    up."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._written: dict[str, int] = {}
        """Alias -> revision at which it was last written."""

    def seen(self, written: Written) -> Told:
        self._written |= {where(alias): written.revision for _, alias in written.of(Alias) if alias}
        if written.author.role != "leader":
            return
        for before, after in written.of(Assignment):
            taken = set(before.versions) - set(after.versions if after else ()) if before else set()
            left = {(one.function, number) for one in self.picture.all(Assignment) for number in one.versions}
            for version in sorted(number for number in taken if before and (before.function, number) not in left):
                yield from self._still_routed(before.function if before else "", version)

    def _still_routed(self, function: str, version: int) -> Told:
        for host in self.routers.values():
            since = self.picture.created.get(f"/hotswap/routers/{host.name}")
            if since is None or not host.process or not host.router:
                continue
            there = [one for one in host.router.aliases if self.picture.get(Alias, one.function, one.name)]
            aliases = [one for one in there if self._written[where(one)] > since]
            if any(one.function == function and one.weights.get(version) for one in aliases):
                yield f"version {version} of {function} is taken away while {host.name} still routes to it"


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
