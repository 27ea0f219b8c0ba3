"""Which nodes run which versions: what aliases name and what running deployments keep, written as assignments.

What a node should run is not remembered but derived, each time, from the aliases, the running deployments and the nodes
as they stand, and from what is lent a place since it is invoked by its number (`demand.py`). So withdrawing a version
that failed, bringing a new node up and clearing up after a crash are one thing: `settle`. Every write requires that the
aliases have not changed since they were read.

A version is taken away only when every router has the aliases that no longer name it. It is added at once.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from controller import scope, traffic
from controller.agents import Agents
from controller.launch import Complete, Launch, StartFailed
from controller.means import Routing
from controller.ready import ready
from controller.scope import Where
from hotswap.deployment import Retire, Start
from hotswap.errors import Unavailable
from hotswap.mirror import Mirror, mirrored, until_any
from hotswap.model import Alias, Assignment, Node, Removal, Version
from hotswap.store import Fence, Store, Stored

REMOVE_LIMIT = 30.0
"""Seconds that routers get to take the aliases, before a version that these no longer name is taken away."""
ENOUGH_LIMIT = 5.0
"""Seconds for which the start of a batch waits at a time until enough nodes serve."""
WRITES_AT_ONCE = 64
"""Assignments in one transaction; etcd takes 128 operations by default, and there are the aliases and the removal."""

Instances = dict[int, int]
"""Of each version, how many."""
Assigned = list[tuple[Node, Stored[Assignment] | None]]
"""What stands in the store for each node that is there."""
Changes = list[tuple[Stored[Assignment] | None, Assignment]]
"""What stands, and what is to stand."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should run of a function, and the aliases that it was derived from."""

    places: Mapping[int, Where]
    """By version, the nodes where it should run."""
    aliases: tuple[Stored[Alias], ...]

    @property
    def revision(self) -> int:
        return max((stored.mod_revision for stored in self.aliases), default=0)


def fits(version: Version, node: Node) -> bool:
    return version.manifest.placement.labels.items() <= node.labels.items()


def instances(node: Node, versions: Iterable[Version], places: Mapping[int, Where]) -> Instances:
    return {
        version.number: version.manifest.most_instances
        for version in versions
        if fits(version, node) and node.name in places[version.number]
    }


class Placement:
    """The leader's hand on the assignments; `nodes` is kept up by its owner."""

    def __init__(self, *, store: Store, fence: Fence, agents: Agents, nodes: Mirror[Node], routers: Routing) -> None:
        self._store = store
        self._fence = fence
        self._agents = agents
        self._nodes = nodes
        self._routers = routers
        self._versions: dict[tuple[str, int], Version] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pins: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._lent: defaultdict[str, set[int]] = defaultdict(set)
        self._moved: asyncio.Queue[str] = asyncio.Queue()

    @asynccontextmanager
    async def pinned(self, function: str, versions: Iterable[int]) -> AsyncIterator[None]:
        """Keeps the versions wanted until the context ends, for an alias that is about to name them."""
        pins = self._pins[function]
        mine = Counter(set(versions))
        pins.update(mine)
        try:
            yield
        finally:
            pins.subtract(mine)
            self._moved.put_nowait(function)

    def lend(self, function: str, version: int) -> None:
        """Wants the version on one node, while nothing else has a place for it."""
        self._lent[function].add(version)
        self._moved.put_nowait(function)

    def take_back(self, function: str, version: int) -> None:
        self._lent[function].discard(version)
        self._moved.put_nowait(function)

    async def moved(self) -> str:
        """The next function of which versions are pinned no more, lent a place, or have it no longer."""
        return await self._moved.get()

    async def assign(self, function: str, step: Start) -> int:
        """Adds the version, which has to be wanted, to the nodes of the step where it fits; takes nothing away.

        Returns the revision of the assignments. Raises `StartFailed` when it fits on no node, `Unavailable` when too
        few nodes serve the function to change any more of them.
        """
        record = await self._version(function, step.version)
        if step.nodes is None and not any(fits(record, node) for node in self._alive()):
            raise StartFailed(self._nowhere(record))
        if step.least_serving:
            await self._enough(function, step)
        async with self._locks[function]:
            wanted, assigned = await self._wanted(function), await self._assigned(function)
            return await self._write(function, wanted, assigned, remove=False)

    async def _enough(self, function: str, step: Start) -> None:
        """Returns when as many nodes serve the function as the step asks for."""
        async with mirrored(self._store.endpoints, function) as endpoints:

            def serving() -> int:
                return len(ready(endpoints, self._nodes))

            try:
                async with asyncio.timeout(ENOUGH_LIMIT):
                    await until_any([endpoints, self._nodes], lambda: serving() >= step.least_serving)
            except TimeoutError:
                raise Unavailable(
                    f'{serving()} nodes serve "{function}", and {step.least_serving} have to before more of them change'
                ) from None

    async def settle(self, function: str) -> int:
        """Makes the assignments what they should be. Raises `Unavailable` when routers are late to let versions go."""
        confirmed = 0
        while True:
            async with self._locks[function]:
                wanted, assigned = await self._wanted(function), await self._assigned(function)
                if wanted.revision <= confirmed or not _surplus(assigned, wanted):
                    return await self._write(function, wanted, assigned, remove=True)
                await self._write(function, wanted, assigned, remove=False)
            await self._let_go(function, wanted.revision)
            confirmed = wanted.revision

    async def started(self, function: str, step: Start) -> int:
        """Returns when the version is ready on every node of the step where it fits, and every router knows it: the
        revision up to which the nodes were known then.

        Raises `StartFailed` with what the agent says. A node that goes away in the meantime is waited for no more; nor
        are the nodes that the step names, when none of them is left and the version serves elsewhere.
        """
        record, where = await self._version(function, step.version), scope.of(step)
        if not self._pins[function][step.version]:
            where -= _left_out(await self._store.aliases.list(function)).get(step.version, scope.NOWHERE)

        def there() -> set[str]:
            return {node.name for node in self._alive() if fits(record, node) and node.name in where}

        async with mirrored(self._store.endpoints, function, step.version) as endpoints:
            if step.nodes is None or not ready(endpoints, self._nodes):
                await self._nodes.until(lambda _: there())
            launch = Launch(
                store=self._store,
                fence=self._fence,
                agents=self._agents,
                nodes=self._nodes,
                endpoints=endpoints,
                version=record,
                elsewhere=step.nodes is not None,
            )
            result = await launch.result(there())
        match result:
            case StartFailed():
                raise result
            case Complete(endpoints=revision, nodes=known):
                await self._routers.applied("endpoints", revision)
                return known

    async def retired(self, function: str, step: Retire) -> None:
        """Returns when nothing of the version is published any more on the nodes of the step, or when something else
        wants it there."""
        wanted = (await self._wanted(function)).places.get(step.version, scope.NOWHERE)
        leaving = scope.of(step) - wanted
        async with mirrored(self._store.endpoints, function, step.version) as endpoints:
            await endpoints.until(lambda published: all(one.value.node not in leaving for one in published))

    async def _wanted(self, function: str) -> Wanted:
        """Aliases are read last: who keeps a version lets it go only after an alias names it, be it a new alias.

        What an alias names runs everywhere, unless its weights are those of a deployment that has a place for it; and
        somewhere it always runs.
        """
        running = [
            stored.value
            for active in await self._store.active.list(function)
            if (stored := await self._store.deployments.get(active.value.deployment))
        ]
        aliases = tuple(await self._store.aliases.list(function))
        places: defaultdict[int, Where] = defaultdict(Where)
        for deployment in running:
            for version, where in scope.placed(deployment).items():
                places[version] |= where
        for alias in aliases:
            rolled = any(traffic.is_ours(deployment, alias.value) for deployment in running)
            for version, weight in alias.value.weights.items():
                if weight and not (rolled and places[version] != scope.NOWHERE):
                    places[version] = scope.EVERYWHERE
        for version, where in _left_out(aliases).items():
            places[version] -= where
        for version, pins in self._pins[function].items():
            if pins > 0:
                places[version] = scope.EVERYWHERE
        for record in await self._published(function, self._lent[function] - places.keys()):
            places[record.number] = self._somewhere(record)
        return Wanted({version: where for version, where in places.items() if where != scope.NOWHERE}, aliases)

    async def _write(self, function: str, wanted: Wanted, assigned: Assigned, *, remove: bool) -> int:
        """Writes what differs; the revision of the newest assignment, at least 1."""
        versions = await self._published(function, wanted.places)
        revision = 1
        changes: Changes = []
        for node, stored in assigned:
            target = instances(node, versions, wanted.places)
            present = stored.value.versions if stored else {}
            if not remove:
                target = {**present, **target}
            if target != present:
                changes.append((stored, Assignment(node=node.name, function=function, versions=target)))
            elif stored:
                revision = max(revision, stored.mod_revision)
        removal = Removal(function=function, versions=sorted(_taken(changes)))
        for chunk in _chunks(changes):
            revision = await self._commit(chunk, wanted, removal)
        return revision

    async def _commit(self, changes: Changes, wanted: Wanted, removal: Removal) -> int:
        transaction = self._store.transaction(self._fence)
        if removal.versions:
            transaction.announce(removal, lease=0)
        transaction.require_none_newer(Alias, removal.function, revision=wanted.revision)
        for alias in wanted.aliases:
            transaction.require(alias)
        for stored, assignment in changes:
            if stored and not assignment.versions:
                transaction.delete(stored)
            else:
                transaction.put(assignment, over=stored)
        return await transaction.commit()

    async def _let_go(self, function: str, revision: int) -> None:
        try:
            async with asyncio.timeout(REMOVE_LIMIT):
                await self._routers.applied("aliases", revision)
        except TimeoutError:
            raise Unavailable(
                f'not every router has the aliases of "{function}"; what these no longer name goes on running'
            ) from None

    async def _assigned(self, function: str) -> Assigned:
        nodes = self._alive()
        found = await asyncio.gather(*(self._store.assignments.get(node.name, function) for node in nodes))
        return list(zip(nodes, found, strict=True))

    async def _version(self, function: str, number: int) -> Version:
        found = await self._published(function, {number})
        if not found:
            raise StartFailed(f'there is no version {number} of "{function}"')
        return found[0]

    async def _published(self, function: str, numbers: Iterable[int]) -> list[Version]:
        """Of the versions, those that exist: an alias that somebody wrote by hand may name any."""
        found = [await self._known(function, number) for number in sorted(numbers)]
        return [version for version in found if version]

    async def _known(self, function: str, number: int) -> Version | None:
        """Versions never change, so one that was read once needs no store."""
        if (function, number) not in self._versions:
            stored = await self._store.versions.get(function, number)
            if stored is None:
                return None
            self._versions[function, number] = stored.value
        return self._versions[function, number]

    def _somewhere(self, version: Version) -> Where:
        """One node where it fits, the same as long as that is there; not the same for all versions."""
        fitting = [node.name for node in self._alive() if fits(version, node)]
        chosen = max(fitting, key=lambda node: _score(version, node), default=None)
        return scope.NOWHERE if chosen is None else Where(frozenset({chosen}))

    def _alive(self) -> list[Node]:
        return sorted((stored.value for stored in self._nodes), key=lambda node: node.name)

    def _nowhere(self, version: Version) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in version.manifest.placement.labels.items())
        nodes = ", ".join(node.name for node in self._alive()) or "none"
        carrying = f" that carries the labels {labels}" if labels else ""
        return f'there is no node{carrying} to run version {version.number} of "{version.function}" (nodes: {nodes})'


def _score(version: Version, node: str) -> bytes:
    """By rendezvous hashing: a node that comes or goes moves what has it for its place, and nothing else."""
    return hashlib.sha256(f"{version.function}:{version.number}@{node}".encode()).digest()


def _left_out(aliases: Iterable[Stored[Alias]]) -> Mapping[int, Where]:
    """By version, nodes on which it does not run for the fault of the node."""
    found: defaultdict[int, Where] = defaultdict(Where)
    for alias in aliases:
        for version, nodes in alias.value.without.items():
            found[version] |= Where(frozenset(nodes))
    return found


def _surplus(assigned: Assigned, wanted: Wanted) -> bool:
    """Whether anything runs where nothing wants it."""
    return any(
        node.name not in wanted.places.get(version, scope.NOWHERE)
        for node, stored in assigned
        if stored
        for version in stored.value.versions
    )


def _taken(changes: Changes) -> set[int]:
    """The versions that some node is to run no more."""
    return {version for stored, new in changes if stored for version in stored.value.versions.keys() - new.versions}


def _chunks(changes: Changes) -> Iterator[Changes]:
    for begin in range(0, len(changes), WRITES_AT_ONCE):
        yield changes[begin : begin + WRITES_AT_ONCE]
