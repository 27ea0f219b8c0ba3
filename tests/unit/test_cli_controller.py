"""The commands against a real controller that leads; nodes and routers are scripted, the store is in memory."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hotswap import auth
from hotswap.cli.main import cli
from hotswap.memory import MemoryKV
from hotswap.runtimes import HERE, Runtime
from tests.controller_platform import FUNCTION, Platform, platform

LIMIT = 20.0
EXAMPLE = Path(__file__).parents[2] / "examples" / "image-processor"
QUICK = {"canaryIncrements": [10, 100], "canaryDuration": "PT0.1S"}


@dataclass
class Control:
    """The command line's other side."""

    address: str
    platform: Platform

    def run(self, *arguments: str, given: str = "", token: str | None = None) -> Result:
        """As an admin where the controller asks for a token, unless another is given."""
        shown = self.platform.admin if token is None else token
        runner = CliRunner(env={"HOTSWAP_CONTROLLER": self.address, "HOTSWAP_TOKEN": shown})
        return runner.invoke(cli, arguments, input=given)

    def document(self, *arguments: str, given: str = "") -> Any:
        result = self.run(*arguments, "-o", "json", given=given)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def canary(self, version: int, *more: str, **config: Any) -> Result:
        arguments = ("deploy", FUNCTION, str(version), "--strategy", "canary", "--config", "-", *more)
        return self.run(*arguments, given=json.dumps({**QUICK, **config}))


@contextmanager
def controlled(folder: Path, *, admin: str = "", runtime: Runtime = HERE) -> Iterator[Control]:
    """The commands block, so the controller has a thread and a loop of its own. It asks for tokens if there is one."""
    ready: Future[Control] = Future()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        try:
            async with platform(MemoryKV(), folder, runtime=runtime) as made:
                made.admin = admin
                async with made.leading("c1"):
                    ready.set_result(Control(await made.leader(by="c1"), made))
                    await over.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        thread = threading.Thread(target=runner.run, args=(serve(),))
        thread.start()
        try:
            yield ready.result(LIMIT)
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(LIMIT)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with controlled(tmp_path) as made:
        yield made


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Control]:
    """A controller that asks for tokens."""
    with controlled(tmp_path, admin=auth.new().text) as made:
        yield made


def test_publishing_tells_the_version_and_how_to_deploy_it(control: Control) -> None:
    result = control.run("publish", str(EXAMPLE / "v1"))
    assert result.exit_code == 0, result.output
    assert "image-processor version 4" in result.stdout
    assert "deploy it: hotswap deploy image-processor 4 --strategy all-at-once --wait" in result.stdout


def test_publishing_the_same_again_gives_the_same_version(control: Control) -> None:
    first, again = (control.document("publish", str(EXAMPLE / "v1")) for _ in range(2))
    assert first == again


def test_functions_and_versions_are_listed(control: Control) -> None:
    control.document("publish", str(EXAMPLE / "v1"))
    assert FUNCTION in control.run("functions").stdout
    [function] = control.document("functions")
    assert (function["name"], function["lastVersion"]) == (FUNCTION, 4)
    versions = control.document("versions", FUNCTION)
    assert [version["number"] for version in versions] == [1, 2, 3, 4]
    assert versions[3]["manifest"]["entrypoint"] == "app:handler"
    assert "app:handler" in control.run("versions", FUNCTION).stdout


def test_a_deployment_that_succeeds_ends_with_0(control: Control) -> None:
    result = control.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait")
    assert result.exit_code == 0, result.output
    assert "Succeeded" in result.stdout
    assert control.document("alias", "get", FUNCTION)["weights"] == {"1": 100}


def test_a_canary_that_fails_is_rolled_back_and_ends_with_1(control: Control) -> None:
    assert control.run("deploy", FUNCTION, "1", "--strategy", "AllAtOnce", "--wait").exit_code == 0
    control.platform.behaviour.failing[2] = 0.2
    result = control.canary(2, "--wait")
    assert result.exit_code == 1, result.output
    assert "RolledBack" in result.stdout
    assert "error rate" in result.stdout
    assert control.document("alias", "get", FUNCTION)["weights"] == {"1": 100}


def test_a_deployment_that_is_held_ends_with_3_and_names_the_next_command(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.steps.LEAST_EXTENSION", timedelta(seconds=0.2))
    monkeypatch.setattr("controller.turning.GRACE", timedelta())
    assert control.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait").exit_code == 0
    control.platform.behaviour.silent.add(2)
    result = control.canary(2, "--wait")
    assert result.exit_code == 3, result.output
    [held, _] = control.document("list", "deployments")
    assert f"hotswap promote {held['id']}" in result.stdout
    assert control.run("status", held["id"]).exit_code == 3
    assert control.run("abort", held["id"], "--why", "nobody calls it").exit_code == 0
    assert control.run("get", "deployment", held["id"], "-w").exit_code == 1


def test_a_deployment_that_outlasts_the_time_goes_on_and_ends_with_2(control: Control) -> None:
    assert control.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait").exit_code == 0
    result = control.canary(2, "--wait", "--timeout", "3s", canaryDuration="PT10M")
    assert result.exit_code == 2, result.output
    assert "still Running" in result.stderr
    [running, _] = control.document("list", "deployments")
    assert f"hotswap get deployment {running['id']} -w" in result.stderr
    assert control.run("status", running["id"]).exit_code == 0


def test_a_deployment_while_another_runs_is_refused_with_the_command_that_would_work(control: Control) -> None:
    assert control.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait").exit_code == 0
    first = json.loads(control.canary(2, "-o", "json", canaryDuration="PT10M").stdout)
    result = control.run("deploy", FUNCTION, "3", "--strategy", "all-at-once")
    assert result.exit_code == 1
    assert f"hotswap abort {first['id']}" in result.stderr


def test_one_deployment_is_shown_in_full(control: Control) -> None:
    begun = control.run(
        "deploy", FUNCTION, "1", "--strategy", "all-at-once", "--why", "a start", "--wait", "-o", "json"
    )
    deployment = json.loads(begun.stdout)
    assert (deployment["status"], deployment["request"]["reason"]) == ("Succeeded", "a start")
    shown = control.run("get", "deployment", deployment["id"]).stdout
    for told in (deployment["id"], "- → 1", "AllAtOnce", "Succeeded", "✓"):
        assert told in shown


def test_the_record_tells_who_deployed(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    control.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait")
    [deployment] = control.document("list", "deployments")
    assert deployment["who"] == "ada"


def test_weights_are_set_by_hand(control: Control) -> None:
    assert control.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", "--wait").exit_code == 0
    result = control.run("alias", "set", f"{FUNCTION}:production", "1=90,2=10", "--why", "a look")
    assert result.exit_code == 0, result.output
    assert "1=90, 2=10" in result.stdout
    alias = control.document("alias", "get", f"{FUNCTION}:production")
    assert alias["weights"] == {"1": 90, "2": 10}
    assert alias["history"][-1]["why"] == "a look"


def test_nodes_are_listed(control: Control) -> None:
    assert [node["name"] for node in control.document("list", "nodes")] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("versions", "nothing"), "nothing"),
        (("deploy", FUNCTION, "9", "--strategy", "canary"), "there is no version 9"),
        (("get", "deployment", "nothing"), "nothing"),
        (("alias", "get", f"{FUNCTION}:staging"), 'no alias "staging"'),
    ],
)
def test_what_is_not_there_is_named(control: Control, arguments: tuple[str, ...], message: str) -> None:
    result = control.run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_names_of_functions_are_completed(control: Control) -> None:
    environment = {"_HOTSWAP_COMPLETE": "bash_complete", "COMP_WORDS": "hotswap versions ima", "COMP_CWORD": "2"}
    runner = CliRunner(env={**environment, "HOTSWAP_CONTROLLER": control.address})
    assert runner.invoke(cli, [], prog_name="hotswap").stdout == f"plain,{FUNCTION}\n"


def test_a_token_is_made_shown_once_used_and_revoked(guarded: Control) -> None:
    made = guarded.run("token", "create", "ci", "--role", "deployer", "--function", FUNCTION, "--expires", "90d")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    token_id = auth.parse(token).id
    assert "not shown again" in made.stderr
    assert guarded.run("versions", FUNCTION, token=token).exit_code == 0
    listed = guarded.run("token", "list").stdout
    assert re.search(rf"{token_id} +ci +deployer +{FUNCTION} .* admin \(.*\)  20..-", listed)
    assert token.rpartition("_")[2] not in listed
    assert guarded.run("token", "revoke", token_id, "--why", "it leaked").exit_code == 0
    assert token_id not in guarded.run("token", "list").stdout


def test_a_new_token_is_a_document_too(guarded: Control) -> None:
    made = guarded.document("token", "create", "eyes", "--role", "viewer")
    assert (made["token"]["role"], made["token"]["functions"], made["token"]["expires"]) == ("viewer", [], "")
    assert guarded.run("list", "nodes", token=made["bearer"]).exit_code == 0


@pytest.mark.parametrize(
    ("token", "code", "said"),
    [
        ("", 1, ["a token is needed", "HOTSWAP_TOKEN"]),
        ("hs_0123abcd_" + "s" * 32, 1, ["is not known"]),
        ("secret", 64, ["hs_<id>_<secret>"]),
    ],
)
def test_who_is_not_known_is_told_what_to_do(guarded: Control, token: str, code: int, said: list[str]) -> None:
    result = guarded.run("functions", token=token)
    assert result.exit_code == code
    assert all(text in result.stderr for text in said)
    assert "Traceback" not in result.output


def test_who_may_not_is_told_who_may(guarded: Control) -> None:
    viewer = guarded.document("token", "create", "eyes", "--role", "viewer")["bearer"]
    result = guarded.run("deploy", FUNCTION, "1", "--strategy", "all-at-once", token=viewer)
    assert result.exit_code == 1
    assert 'error: token "eyes" has the role viewer; Deploy needs deployer' in result.stderr
    assert "hotswap token create NAME --role deployer" in result.stderr
