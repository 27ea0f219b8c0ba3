"""The gRPC service `hotswap.v1.Agent`: tells how far the node is, and hurries it along.

What is to run is etcd's to say: a call that contradicts the assignment is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from agent.fence import HighestFence
from agent.incidents import Incident, Incidents
from agent.output import Line, Outputs, Wanted
from agent.progress import Progress, State
from agent.resources import Used, used
from agent.slot import Slot
from agent.supervisor import Reconciler, Supervisor
from hotswap.errors import NotFound, Refused, Unavailable
from hotswap.figures import PARTS
from hotswap.rpc import agent_pb2, agent_pb2_grpc

NAME = "hotswap.v1.Agent"
MS = "_ms"
"""What follows the name of a part of a start in `Instance.figures`."""
ASSIGNMENT_LIMIT = 10.0
"""Seconds for an assignment, which the caller has written, to arrive here by its watch."""

STATES = {
    State.FETCHING: agent_pb2.INSTANCE_STATE_FETCHING,
    State.STARTING: agent_pb2.INSTANCE_STATE_STARTING,
    State.WARMING: agent_pb2.INSTANCE_STATE_WARMING,
    State.READY: agent_pb2.INSTANCE_STATE_READY,
    State.DRAINING: agent_pb2.INSTANCE_STATE_DRAINING,
    State.STOPPED: agent_pb2.INSTANCE_STATE_STOPPED,
    State.BACKING_OFF: agent_pb2.INSTANCE_STATE_BACKING_OFF,
    State.FAILED: agent_pb2.INSTANCE_STATE_FAILED,
    State.ASLEEP: agent_pb2.INSTANCE_STATE_ASLEEP,
    State.WAKING: agent_pb2.INSTANCE_STATE_WAKING,
}


class AgentService(agent_pb2_grpc.AgentServicer):
    def __init__(
        self,
        node: str,
        supervisor: Supervisor,
        fence: HighestFence,
        outputs: Outputs,
        incidents: Incidents,
        guards: Mapping[str, str],
    ) -> None:
        self._node = node
        self._supervisor = supervisor
        self._fence = fence
        self._outputs = outputs
        self._incidents = incidents
        self._guards = guards

    async def Apply(self, request: agent_pb2.ApplyRequest, context: Any) -> AsyncIterator[agent_pb2.InstanceProgress]:
        self._fence.check(request.fence)
        reconciler = await self._assigned(request.function, request.revision)
        if (wanted := {version: count for version, count in request.versions.items() if count}) != reconciler.desired:
            raise Refused(
                f'the assignment of "{request.function}" to node "{self._node}" is {dict(reconciler.desired or {})}, '
                f"not {wanted}",
                hint="write the assignment first, then apply it",
            )
        reconciler.again()

        def done() -> bool:
            return reconciler.served or reconciler.failed

        async for progress in self._follow(reconciler, set(wanted), done=done):
            yield progress

    async def Swap(self, request: agent_pb2.SwapRequest, context: Any) -> AsyncIterator[agent_pb2.InstanceProgress]:
        self._fence.check(request.fence)
        reconciler = await self._assigned(request.function, request.revision)
        desired = reconciler.desired or {}
        if request.to_version not in desired or request.from_version in desired:
            raise Refused(
                f'the assignment of "{request.function}" to node "{self._node}" is {dict(desired)}: version '
                f"{request.to_version} does not take the place of {request.from_version} in it",
                hint="write the assignment first, then swap",
            )
        reconciler.again()
        versions = {request.from_version, request.to_version}

        def done() -> bool:
            swapped = reconciler.served and not reconciler.of_version(request.from_version)
            return swapped or reconciler.failed

        async for progress in self._follow(reconciler, versions, done=done):
            yield progress

    async def Drain(self, request: agent_pb2.DrainRequest, context: Any) -> AsyncIterator[agent_pb2.InstanceProgress]:
        self._fence.check(request.fence)
        reconciler = self._supervisor.of(request.function)
        if request.version in (reconciler.desired or {}):
            raise Refused(
                f'version {request.version} of "{request.function}" is assigned to node "{self._node}"',
                hint="take it out of the assignment first",
            )
        reconciler.drain(request.version)

        def done() -> bool:
            return not reconciler.of_version(request.version)

        async for progress in self._follow(reconciler, {request.version}, done=done):
            yield progress

    async def Status(self, request: agent_pb2.StatusRequest, context: Any) -> agent_pb2.StatusResponse:
        slots = list(self._supervisor.slots(request.function))
        found = await asyncio.to_thread(used, [slot.instance.process.pid for slot in slots if slot.instance])
        return agent_pb2.StatusResponse(
            node=self._node,
            fence=self._fence.value,
            instances=[_status(slot, found) for slot in slots],
            guards=self._guards,
            incidents=[_incident(one) for one in self._incidents.of(request.function)],
        )

    async def Logs(self, request: agent_pb2.LogsRequest, context: Any) -> AsyncIterator[agent_pb2.LogLine]:
        if not self._outputs.has(request.function) and not request.follow:
            raise NotFound(f'nothing of "{request.function}" has run on node "{self._node}"')
        wanted = Wanted(request.version, request.lines, request.since_unix_seconds, request.request)
        reached = self._outputs.sizes(request.function, wanted)
        for line in self._outputs.last(request.function, wanted):
            yield _log_line(line)
        if request.follow:
            yield agent_pb2.LogLine()
            async for line in self._outputs.follow(request.function, wanted, reached):
                yield _log_line(line)

    async def _assigned(self, function: str, revision: int) -> Reconciler:
        """The function's reconciler, once the assignment of that revision has arrived."""
        try:
            async with asyncio.timeout(ASSIGNMENT_LIMIT):
                known = await self._supervisor.assigned(function, revision)
        except TimeoutError:
            raise Unavailable(
                f'the assignment of "{function}" at revision {revision} has not reached node "{self._node}"',
                hint="is etcd reachable from the node?",
            ) from None
        if revision and known.revision > revision:
            raise Refused(f'revision {revision} of the assignment of "{function}" is older than {known.revision}')
        return known

    async def _follow(
        self, reconciler: Reconciler, versions: set[int], *, done: Callable[[], bool]
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        """What stands, then what changes, until it is done."""
        with self._supervisor.listeners.listening(reconciler.function) as changes:
            present: Iterable[Progress] = [slot.progress for slot in reconciler.slots]
            while True:
                for progress in present:
                    if progress.version in versions:
                        yield self._progress(progress)
                if changes.empty() and done():
                    return
                present = [await changes.get()]

    def _progress(self, progress: Progress) -> agent_pb2.InstanceProgress:
        return agent_pb2.InstanceProgress(
            node=self._node,
            function=progress.function,
            version=progress.version,
            instance=progress.instance,
            state=STATES[progress.state],
            text=progress.text,
            revision=progress.revision,
        )


def _log_line(line: Line) -> agent_pb2.LogLine:
    return agent_pb2.LogLine(
        instance=line.instance,
        version=line.version,
        text=line.text,
        unix_seconds=line.at,
        request=line.request,
    )


def _incident(of: Incident) -> agent_pb2.Incident:
    return agent_pb2.Incident(
        unix_seconds=of.at,
        function=of.function,
        version=of.version,
        instance=of.instance,
        cause=of.cause,
        text=of.text,
    )


def _status(slot: Slot, found: Mapping[int, Used]) -> agent_pb2.InstanceStatus:
    instance = slot.instance
    status = agent_pb2.InstanceStatus(
        function=slot.function,
        version=slot.version,
        instance=slot.last_instance,
        state=STATES[slot.state],
        restarts=slot.restarts,
        last_exit=slot.last_exit,
        last_cause=slot.last_cause or "",
        address=slot.address,
        wakes=slot.wakes,
        start_ms={part: slot.figures[part + MS] for part in PARTS if part + MS in slot.figures},
    )
    if instance:
        status.pid = instance.process.pid
        using = found.get(instance.process.pid, Used())
        status.memory_bytes, status.cpu_seconds = using.memory, using.cpu
        status.started_unix_seconds = instance.created
    return status
