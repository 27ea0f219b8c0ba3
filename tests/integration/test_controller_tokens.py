"""A controller that asks for tokens, on a real etcd: who is let in, to what, and what is told and kept of it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hotswap import auth
from hotswap import etcd as etcd_client
from hotswap.auth import Operation, Role
from hotswap.errors import Forbidden, Invalid, NotFound, Unauthenticated
from hotswap.model import encode
from hotswap.requests import AnyRequest
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.rpc.callers import WHO, credentials
from hotswap.settings import EtcdSettings
from tests.conditions import LOOK_EVERY
from tests.controller_platform import ALIAS, FUNCTION, LIMIT, Platform, all_at_once, canary, platform

SOON = 5.0
"""Seconds after which a token that was revoked does not work any more, on a machine with much else to do."""
MANIFEST = f'function = "{FUNCTION}"\nkind = "handler"\nentrypoint = "app:handler"\n'


def deploys(request: AnyRequest) -> pb.DeployRequest:
    return pb.DeployRequest(request_json=encode(request).decode())


OUTCOMES = '{"outcomes": [{"id": "o-1", "requestId": "chosen", "metrics": {"conversion": 1}}]}'


def requests_about(deployment: str) -> dict[str, Any]:
    """One for each method, about one function and a deployment of it."""
    verb = pb.VerbRequest(id=deployment)
    return {
        "Publish": pb.PublishRequest(header=pb.PublishHeader(manifest_toml=MANIFEST, sha256="0" * 64)),
        "FindUpload": pb.FindUploadRequest(function=FUNCTION, sha256="0" * 64),
        "FetchArtifact": pb.FetchArtifactRequest(sha256="0" * 64),
        "ListFunctions": pb.ListFunctionsRequest(),
        "ListVersions": pb.ListVersionsRequest(function=FUNCTION),
        "GetVersion": pb.GetVersionRequest(function=FUNCTION, number=1),
        "GetAlias": pb.GetAliasRequest(function=FUNCTION, name=ALIAS),
        "ListAliases": pb.ListAliasesRequest(function=FUNCTION),
        "SetAlias": pb.SetAliasRequest(function=FUNCTION, name=ALIAS, weights={1: 100}),
        "RemoveAlias": pb.RemoveAliasRequest(function=FUNCTION, name=ALIAS),
        "Unpublish": pb.UnpublishRequest(function=FUNCTION, number=1),
        "Deploy": deploys(all_at_once(2)),
        "GetDeployment": pb.GetDeploymentRequest(id=deployment),
        "Compare": pb.GetDeploymentRequest(id=deployment),
        "ListDeployments": pb.ListDeploymentsRequest(function=FUNCTION),
        "WatchDeployment": pb.WatchDeploymentRequest(id=deployment),
        **dict.fromkeys(("Rollback", "Abort", "Promote", "Pause", "Resume", "Retry"), verb),
        "Undo": pb.UndoRequest(function=FUNCTION, alias=ALIAS, to_version=1),
        "ListQuarantine": pb.ListQuarantineRequest(function=FUNCTION),
        "Release": pb.ReleaseRequest(function=FUNCTION, version=1),
        "ReportOutcomes": pb.ReportOutcomesRequest(function=FUNCTION, outcomes_json=OUTCOMES),
        "AddHook": pb.AddHookRequest(name="team", url="http://127.0.0.1:9/"),
        "ListHooks": pb.ListHooksRequest(),
        "ListUndelivered": pb.ListUndeliveredRequest(hook="team"),
        "RemoveHook": pb.RemoveHookRequest(name="team"),
        "TestHook": pb.TestHookRequest(name="team"),
        "GetFigures": pb.GetFiguresRequest(function=FUNCTION),
        "ReadLogs": pb.ReadLogsRequest(function=FUNCTION),
        "GetPlatform": pb.GetPlatformRequest(),
        "CreateToken": pb.CreateTokenRequest(name="more", role="admin"),
        "ListTokens": pb.ListTokensRequest(),
        "RevokeToken": pb.RevokeTokenRequest(id="00000000"),
    }


@dataclass
class Controlled:
    world: Platform
    api: Any
    admin: str
    """An admin's token."""

    async def token(self, role: Role, *functions: str, **more: Any) -> pb.CreatedToken:
        request = pb.CreateTokenRequest(name="ci", role=role, functions=functions, **more)
        made: pb.CreatedToken = await self.call("CreateToken", request, token=self.admin)
        return made

    async def bearer(self, role: Role, *functions: str) -> str:
        return (await self.token(role, *functions)).bearer

    async def call(self, method: str, request: Any, *, token: str, claimed: str = "ada") -> Any:
        """The answer, or the last of a stream; raises what the controller raised."""
        call = getattr(self.api, method)
        metadata = ((WHO, claimed), *credentials(token))
        with wire.calling("the controller"):
            if method == "Publish":
                return await call(iter([request]), metadata=metadata, timeout=LIMIT)
            if method in {"FetchArtifact", "ReadLogs", "WatchDeployment"}:
                answers = [answer async for answer in call(request, metadata=metadata, timeout=LIMIT)]
                return answers[-1]
            return await call(request, metadata=metadata, timeout=LIMIT)

    async def follow(self, deployment: str, token: str, began: asyncio.Event) -> None:
        request = pb.WatchDeploymentRequest(id=deployment)
        with wire.calling("the controller"):
            async for _ in self.api.WatchDeployment(request, metadata=credentials(token), timeout=LIMIT):
                began.set()

    async def deployed(self, version: int) -> str:
        """The id of a deployment that has succeeded."""
        begun = await self.call("Deploy", deploys(all_at_once(version)), token=self.admin)
        return (await self.world.ended(begun.id)).id


@pytest_asyncio.fixture
async def controlled(etcd: EtcdSettings, tmp_path: Path) -> AsyncIterator[Controlled]:
    store = etcd_client.connect(etcd)
    try:
        async with platform(store, tmp_path, nodes=1) as world:
            world.admin = auth.new().text
            async with world.leading() as api:
                yield Controlled(world, api, world.admin)
    finally:
        await store.close()


async def stops_working(controlled: Controlled, token: str, *, within: float) -> Unauthenticated:
    async with asyncio.timeout(within):
        while True:
            try:
                await controlled.call("ListFunctions", pb.ListFunctionsRequest(), token=token)
            except Unauthenticated as refusal:
                return refusal
            await asyncio.sleep(LOOK_EVERY)


async def test_without_a_token_no_method_answers_and_each_says_how_to_give_one(controlled: Controlled) -> None:
    for method, request in requests_about("d-00000000").items():
        with pytest.raises(Unauthenticated, match="a token is needed") as refusal:
            await controlled.call(method, request, token="")
        assert "HOTSWAP_TOKEN" in refusal.value.hint


async def test_a_token_that_nobody_made_is_refused_and_so_is_a_right_id_with_a_wrong_secret(
    controlled: Controlled,
) -> None:
    right = await controlled.bearer(Role.VIEWER)
    for wrong in (auth.new().text, right[:-1] + ("b" if right.endswith("a") else "a")):
        with pytest.raises(Unauthenticated, match="is not known"):
            await controlled.call("ListFunctions", pb.ListFunctionsRequest(), token=wrong)


async def test_health_stays_open(controlled: Controlled) -> None:
    async with wire.channel(await controlled.world.leader(by="c1")) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEPLOYER])
async def test_every_method_is_refused_to_a_role_that_is_too_low_for_it(controlled: Controlled, role: Role) -> None:
    deployment = await controlled.deployed(1)
    token = await controlled.bearer(role)
    requests = requests_about(deployment)
    for operation in Operation:
        if not role.covers(operation.role):
            with pytest.raises(Forbidden, match=f"needs {operation.role}"):
                await controlled.call(operation.method, requests[operation.method], token=token)
    assert (await controlled.world.alias()).weights == {1: 100}
    assert len(await controlled.world.store.tokens.list()) == 2


async def test_a_viewer_reads(controlled: Controlled) -> None:
    deployment = await controlled.deployed(1)
    token = await controlled.bearer(Role.VIEWER)
    requests = requests_about(deployment)
    del requests["FetchArtifact"], requests["Compare"]  # there is no artifact, and it is no test
    for operation in Operation:
        if operation.role is Role.VIEWER and operation.method in requests:
            await controlled.call(operation.method, requests[operation.method], token=token)


async def test_a_deployer_of_another_function_can_neither_see_nor_change_this_one(controlled: Controlled) -> None:
    deployment = await controlled.deployed(1)
    token = await controlled.bearer(Role.DEPLOYER, "other")
    requests = requests_about(deployment)
    of_no_function = {"ListFunctions", "GetPlatform"}
    for operation in Operation:
        if operation.method not in of_no_function and operation.role is not Role.ADMIN:
            with pytest.raises(Forbidden, match='limited to "other"'):
                await controlled.call(operation.method, requests[operation.method], token=token)
    assert not (await controlled.call("ListFunctions", pb.ListFunctionsRequest(), token=token)).functions
    assert not (await controlled.call("ListDeployments", pb.ListDeploymentsRequest(), token=token)).deployments


async def test_a_deployer_of_this_function_deploys_it_in_the_tokens_name(controlled: Controlled) -> None:
    token = await controlled.bearer(Role.DEPLOYER, FUNCTION)
    begun = await controlled.call("Deploy", deploys(all_at_once(1)), token=token, claimed="root")
    assert begun.who == "ci (root)"
    await controlled.world.ended(begun.id)
    [seen] = (await controlled.call("ListFunctions", pb.ListFunctionsRequest(), token=token)).functions
    assert seen.name == FUNCTION


async def test_a_revoked_token_stops_at_every_controller(controlled: Controlled) -> None:
    made = await controlled.token(Role.VIEWER)
    async with controlled.world.standing_by("c2") as other:
        both = [controlled, Controlled(controlled.world, other, controlled.admin)]
        for controller in both:
            await controller.call("ListFunctions", pb.ListFunctionsRequest(), token=made.bearer)
        await controlled.call("RevokeToken", pb.RevokeTokenRequest(id=made.token.id), token=controlled.admin)
        refusals = await asyncio.gather(*(stops_working(it, made.bearer, within=SOON) for it in both))
    assert all("was revoked" in refusal.message for refusal in refusals)


async def test_a_stream_ends_when_its_token_is_revoked(controlled: Controlled) -> None:
    await controlled.deployed(1)
    begun = await controlled.call("Deploy", deploys(canary(2, seconds=600)), token=controlled.admin)
    made = await controlled.token(Role.VIEWER)
    began = asyncio.Event()
    following = asyncio.create_task(controlled.follow(begun.id, made.bearer, began))
    async with asyncio.timeout(LIMIT):
        await began.wait()
    await controlled.call("RevokeToken", pb.RevokeTokenRequest(id=made.token.id), token=controlled.admin)
    await stops_working(controlled, made.bearer, within=SOON)
    await controlled.call("Abort", pb.VerbRequest(id=begun.id), token=controlled.admin)
    with pytest.raises(Unauthenticated, match="was revoked"):
        await following
    await controlled.world.ended(begun.id)


async def test_a_token_that_expired_says_so(controlled: Controlled) -> None:
    made = await controlled.token(Role.VIEWER, lasts="1s")
    refusal = await stops_working(controlled, made.bearer, within=LIMIT)
    assert f'token {made.token.id} ("ci") expired at' in refusal.message


@pytest.mark.parametrize("lasts", ["0s", "-1s", "soon", "4000d"])
async def test_a_time_that_a_token_cannot_last_is_refused(controlled: Controlled, lasts: str) -> None:
    with pytest.raises(Invalid):
        await controlled.token(Role.VIEWER, lasts=lasts)


async def test_an_admin_cannot_be_limited_to_functions(controlled: Controlled) -> None:
    with pytest.raises(Invalid, match="cannot be limited"):
        await controlled.token(Role.ADMIN, FUNCTION)


async def test_a_token_that_is_not_there_cannot_be_revoked(controlled: Controlled) -> None:
    for unknown in ("00000000", "ci", ""):
        with pytest.raises(NotFound):
            await controlled.call("RevokeToken", pb.RevokeTokenRequest(id=unknown), token=controlled.admin)


async def test_weights_that_are_passed_on_to_the_leader_are_set_with_the_callers_own_rights(
    controlled: Controlled,
) -> None:
    await controlled.deployed(1)
    deployer, viewer = await controlled.bearer(Role.DEPLOYER, FUNCTION), await controlled.bearer(Role.VIEWER)
    request = pb.SetAliasRequest(function=FUNCTION, name=ALIAS, weights={1: 90, 2: 10}, why="a look")
    async with controlled.world.standing_by("c2") as other:
        follower = Controlled(controlled.world, other, controlled.admin)
        with pytest.raises(Forbidden):
            await follower.call("SetAlias", request, token=viewer)
        alias = await follower.call("SetAlias", request, token=deployer)
    assert (alias.history[-1].who, alias.history[-1].why) == ("ci (ada)", "a look")


async def test_a_call_that_claims_to_be_passed_on_is_believed_nothing(controlled: Controlled) -> None:
    await controlled.deployed(1)
    request = pb.SetAliasRequest(function=FUNCTION, name=ALIAS, weights={2: 100})
    with pytest.raises(Unauthenticated), wire.calling("the controller"):
        await controlled.api.SetAlias(request, metadata=(("hotswap-passed-on", "1"), (WHO, "admin")))


async def test_no_secret_is_stored_listed_or_logged(controlled: Controlled, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = [controlled.admin, *[await controlled.bearer(role) for role in Role]]
    for token in made:
        await controlled.call("ListFunctions", pb.ListFunctionsRequest(), token=token)
    with pytest.raises(Unauthenticated):
        await controlled.call("ListFunctions", pb.ListFunctionsRequest(), token=made[0][:-1])
    listed = await controlled.call("ListTokens", pb.ListTokensRequest(), token=controlled.admin)
    stored = (await controlled.world.kv.range("/")).items
    hashes = [auth.parse(token).hash for token in made]
    assert {hash_ for hash_ in hashes if any(hash_.encode() in item.value for item in stored)} == set(hashes)
    for secret in (token.rpartition("_")[2] for token in made):
        assert secret not in f"{stored}{listed}{caplog.text}"
    assert not any(hash_ in f"{listed}{caplog.text}" for hash_ in hashes)


async def test_the_audit_log_has_a_line_for_what_was_done_and_what_was_refused(
    controlled: Controlled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="audit")
    made = await controlled.token(Role.VIEWER, why="a dashboard")
    revoke = pb.RevokeTokenRequest(id=made.token.id, why='it was\n"seen"')
    with pytest.raises(Forbidden):
        await controlled.call("RevokeToken", revoke, token=made.bearer)
    await controlled.call("RevokeToken", revoke, token=controlled.admin)
    admin = auth.parse(controlled.admin).id
    created, refused, revoked = [record.getMessage() for record in caplog.records if record.name == "audit"]
    assert created == (
        f'audit: CreateToken subject="ci viewer" who="admin (ada)" token="{admin}" why="a dashboard"'
        f' outcome="done: {made.token.id}"'
    )
    assert f'who="ci (ada)" token="{made.token.id}"' in refused
    assert "Forbidden" in refused
    why = r'why="it was\n\"seen\""'
    assert revoked == (
        f'audit: RevokeToken subject="{made.token.id}" who="admin (ada)" token="{admin}" {why} outcome="done"'
    )


async def test_an_admin_whose_token_was_revoked_is_there_again_at_the_next_start(controlled: Controlled) -> None:
    admin = auth.parse(controlled.admin)
    await controlled.call("RevokeToken", pb.RevokeTokenRequest(id=admin.id), token=controlled.admin)
    await stops_working(controlled, controlled.admin, within=SOON)
    async with controlled.world.standing_by("c2") as restarted:
        follower = Controlled(controlled.world, restarted, controlled.admin)
        await follower.call("ListTokens", pb.ListTokensRequest(), token=controlled.admin)


def test_there_is_a_request_for_every_method() -> None:
    assert set(requests_about("")) == {operation.method for operation in Operation}


async def test_who_may_not_publish_is_refused_before_a_byte_is_sent_and_that_is_noted(
    controlled: Controlled, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="audit")
    viewer = await controlled.bearer(Role.VIEWER)
    request = pb.FindUploadRequest(function=FUNCTION, sha256="0" * 64)
    with pytest.raises(Forbidden, match="Publish"):
        await controlled.call("FindUpload", request, token=viewer)
    [line] = [record.getMessage() for record in caplog.records if "audit: Publish" in record.getMessage()]
    assert line.startswith(f'audit: Publish subject="{FUNCTION}"')
    assert "Forbidden" in line
