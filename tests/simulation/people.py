"""People: they deploy, ask, set weights by hand, and now and then edit the store behind the controller's back."""

import asyncio
from collections.abc import Coroutine
from typing import Any, assert_never

from msgspec.structs import replace

from hotswap import kv
from hotswap.deployment import AwaitPromotion, Deployment, Status, Verb
from hotswap.errors import HotswapError, Unavailable
from hotswap.model import Alias
from hotswap.store import Store
from tests.simulation.cluster import Author, Picture
from tests.simulation.controllers import ControllerHost, SimulatedController
from tests.simulation.history import History
from tests.simulation.network import Connection, Network, Process
from tests.simulation.scenario import Act, Ask, Deploy, Edit, SetWeights

WAITS = frozenset({Status.HELD, Status.FROZEN, Status.PAUSED, Status.AWAITING_PROMOTION})
"""For a person."""
HALF = 0.5
TRIES = 6
PATIENCE = 4.0
"""Seconds before a person asks again who had no answer, or was refused because something else runs."""


class People:
    def __init__(
        self, *, controllers: dict[str, ControllerHost], network: Network, picture: Picture, history: History
    ) -> None:
        self._controllers = controllers
        self._network = network
        self._picture = picture
        self._history = history
        self._hand = Store(Connection(Process("somebody", network), Author("somebody", "foreign")))

    async def act(self, act: Act) -> None:
        self._history.tell("people", _shown(act))
        for _ in range(TRIES):
            try:
                await self._done(act)
            except (Unavailable, kv.KVError) as error:
                self._history.tell("people", f"  no answer: {error}")
            except HotswapError as error:
                self._history.tell("people", f"  refused: {error.message}")
                if not isinstance(act, Deploy):
                    return
            else:
                return
            await asyncio.sleep(PATIENCE)

    async def ask(self, deployment: Deployment, verb: Verb) -> None:
        self._history.tell("people", f"{verb} {deployment.id}")
        try:
            controller = self._any()
            await self._unless_it_dies(controller, self._asking(controller, deployment, verb))
        except (HotswapError, kv.KVError) as error:
            self._history.tell("people", f"  refused: {error}")

    def _asking(
        self, controller: SimulatedController, deployment: Deployment, verb: Verb
    ) -> Coroutine[Any, Any, Deployment]:
        """With what a verb may say more, drawn at random."""
        service, name, random = controller.service, deployment.id, self._network.random
        match verb:
            case Verb.RETRY:
                step, force = random.choice([None, None, 2]), random.random() < HALF
                return service.retry(name, from_step=step, force=force, who="ada", why="")
            case Verb.PROMOTE:
                tests = [step for step in deployment.plan if isinstance(step, AwaitPromotion)]
                winner = random.choice(tests[0].versions) if tests else None
                full = not tests and random.random() < HALF
                return service.ask(name, verb, who="ada", why="", winner=winner, full=full)
            case Verb.RESUME:
                return service.ask(name, verb, who="ada", why="", adopt=random.random() < HALF)
            case _:
                return service.ask(name, verb, who="ada", why="")

    async def _done(self, act: Act) -> None:
        match act:
            case Deploy(request=request):
                controller = self._any()
                await self._unless_it_dies(controller, controller.service.deploy(request, who="ada"))
            case Ask(function=function, verb=verb):
                if newest := self._newest(function):
                    await self.ask(newest, verb)
            case SetWeights(function=function, alias=alias, weights=weights, override=override):
                leader = self._leader()
                assert leader.weights
                setting = leader.weights.set(function, alias, weights, who="ada", why="", override=override)
                await self._unless_it_dies(leader, setting)
            case Edit():
                await self._edit(act)
            case _:
                assert_never(act)

    async def _edit(self, edit: Edit) -> None:
        before = await self._hand.aliases.get(edit.function, edit.alias)
        alias = before.value if before else Alias(function=edit.function, name=edit.alias, weights=edit.weights)
        transaction = self._hand.transaction()
        if edit.weights:
            transaction.put(replace(alias, weights=edit.weights), over=before)
        elif before:
            transaction.delete(before)
        await transaction.commit()

    def _newest(self, function: str) -> Deployment | None:
        found = [one for one in self._picture.all(Deployment) if one.function == function]
        running = [one for one in found if not one.status.terminal]
        return max(running or found, key=lambda one: one.created, default=None)

    def _any(self) -> SimulatedController:
        alive = [host.controller for host in self._controllers.values() if host.process and host.controller]
        if not alive:
            raise Unavailable("no controller answers")
        return self._network.random.choice(alive)

    def _leader(self) -> SimulatedController:
        for host in self._controllers.values():
            if host.process and host.controller and host.controller.weights:
                return host.controller
        raise Unavailable("no controller leads")

    async def _unless_it_dies(self, controller: SimulatedController, work: Coroutine[Any, Any, Any]) -> None:
        """A call to a controller that dies meanwhile has no answer."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if task.cancelled() or not controller.process.alive:
            raise Unavailable(f"{controller.process.name} does not answer")
        task.result()


def undecided(picture: Picture) -> list[Deployment]:
    return [one for one in picture.all(Deployment) if one.status in WAITS]


def _shown(act: Act) -> str:
    match act:
        case Deploy(request=request):
            return f"deploy {type(request).__name__} {request.function_name}:{request.alias} version {request.version}"
        case Ask(function=function, verb=verb):
            return f"{verb} the newest of {function}"
        case SetWeights(function=function, alias=alias, weights=weights):
            return f"set {function}:{alias} to {weights}"
        case Edit(function=function, alias=alias, weights=weights):
            return f"edit {function}:{alias} in the store to {weights}"
        case _:
            assert_never(act)
