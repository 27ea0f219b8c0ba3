"""The figures of a function, asked of every router and every agent there and then. What does not answer is named."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from controller.agents import RemoteAgents
from hotswap import figures
from hotswap.admin import admin_ports
from hotswap.errors import HotswapError, NotFound
from hotswap.figures import PARTS, Figures, Incident, InstanceFigures
from hotswap.metrics import CounterRow
from hotswap.model import Node, check_function_name
from hotswap.rpc import agent_pb2
from hotswap.store import Store

T = TypeVar("T")
LIMIT = 5.0
"""Seconds for an agent to answer."""
STATE = "INSTANCE_STATE_"


class FigureBook:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._agents = RemoteAgents()

    async def of(self, function: str) -> Figures:
        if await self._store.functions.get(check_function_name(function)) is None:
            raise NotFound(f'there is no function "{function}"', hint="see `hotswap functions`")
        (rows, silent), (statuses, away) = await asyncio.gather(self._counted(function), self._running(function))
        owners = defaultdict[tuple[str, int], list[CounterRow]](list)
        for row in rows:
            owners[row.alias, row.version].append(row)
        return Figures(
            function=function,
            versions=[figures.of_version(*owner, some) for owner, some in sorted(owners.items())],
            instances=sorted(
                (_instance(status.node, one) for status in statuses for one in status.instances),
                key=lambda one: (one.version, one.node, one.instance),
            ),
            incidents=sorted(
                (_incident(status.node, one) for status in statuses for one in status.incidents),
                key=lambda one: one.at,
            ),
            missing=[*silent, *away],
        )

    async def _counted(self, function: str) -> tuple[list[CounterRow], list[str]]:
        async with admin_ports() as admin:
            routers = [stored.value for stored in await self._store.routers.list()]
            answers = await asyncio.gather(
                *(admin.counters(router, function) for router in routers), return_exceptions=True
            )
        good, missing = _sorted(answers)
        return [row for counters in good for row in counters.rows], missing

    async def _running(self, function: str) -> tuple[list[agent_pb2.StatusResponse], list[str]]:
        nodes = [stored.value for stored in await self._store.nodes.list()]
        answers = await asyncio.gather(*(self._status(node, function) for node in nodes), return_exceptions=True)
        return _sorted(answers)

    async def _status(self, node: Node, function: str) -> agent_pb2.StatusResponse:
        try:
            async with asyncio.timeout(LIMIT):
                return await self._agents.status(node, function)
        except TimeoutError:
            raise HotswapError(f'the agent of node "{node.name}" does not answer within {LIMIT:g} s') from None


def _sorted(answers: Sequence[T | BaseException]) -> tuple[list[T], list[str]]:
    """The answers, and what those say that did not answer."""
    good: list[T] = []
    missing: list[str] = []
    for answer in answers:
        if isinstance(answer, HotswapError):
            missing.append(answer.message)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            good.append(answer)
    return good, missing


def _instance(node: str, status: agent_pb2.InstanceStatus) -> InstanceFigures:
    return InstanceFigures(
        node=node,
        version=status.version,
        instance=status.instance,
        state=agent_pb2.InstanceState.Name(status.state).removeprefix(STATE).lower(),
        memory=status.memory_bytes,
        cpu_seconds=status.cpu_seconds,
        restarts=status.restarts,
        wakes=status.wakes,
        last_exit=status.last_exit,
        last_cause=status.last_cause,
        start_ms={part: status.start_ms[part] for part in PARTS if part in status.start_ms},
    )


def _incident(node: str, of: agent_pb2.Incident) -> Incident:
    return Incident(
        at=datetime.fromtimestamp(of.unix_seconds, UTC),
        node=node,
        version=of.version,
        instance=of.instance,
        cause=of.cause,
        text=of.text,
    )
