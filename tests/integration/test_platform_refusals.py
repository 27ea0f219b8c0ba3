"""Bad input, as a user gives it: each is refused with what was wrong and what to do, and nothing is changed."""

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc.callers import credentials
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from tests.functions import ECHO, UNIMPORTABLE, write_function
from tests.load import steady_load
from tests.stage import Stage, staged

LONG = {"canaryIncrements": [10], "canaryDuration": "PT10M"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A platform on which version 1 of `echo` has the traffic, and version 2 is published."""
    async with staged(tmp_path_factory.mktemp("refusals"), agents=1, workers=1) as stage:
        for label in ("one", "two"):
            await stage.publish(write_function(stage.folder / label, ECHO, label=label))
        await stage.all_at_once("echo", 1)
        yield stage


async def refused(stage: Stage, *arguments: str, code: int, stdin: str = "") -> str:
    """What the command says; the weights, the versions and the deployments are what they were."""
    before = await everything(stage)
    answer = await stage.hotswap(*arguments, code=code, stdin=stdin)
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert await everything(stage) == before
    return answer.err


async def everything(stage: Stage) -> list[str]:
    answers = await asyncio.gather(
        stage.hotswap("alias", "get", "echo:production", "-o", "json"),
        stage.hotswap("versions", "echo", "-o", "json"),
        stage.hotswap("list", "deployments", "-o", "json"),
        stage.hotswap("functions", "-o", "json"),
    )
    return [answer.out for answer in answers]


async def test_a_manifest_that_lacks_a_field_names_it(stage: Stage) -> None:
    folder = write_function(stage.folder / "lacking", ECHO, label="x")
    (folder / "hotswap.toml").write_text('function = "echo"\nkind = "handler"\n')
    said = await refused(stage, "publish", str(folder), code=64)
    assert "entrypoint" in said
    assert "hotswap.toml" in said


async def test_an_entrypoint_that_does_not_import_fails_the_start_and_leaves_the_traffic(stage: Stage) -> None:
    number = await stage.publish(write_function(stage.folder / "unimportable", UNIMPORTABLE))
    async with steady_load(stage.url("echo"), rate=50) as seen:
        answer = await stage.hotswap("deploy", "echo", str(number), "--strategy", "all-at-once", "--wait", code=1)
    assert "a_module_that_nobody_has" in answer.out + answer.err
    assert seen.failures == []
    assert set(seen.versions) == {1}
    assert await stage.weights("echo") == {"1": 100}


async def test_a_version_that_does_not_exist_names_those_that_do(stage: Stage) -> None:
    said = await refused(stage, "deploy", "echo", "99", "--strategy", "all-at-once", code=1)
    assert "99" in said
    assert "1" in said


async def test_weights_that_do_not_add_up_say_to_what_they_do(stage: Stage) -> None:
    said = await refused(stage, "alias", "set", "echo:production", "1=90,2=5", code=64)
    assert "add up to 95" in said


async def test_an_alias_of_digits_alone_is_refused(stage: Stage) -> None:
    said = await refused(stage, "deploy", "echo", "1", "--strategy", "all-at-once", "--alias", "7", code=64)
    assert '"7"' in said


async def test_a_misspelt_setting_is_named_with_what_it_may_be(stage: Stage) -> None:
    config = json.dumps({"canaryPercentag": 10})
    said = await refused(stage, "deploy", "echo", "2", "--strategy", "canary", "--config", "-", code=64, stdin=config)
    assert "canaryPercentag" in said
    assert "canaryPercentage" in said


async def test_a_deployment_while_another_runs_is_refused_with_the_command_that_would_work(stage: Stage) -> None:
    running = await stage.canary("echo", 2, **LONG)
    await stage.holding(running)  # what is compared before and after must not change by itself
    said = await refused(stage, "deploy", "echo", "2", "--strategy", "all-at-once", code=1)
    assert running in said
    assert f"hotswap abort {running}" in said
    await stage.hotswap("abort", running)
    await stage.hotswap("get", "deployment", running, "-w", "--timeout", "60s", code=1)
    assert await stage.weights("echo") == {"1": 100}


async def test_an_archive_with_a_way_out_of_its_folder_is_refused(stage: Stage) -> None:
    before = await everything(stage)
    archive = hostile_archive()
    manifest = 'function = "echo"\nkind = "handler"\nentrypoint = "app:handler"\n'
    header = pb.PublishHeader(manifest_toml=manifest, sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
    parts = [pb.PublishRequest(header=header), pb.PublishRequest(chunk=archive)]
    async with grpc.aio.insecure_channel(stage.platform.controller) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await ControllerStub(channel).Publish(iter(parts), metadata=credentials(stage.platform.token))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "../x" in (caught.value.details() or "")
    assert await everything(stage) == before


async def test_an_invocation_of_what_is_not_there_says_what_exists(stage: Stage) -> None:
    said = await refused(stage, "invoke", "ecko", "--data", "{}", code=1)
    assert "ecko" in said
    said = await refused(stage, "invoke", "echo:stagin", "--data", "{}", code=1)
    assert "production" in said


async def test_nothing_is_left_behind_of_all_that_was_refused(stage: Stage) -> None:
    listed = await stage.hotswap("list", "deployments", "--running", "-o", "json")
    assert listed.json == []


def hostile_archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("../x")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()
