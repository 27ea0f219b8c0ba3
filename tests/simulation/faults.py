"""What breaks, carried out."""

import asyncio
from typing import TypeVar, assert_never

from tests.simulation.controllers import ControllerHost
from tests.simulation.history import History
from tests.simulation.network import Process
from tests.simulation.nodes import RunnerNode
from tests.simulation.routers import RouterHost
from tests.simulation.scenario import (
    AgentDies,
    Fault,
    LeaderDies,
    LeaderIsBlind,
    LeaderIsCutOff,
    NodeDies,
    NodeIsCutOff,
    NodeJoins,
    RouterDies,
    RouterIsCutOff,
)

T = TypeVar("T")


class Faults:
    def __init__(
        self,
        *,
        controllers: dict[str, ControllerHost],
        nodes: dict[str, RunnerNode],
        spares: dict[str, RunnerNode],
        routers: dict[str, RouterHost],
        history: History,
    ) -> None:
        """`spares` are nodes that have not joined yet."""
        self._controllers = controllers
        self._nodes = nodes
        self._spares = spares
        self._routers = routers
        self._history = history

    async def strike(self, fault: Fault) -> None:
        """Returns when the fault is over."""
        match fault:
            case LeaderDies(points=points, back_after=seconds):
                await self._leader_dies(points, seconds)
            case LeaderIsCutOff(seconds=seconds):
                await _cut_off(self._leading().process, seconds)
            case LeaderIsBlind(seconds=seconds):
                if process := self._leading().process:
                    process.lose_lease_unnoticed(blind=seconds)
            case NodeDies(number=number, back_after=seconds):
                node = _pick(self._nodes, number)
                node.die()
                await asyncio.sleep(seconds)
                node.start_agent()
            case AgentDies(number=number, back_after=seconds):
                node = _pick(self._nodes, number)
                node.kill_agent()
                await asyncio.sleep(seconds)
                node.start_agent()
            case NodeIsCutOff(number=number, seconds=seconds):
                await _cut_off(_pick(self._nodes, number).process, seconds)
            case RouterDies(number=number, back_after=seconds):
                router = _pick(self._routers, number)
                router.die()
                await asyncio.sleep(seconds)
                router.start()
            case RouterIsCutOff(number=number, seconds=seconds):
                await _cut_off(_pick(self._routers, number).process, seconds)
            case NodeJoins():
                self._join()
            case _:
                assert_never(fault)

    def _leading(self) -> ControllerHost:
        hosts = list(self._controllers.values())
        return next((host for host in hosts if host.process and host.controller and host.controller.weights), hosts[0])

    async def _leader_dies(self, points: int, seconds: float) -> None:
        host = self._leading()
        process = host.process
        if process is None:
            return
        process.dies_in = points
        self._history.tell(process.name, f"will die in {points} points")
        await process.dead.wait()
        await asyncio.sleep(seconds)
        host.start()

    def _join(self) -> None:
        if self._spares:
            name, node = self._spares.popitem()
            self._nodes[name] = node
            self._history.tell(name, "joins")
            node.start_agent()


async def _cut_off(process: Process | None, seconds: float) -> None:
    if process and process.connected:
        process.cut_off()
        await asyncio.sleep(seconds)
        process.reconnect()


def _pick(things: dict[str, T], number: int) -> T:
    return list(things.values())[number % len(things)]
