"""The agents on the nodes, as the controller calls them."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from hotswap.model import Assignment, Node
from hotswap.rpc import agent_pb2, agent_pb2_grpc, wire
from hotswap.store import Fence, Stored


class Agents(Protocol):
    def apply(
        self, node: Node, assignment: Stored[Assignment], fence: Fence
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        """Hurries the agent to its assignment, and tells how far it is. Raises the agent's error, or `Unavailable`."""


class RemoteAgents:
    """Each where its node says, by gRPC."""

    async def apply(
        self, node: Node, assignment: Stored[Assignment], fence: Fence
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        request = agent_pb2.ApplyRequest(
            fence=fence.create_revision,
            function=assignment.value.function,
            versions=assignment.value.versions,
            revision=assignment.mod_revision,
        )
        async with wire.channel(node.address) as channel:
            with wire.calling(f'the agent of node "{node.name}" at {node.address}'):
                async for progress in agent_pb2_grpc.AgentStub(channel).Apply(request):
                    yield progress

    async def logs(self, node: Node, request: agent_pb2.LogsRequest) -> AsyncGenerator[agent_pb2.LogLine, None]:
        """Raises `NotFound` where nothing of the function has run, or `Unavailable`; sets no limit of its own."""
        async with wire.channel(node.address) as channel:
            with wire.calling(f'the agent of node "{node.name}" at {node.address}'):
                async for line in agent_pb2_grpc.AgentStub(channel).Logs(request):
                    yield line

    async def status(self, node: Node, function: str) -> agent_pb2.StatusResponse:
        """What runs there. Raises `Unavailable`; sets no limit of its own."""
        async with wire.channel(node.address) as channel:
            with wire.calling(f'the agent of node "{node.name}" at {node.address}'):
                return await agent_pb2_grpc.AgentStub(channel).Status(agent_pb2.StatusRequest(function=function))
