"""`hotswap.v1.Controller` over `controller.access`: translation only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc

from controller.access import Access, Parts
from controller.api import documents
from controller.api.leader import PASSED_ON
from controller.logs import LogsWanted
from controller.publishing import Publication
from hotswap import auth, durations, requests
from hotswap.deployment import Verb
from hotswap.errors import Invalid
from hotswap.model import DEFAULT_ALIAS, decode, encode
from hotswap.outcomes import Outcomes
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import controller_pb2_grpc
from hotswap.rpc.callers import caller, told

SERVICE = "hotswap.v1.Controller"
SETTLING = 1.0
"""Seconds in which it shows whether a caller has ended or was cut off: at first both are the end of its messages."""

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Context = grpc.aio.ServicerContext


class ControllerApi(controller_pb2_grpc.ControllerServicer):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def _access(self) -> Access:
        """For who makes the call that is handled now."""
        return Access(caller(), self._parts)

    async def Publish(self, request_iterator: AsyncIterator[pb.PublishRequest], context: Context) -> pb.Version:
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "header":
            raise Invalid("the first message of Publish is its header")
        header = first.header
        publication = Publication(
            manifest_toml=header.manifest_toml, sha256=header.sha256, size=header.size, offset=header.offset
        )
        chunks = _chunks(request_iterator, upto=header.size - header.offset)
        return documents.version(await self._access.publish(publication, chunks))

    async def FindUpload(self, request: pb.FindUploadRequest, context: Context) -> pb.Upload:
        found = await self._access.found(request.function, request.sha256)
        return pb.Upload(received=found.received, version=found.version)

    async def FetchArtifact(self, request: pb.FetchArtifactRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        async for content in self._access.artifact(request.sha256, offset=request.offset):
            yield pb.Chunk(content=content)

    async def ListFunctions(self, request: pb.ListFunctionsRequest, context: Context) -> pb.ListFunctionsResponse:
        functions = await self._access.functions()
        return pb.ListFunctionsResponse(functions=[documents.function(it, aliases) for it, aliases in functions])

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        versions = await self._access.versions(request.function)
        return pb.ListVersionsResponse(versions=[documents.version(it) for it in versions])

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.Version:
        return documents.version(await self._access.version(request.function, request.number))

    async def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> pb.Alias:
        stored = await self._access.alias(request.function, request.name)
        return documents.alias(stored.value, revision=stored.mod_revision)

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        aliases = await self._access.aliases(request.function)
        return pb.ListAliasesResponse(aliases=[documents.alias(it) for it in aliases])

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.Alias:
        stored = await self._access.set_weights(
            request.function,
            request.name,
            dict(request.weights),
            why=request.why,
            override=request.override,
            expected=request.expected if request.HasField("expected") else None,
            passed_on=PASSED_ON in told(context),
        )
        return documents.alias(stored.value, revision=stored.mod_revision)

    async def RemoveAlias(self, request: pb.RemoveAliasRequest, context: Context) -> pb.Alias:
        return documents.alias(await self._access.remove_alias(request.function, request.name, why=request.why))

    async def Unpublish(self, request: pb.UnpublishRequest, context: Context) -> pb.Version:
        return documents.version(await self._access.unpublish(request.function, request.number, why=request.why))

    async def Deploy(self, request: pb.DeployRequest, context: Context) -> pb.Deployment:
        parsed = requests.parse(request.request_json)
        return documents.deployment(await self._access.deploy(parsed))

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Context) -> pb.Deployment:
        return documents.deployment((await self._access.deployment(request.id)).value)

    async def ListDeployments(self, request: pb.ListDeploymentsRequest, context: Context) -> pb.ListDeploymentsResponse:
        found = await self._access.deployments(function=request.function, running=request.running, limit=request.limit)
        return pb.ListDeploymentsResponse(deployments=[documents.deployment(it) for it in found])

    async def WatchDeployment(
        self, request: pb.WatchDeploymentRequest, context: Context
    ) -> AsyncIterator[pb.DeploymentUpdate]:
        async for update in self._access.watch(request.id, after=request.after_event):
            yield pb.DeploymentUpdate(
                deployment=documents.deployment(update.deployment),
                events=[documents.event(event) for event in update.events],
            )

    async def Compare(self, request: pb.GetDeploymentRequest, context: Context) -> pb.CompareResponse:
        return pb.CompareResponse(comparison_json=encode(await self._access.compare(request.id)).decode())

    async def GetFigures(self, request: pb.GetFiguresRequest, context: Context) -> pb.GetFiguresResponse:
        return pb.GetFiguresResponse(figures_json=encode(await self._access.figures(request.function)).decode())

    async def ReadLogs(self, request: pb.ReadLogsRequest, context: Context) -> AsyncIterator[pb.LogEntry]:
        wanted = LogsWanted(
            function=request.function,
            qualifier=request.qualifier,
            tail=request.tail,
            since=_moment(request.since),
            request=request.request,
            follow=request.follow,
        )
        async with aclosing(await self._access.logs(wanted)) as told:
            async for one in told:
                yield documents.log_entry(one)

    async def ReportOutcomes(self, request: pb.ReportOutcomesRequest, context: Context) -> pb.ReportOutcomesResponse:
        told = decode(request.outcomes_json, Outcomes, where="the outcomes")
        taken = await self._access.report_outcomes(request.function, told)
        return pb.ReportOutcomesResponse(counted=taken.counted, repeated=taken.repeated)

    async def Rollback(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.ROLLBACK, request)

    async def Abort(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.ABORT, request)

    async def Promote(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.PROMOTE, request)

    async def Pause(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.PAUSE, request)

    async def Resume(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        return await self._ask(Verb.RESUME, request)

    async def Retry(self, request: pb.VerbRequest, context: Context) -> pb.Deployment:
        again = await self._access.retry(
            request.id, from_step=request.step or None, force=request.force, why=request.why
        )
        return documents.deployment(again)

    async def Undo(self, request: pb.UndoRequest, context: Context) -> pb.Deployment:
        undone = await self._access.undo(
            request.function,
            request.alias or DEFAULT_ALIAS,
            to_version=request.to_version or None,
            why=request.why,
        )
        return documents.deployment(undone)

    async def ListQuarantine(self, request: pb.ListQuarantineRequest, context: Context) -> pb.ListQuarantineResponse:
        found = await self._access.quarantined(request.function)
        return pb.ListQuarantineResponse(versions=[documents.quarantined(one) for one in found])

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.QuarantinedVersion:
        return documents.quarantined(await self._access.release(request.function, request.version))

    async def GetPlatform(self, request: pb.GetPlatformRequest, context: Context) -> pb.Platform:
        return documents.platform(await self._access.platform())

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreatedToken:
        token, bearer = await self._access.create_token(
            name=request.name,
            role=auth.parse_role(request.role),
            functions=list(request.functions),
            lasts=_duration(request.lasts),
            why=request.why,
        )
        return pb.CreatedToken(token=documents.token(token), bearer=bearer.text)

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        return pb.ListTokensResponse(tokens=[documents.token(it) for it in await self._access.tokens()])

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.Token:
        return documents.token(await self._access.revoke_token(request.id, why=request.why))

    async def AddHook(self, request: pb.AddHookRequest, context: Context) -> pb.AddedHook:
        added = await self._access.add_hook(
            request.name,
            request.url,
            functions=list(request.functions),
            statuses=list(request.statuses),
        )
        return pb.AddedHook(name=added.name, secret=added.secret)

    async def ListHooks(self, request: pb.ListHooksRequest, context: Context) -> pb.ListHooksResponse:
        return pb.ListHooksResponse(hooks=[documents.hook(one) for one in await self._access.hooks()])

    async def ListUndelivered(self, request: pb.ListUndeliveredRequest, context: Context) -> pb.ListUndeliveredResponse:
        found = await self._access.undelivered(request.hook)
        return pb.ListUndeliveredResponse(notices=[documents.undelivered(one) for one in found])

    async def RemoveHook(self, request: pb.RemoveHookRequest, context: Context) -> pb.RemoveHookResponse:
        await self._access.remove_hook(request.name)
        return pb.RemoveHookResponse()

    async def TestHook(self, request: pb.TestHookRequest, context: Context) -> pb.TestHookResponse:
        answer = await self._access.test_hook(request.name)
        return pb.TestHookResponse(delivered=answer.delivered, answer=answer.text)

    async def _ask(self, verb: Verb, request: pb.VerbRequest) -> pb.Deployment:
        asked = await self._access.ask(
            request.id,
            verb,
            why=request.why,
            full=request.full,
            winner=request.winner or None,
            adopt=request.adopt,
        )
        return documents.deployment(asked)


async def _chunks(messages: AsyncIterator[pb.PublishRequest], *, upto: int) -> AsyncIterator[bytes]:
    """Ends when the messages do; where some are missing and the caller has gone, by being cancelled."""
    async for message in messages:
        upto -= len(message.chunk)
        yield message.chunk
    if upto > 0:
        await asyncio.sleep(SETTLING)


def _moment(text: str) -> float:
    """Unix time; 0 for none."""
    if not text:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise Invalid(f"since: {error}", hint="write 2026-01-31T12:00:00Z") from None


def _duration(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        return durations.parse(text)
    except ValueError as error:
        raise Invalid(f"lasts: {error}", hint="write 90d, 12h or P90D") from None
