"""A whole platform in one event loop, as a seed draws it: it lives through its storm, comes to rest, and is judged.

storm    people deploy, ask and meddle; controllers, nodes, routers and messages fail
calm     nothing breaks any more; each deployment has the time that its limits give it
people   decide about what is held or frozen, or let its deadline pass
rest     assignments and instances have settled
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any
from unittest.mock import patch

from controller import decide, turning, waiting
from controller.verbs import ALLOWED
from hotswap.deployment import Deployment, Event, Status, Verb
from hotswap.model import Alias, Assignment, Function, Kind, Manifest, Version
from hotswap.store import Store
from tests.simulation.cluster import Author, Cluster, Written
from tests.simulation.controllers import BEGIN, Clock, ControllerHost
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.invariants import ALL, NothingLeftOver, Surroundings
from tests.simulation.loop import SimulatedLoop, Stuck
from tests.simulation.network import LATEST, Connection, Network, Process, Weather
from tests.simulation.nodes import RunnerNode
from tests.simulation.people import WAITS, People, undecided
from tests.simulation.routers import RouterHost, Traffic
from tests.simulation.scenario import Scenario, scenario

CALM = 45 * 60.0
"""Seconds in which a deployment that nothing disturbs has ended or waits for a person: starts may take six minutes each
way, and phases that tell too little a minute more each."""
ENDS_BY_ITSELF = frozenset({Status.HELD, Status.PAUSED, Status.AWAITING_PROMOTION})
"""Where nobody decides, the deadline does."""
HELD_LIMIT = timedelta(hours=1)
"""How long what is held waits for a person here. A day would be the same but for its length, and takes ten seconds to
play."""
HELD = 2 * 3600.0
"""Seconds after which what is held has gone back by itself."""
REST = 10 * 60.0
ROUNDS = 12
"""How often people decide before it is said that nothing ends."""


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    violations: list[str]
    history: list[str]
    digest: str
    deployments: dict[str, int]
    """Status -> how many ended so."""
    revisions: int
    seconds: float
    """That passed in the world."""

    def brief(self) -> "Outcome":
        """Without its history."""
        return replace(self, history=[])


class World:
    def __init__(self, seed: int, scene: Scenario, loop: SimulatedLoop, random: Random) -> None:
        self.seed = seed
        self.scene = scene
        self.loop = loop
        self.history = History(loop.time)
        self.cluster = Cluster(time=loop.time)
        self.violations: list[str] = []
        self.revisions = 0
        self.network = Network(cluster=self.cluster, random=random, history=self.history, weather=scene.weather)
        self.nodes: dict[str, RunnerNode] = {}
        self.routers: dict[str, RouterHost] = {}
        self.controllers: dict[str, ControllerHost] = {}
        self._ids = 0
        self._build()
        around = Surroundings(picture=self.cluster.picture, nodes=self.nodes, routers=self.routers, scene=scene)
        self._invariants = [kind(around) for kind in ALL]
        self.cluster.observers.append(self._watch)

    async def live(self) -> None:
        await self._publish()
        self._start_all()
        await self._storm()
        self._calm()
        await asyncio.sleep(LATEST)  # what was sent before arrives
        await self._decided()
        await self._until(self._at_rest, REST)
        for invariant in self._invariants:
            for text in invariant.at_end():
                self._violated(f"{type(invariant).__name__}: {text}")

    def _build(self) -> None:
        scene = self.scene
        traffic = Traffic(scene.rates, scene.lag, scene.natures)
        for number in range(scene.routers):
            name = f"r{number + 1}"
            self.routers[name] = RouterHost(name, network=self.network, traffic=traffic)
        nodes = {
            name: RunnerNode(name, network=self.network, natures=scene.natures, hosts=self.routers)
            for name in (f"n{number + 1}" for number in range(scene.nodes + 1))
        }
        spare, node = nodes.popitem()
        self._spares = {spare: node}
        self.nodes.update(nodes)
        for number, ahead in enumerate(scene.clocks, 1):
            self.controllers[f"c{number}"] = ControllerHost(
                f"c{number}",
                network=self.network,
                nodes=self.nodes,
                hosts=self.routers,
                natures=scene.natures,
                clock=Clock(ahead),
                new_id=self._new_id,
            )
        self._people = People(
            controllers=self.controllers, network=self.network, picture=self.cluster.picture, history=self.history
        )
        self._faults = Faults(
            controllers=self.controllers,
            nodes=self.nodes,
            spares=self._spares,
            routers=self.routers,
            history=self.history,
        )

    def _new_id(self) -> str:
        self._ids += 1
        return f"d-{self._ids}"

    def _start_all(self) -> None:
        """All that does not run."""
        for router in self.routers.values():
            router.start()
        for controller in self.controllers.values():
            controller.start()
        for node in self.nodes.values():
            node.start_agent()

    async def _publish(self) -> None:
        fair = Network(cluster=self.cluster, random=self.network.random, history=self.history, weather=Weather())
        store = Store(Connection(Process("world", fair), Author("world", "person")))
        for function in self.scene.rates:
            numbers = [number for name, number in self.scene.natures if name == function]
            transaction = store.transaction().create(Function(name=function, created=BEGIN, last_version=max(numbers)))
            for number in numbers:
                transaction.create(_version(function, number))
            await transaction.commit()

    async def _storm(self) -> None:
        works = [self._at(when, self._people.act(act)) for when, act in self.scene.acts]
        works += [self._at(when, self._faults.strike(fault)) for when, fault in self.scene.faults]
        tasks = [asyncio.create_task(work) for work in works]
        await asyncio.sleep(self.scene.storm)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _at(self, when: float, work: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.sleep(when)
        except asyncio.CancelledError:
            work.close()
            raise
        await work

    def _calm(self) -> None:
        self.history.tell("world", "calm")
        self.network.weather.clear()
        processes = [
            *(host.process for host in self.routers.values()),
            *(host.process for host in self.controllers.values()),
            *(node.process for node in self.nodes.values()),
        ]
        for process in processes:
            if process:
                process.dies_in = None
                process.reconnect()
        self._start_all()

    async def _decided(self) -> None:
        """Until all deployments have ended, with a person who decides, or with none."""
        for round_ in range(ROUNDS):
            await self._until(self._waits_for_people, CALM)
            waiting = undecided(self.cluster.picture)
            if not waiting:
                return
            for deployment in waiting:
                if verb := self._decision(deployment, round_):
                    await self._people.ask(deployment, verb)
            held = {one.id for one in waiting if not self.scene.decides and one.status in ENDS_BY_ITSELF}
            await self._until(lambda: not held & {one.id for one in undecided(self.cluster.picture)}, HELD)  # noqa: B023
            await asyncio.sleep(60.0)

    def _decision(self, deployment: Deployment, round_: int) -> Verb | None:
        if round_ >= ROUNDS - 2:
            return Verb.ABORT
        if deployment.status in ENDS_BY_ITSELF and not self.scene.decides:
            return None
        possible = sorted(ALLOWED[deployment.status] - {Verb.PAUSE})
        return self.network.random.choice(possible)

    def _waits_for_people(self) -> bool:
        """What is queued waits for one that waits for them."""
        left = [it for it in self.cluster.picture.all(Deployment) if not it.status.terminal]
        blocked = {(it.function, it.alias) for it in left if it.status in WAITS}
        return all(
            it.status in WAITS or (it.status is Status.QUEUED and (it.function, it.alias) in blocked) for it in left
        )

    def _at_rest(self) -> bool:
        return not any(text for one in self._invariants if isinstance(one, NothingLeftOver) for text in one.at_end())

    async def _until(self, holds: Callable[[], bool], limit: float) -> None:
        """Until it holds, looked at now and then, or until the limit has passed: what is wrong then is told at the
        end."""
        end, pause = self.loop.time() + limit, 1.0
        while not holds() and self.loop.time() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, limit / 20)

    def _watch(self, written: Written) -> None:
        self.revisions += 1
        self.history.tell(written.author.name, f"#{written.revision} {_shown(written)}")
        for invariant in self._invariants:
            for text in invariant.seen(written):
                self._violated(f"{type(invariant).__name__}: {text}")
        for host in self.controllers.values():
            if host.process and (failure := host.process.failure):
                self._violated(f"{host.name} has ended by itself: {failure!r}")
        if self.history.faults:
            self._violated(f"a service took it for a fault of ours: {self.history.faults[0]}")

    def _violated(self, text: str) -> None:
        self.history.tell("world", f"VIOLATED {text}")
        self.violations.append(text)
        self.loop.stop()


def play(seed: int) -> Outcome:
    """The world of a seed, from its beginning to its end or to the first thing that is wrong."""
    random = Random(seed)
    scene = scenario(random)
    loop = SimulatedLoop(random)
    world = World(seed, scene, loop, random)
    with world.history.recording(), _impatient():
        try:
            loop.run_until_complete(world.live())
        except Stuck as error:
            world.violations.append(str(error))
        except RuntimeError:
            if not world.violations:
                raise
        lines, digest, ended = list(world.history.lines), world.history.digest, loop.time()
        world.cluster.observers.clear()
        loop.close()
    statuses = [str(one.status) for one in world.cluster.picture.all(Deployment)]
    return Outcome(
        seed=seed,
        violations=world.violations,
        history=lines,
        digest=digest,
        deployments={status: statuses.count(status) for status in sorted(set(statuses))},
        revisions=world.revisions,
        seconds=ended,
    )


@contextmanager
def _impatient() -> Iterator[None]:
    with ExitStack() as patches:
        for module in (turning, decide, waiting):
            patches.enter_context(patch.object(module, "HELD_LIMIT", HELD_LIMIT))
        yield


def judged(seeds: range) -> list[Outcome]:
    """For a process that plays many: without the history of what holds."""
    outcomes = (play(seed) for seed in seeds)
    return [outcome if outcome.violations else outcome.brief() for outcome in outcomes]


def _version(function: str, number: int) -> Version:
    manifest = Manifest(function=function, kind=Kind.HANDLER, entrypoint="app:handler")
    return Version(function=function, number=number, artifact="0" * 64, size=1, manifest=manifest, published=BEGIN)


def _shown(written: Written) -> str:
    parts = []
    for change in written.changes:
        name = change.key.removeprefix("/hotswap/")
        match change.after:
            case None:
                parts.append(f"-{name}")
            case Alias(weights=weights, step=step):
                parts.append(f"{name}={weights} by {step or 'hand'}")
            case Assignment(versions=versions):
                parts.append(f"{name}={sorted(versions)}")
            case Deployment(status=status, progress=progress):
                parts.append(f"{name}={status}/{progress.index}/{progress.attempt}")
            case Event(kind=kind, text=text):
                parts.append(f"[{kind}: {text}]")
            case _:
                parts.append(f"+{name}")
    return " ".join(parts)
