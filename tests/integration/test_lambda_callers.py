"""Who may use Lambda's interface, at which controller, and what keeps its operations from being carried out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from botocore.exceptions import ClientError

from hotswap import auth
from hotswap.auth import Role
from hotswap.aws_keys import AccessKey
from hotswap.deployment import Status
from hotswap.settings import EtcdSettings
from tests.controller_platform import FUNCTION, Platform, canary, platform
from tests.lambda_client import client_at
from tests.rest import connected

SECRET = "x" * 40
KEYS = {
    key.id: key
    for key in (
        AccessKey("HS0000000000ADMIN", SECRET, "admin", Role.ADMIN),
        AccessKey("HS000000000VIEWER", SECRET, "viewer", Role.VIEWER),
        AccessKey("HS00000000LIMITED", SECRET, "limited", Role.DEPLOYER, frozenset({"other"})),
    )
}


@asynccontextmanager
async def made(etcd: EtcdSettings, folder: Path, *, nodes: int = 2, routers: int = 1) -> AsyncIterator[Platform]:
    async with connected(etcd) as kv, platform(kv, folder, nodes=nodes, routers=routers) as one:
        yield one


@asynccontextmanager
async def leading(one: Platform) -> AsyncIterator[str]:
    """The REST address of a controller that leads."""
    async with one.running("c1"):
        await one.leader(by="c1")
        [leader] = await one.store.leader.list()
        yield leader.value.rest


async def said(address: str, key_id: str, operation: str, **asked: Any) -> Any:
    """The answer to an operation, or the code and status of its refusal."""

    def call() -> Any:
        client = client_at(f"http://{address}", key_id=key_id, secret=SECRET)
        try:
            return getattr(client, operation)(FunctionName=FUNCTION, **asked)
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        finally:
            client.close()

    return await asyncio.to_thread(call)


ALIAS = {"Name": "live", "FunctionVersion": "1"}


async def test_a_key_may_what_its_role_may(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with made(etcd, tmp_path) as one:
        one.aws_keys = KEYS
        async with leading(one) as address:
            viewer, limited = "HS000000000VIEWER", "HS00000000LIMITED"
            assert len((await said(address, viewer, "list_versions_by_function"))["Versions"]) == 4
            denied = ("AccessDeniedException", 403)
            assert await said(address, viewer, "create_alias", **ALIAS) == denied
            assert await said(address, viewer, "invoke", InvocationType="DryRun") == denied
            assert await said(address, limited, "get_function") == denied
            assert (await said(address, "HS0000000000ADMIN", "create_alias", **ALIAS))["FunctionVersion"] == "1"
            [change] = (await one.alias("live")).history
            assert change.who == "admin"


async def test_without_a_signature_or_a_token_nobody_is_let_in(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with made(etcd, tmp_path) as one:
        one.aws_keys = KEYS
        token = auth.new().text
        url = "http://{}/2015-03-31/functions"
        async with aiohttp.ClientSession() as session:

            async def asked(address: str, **headers: str) -> tuple[int, str]:
                async with session.get(url.format(address), headers=headers) as answer:
                    return answer.status, answer.headers.get("x-amzn-errortype", "")

            async with one.resting() as address:
                assert await asked(address) == (403, "MissingAuthenticationTokenException")
                assert await asked(address, Authorization="Bearer x") == (400, "IncompleteSignatureException")
            one.admin = token
            async with one.resting() as address:
                assert await asked(address) == (403, "MissingAuthenticationTokenException")
                assert await asked(address, Authorization=f"Bearer {auth.new().text}") == (
                    403,
                    "UnrecognizedClientException",
                )
                assert await asked(address, Authorization=f"Bearer {token}") == (200, "")


async def test_where_no_keys_are_configured_rests_rule_holds(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with made(etcd, tmp_path) as one:
        async with one.resting() as address:
            assert (await said(address, "ANYBODY", "get_function"))["Configuration"]["Version"] == "$LATEST"
        one.admin = auth.new().text
        async with one.resting() as address:
            assert await said(address, "ANYBODY", "get_function") == ("UnrecognizedClientException", 403)


async def test_a_controller_that_does_not_lead_passes_a_signed_request_on_as_it_came(
    etcd: EtcdSettings, tmp_path: Path
) -> None:
    async with made(etcd, tmp_path) as one:
        one.aws_keys, one.admin = KEYS, auth.new().text
        async with one.resting("c2") as address:
            assert (await said(address, "HS0000000000ADMIN", "create_alias", **ALIAS)) == (
                "ServiceUnavailableException",
                503,
            )
            async with leading(one):
                assert (await said(address, "HS0000000000ADMIN", "create_alias", **ALIAS))["Name"] == "live"
                assert await said(address, "HS000000000VIEWER", "create_alias", **ALIAS) == (
                    "AccessDeniedException",
                    403,
                )
        assert (await one.alias("live")).weights == {1: 100}


async def test_an_alias_that_a_deployment_moves_is_not_moved_beside_it(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with made(etcd, tmp_path) as one, leading(one) as address:
        await said(address, "ANY", "create_alias", Name="production", FunctionVersion="1")
        async with one.standing_by("c2") as api:
            name = await one.deploy(api, canary(2, seconds=600))
        await one.until(name, lambda it: it.status is Status.RUNNING)
        for operation, more in (
            ("update_alias", {"Name": "production", "FunctionVersion": "3"}),
            ("delete_alias", {"Name": "production"}),
            ("delete_function", {}),
        ):
            assert await said(address, "ANY", operation, **more) == ("ResourceConflictException", 409)


async def test_without_a_router_nothing_is_invoked(etcd: EtcdSettings, tmp_path: Path) -> None:
    async with made(etcd, tmp_path, routers=0) as one, one.resting() as address:
        assert await said(address, "ANY", "invoke") == ("ServiceUnavailableException", 503)
