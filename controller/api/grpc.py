"""`hotswap.v1.Controller` over `controller.service`: translation only."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc

from controller.api import documents
from controller.api.leader import PASSED_ON, LeaderWeights
from controller.artifacts import Artifacts
from controller.publishing import Publication
from controller.service import Service
from hotswap import requests
from hotswap.deployment import Verb
from hotswap.errors import Invalid
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import controller_pb2_grpc, wire

SERVICE = "hotswap.v1.Controller"

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Context = grpc.aio.ServicerContext


class ControllerApi(controller_pb2_grpc.ControllerServicer):
    def __init__(self, *, service: Service, artifacts: Artifacts, weights: LeaderWeights) -> None:
        self._service = service
        self._artifacts = artifacts
        self._weights = weights

    async def Publish(self, request_iterator: AsyncIterator[pb.PublishRequest], context: Context) -> pb.Version:
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "header":
            raise Invalid("the first message of Publish is its header")
        header = first.header
        publication = Publication(
            manifest_toml=header.manifest_toml, sha256=header.sha256, size=header.size, who=_who(context)
        )
        return documents.version(await self._service.publish(publication, _chunks(request_iterator)))

    async def FetchArtifact(self, request: pb.FetchArtifactRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        async for content in self._artifacts.read(request.sha256, offset=request.offset):
            yield pb.Chunk(content=content)

    async def ListFunctions(self, request: pb.ListFunctionsRequest, context: Context) -> pb.ListFunctionsResponse:
        functions = await self._service.functions()
        return pb.ListFunctionsResponse(functions=[documents.function(it, aliases) for it, aliases in functions])

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        versions = await self._service.versions(request.function)
        return pb.ListVersionsResponse(versions=[documents.version(it) for it in versions])

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.Version:
        return documents.version(await self._service.version(request.function, request.number))

    async def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> pb.Alias:
        stored = await self._service.alias(request.function, request.name)
        return documents.alias(stored.value, revision=stored.mod_revision)

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        aliases = await self._service.aliases(request.function)
        return pb.ListAliasesResponse(aliases=[documents.alias(it) for it in aliases])

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.Alias:
        stored = await self._weights.set(
            request.function,
            request.name,
            dict(request.weights),
            who=_who(context),
            why=request.why,
            expected=request.expected if request.HasField("expected") else None,
            passed_on=PASSED_ON in _metadata(context),
        )
        return documents.alias(stored.value, revision=stored.mod_revision)

    async def Deploy(self, request: pb.DeployRequest, context: Context) -> pb.Deployment:
        parsed = requests.parse(request.request_json)
        return documents.deployment(await self._service.deploy(parsed, who=_who(context)))

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Context) -> pb.Deployment:
        return documents.deployment(await self._service.deployment(request.id))

    async def ListDeployments(self, request: pb.ListDeploymentsRequest, context: Context) -> pb.ListDeploymentsResponse:
        found = await self._service.deployments(function=request.function, running=request.running, limit=request.limit)
        return pb.ListDeploymentsResponse(deployments=[documents.deployment(it) for it in found])

    async def WatchDeployment(
        self, request: pb.WatchDeploymentRequest, context: Context
    ) -> AsyncIterator[pb.DeploymentUpdate]:
        async for update in self._service.watch(request.id, after=request.after_event):
            yield pb.DeploymentUpdate(
                deployment=documents.deployment(update.deployment),
                events=[documents.event(event) for event in update.events],
            )

    async def Rollback(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.ROLLBACK, request, context)

    async def Abort(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.ABORT, request, context)

    async def Promote(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.PROMOTE, request, context)

    async def GetPlatform(self, request: pb.GetPlatformRequest, context: Context) -> pb.Platform:
        return documents.platform(await self._service.platform())

    async def _ask(self, verb: Verb, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return documents.deployment(await self._service.ask(request.id, verb, who=_who(context), why=request.why))


async def _chunks(messages: AsyncIterator[pb.PublishRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message.chunk


def _metadata(context: Context) -> dict[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}


def _who(context: Context) -> str:
    return _metadata(context).get(wire.WHO, "")
