"""Wrong use and absent services: what is said, and the exit code. Nothing here reaches a service."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hotswap.cli.main import cli
from hotswap.cli.running import Process, Running, read, write

COMMANDS = cli.list_commands(click.Context(cli))


def run(*arguments: str, state_dir: Path = Path("/nonexistent")) -> Result:
    return CliRunner(env={"HOTSWAP_STATE_DIR": str(state_dir), "HOTSWAP_CONTROLLER": ""}).invoke(cli, arguments)


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_one_line_for_the_list(command: str) -> None:
    assert run(command, "--help").exit_code == 0
    assert cli.commands[command].get_short_help_str(limit=80).endswith(".")
    assert "..." not in cli.commands[command].get_short_help_str(limit=66)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command"),
        (["publish"], "Missing argument"),
        (["publish", "/nonexistent"], "does not exist"),
        (["deploy", "image-processor", "two"], "not a valid integer"),
        (["deploy", "image-processor", "2", "--strategy", "sudden"], '"sudden" is none of all-at-once'),
        (["deploy", "image-processor", "2", "--wait", "--timeout", "soon"], '"soon" is no duration'),
        (["deploy", "image-processor", "2"], "hotswap deploy image-processor 2 --strategy canary"),
        (["alias", "set", "image-processor:7", "1=100"], 'an alias cannot be named "7"'),
        (["alias", "set", "image-processor", "5=90"], "add up to 90; they must add up to 100"),
        (["alias", "set", "image-processor", "5=90,5=10"], "version 5 is named twice"),
        (["alias", "set", "image-processor", "90"], '"90" is not VERSION=WEIGHT'),
        (["functions", "--controller", "7070"], '--controller: "7070" is not host:port'),
        (["router", "--bind", "0.0.0.0:80"], "--insecure"),
        (["router", "--head-timeout", "soon"], "'--head-timeout': \"soon\" is no duration; write 90s"),
        (["router", "--keep-alive", "0s"], "'--keep-alive': \"0s\" is not longer than 0"),
        (["controller", "--bind", "0.0.0.0:7070"], "--auth"),
        (["up", "--router", "0.0.0.0:80"], "--insecure"),
        (["agent", "--label", "zone"], '"zone" is not NAME=VALUE'),
        (["controller", "--etcd", "localhost"], "--etcd"),
        (["completion", "powershell"], "is not one of"),
    ],
)
def test_wrong_use_is_told_and_ends_with_64(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 64, result.output
    assert message in result.stderr
    assert result.stdout == ""


def test_a_manifest_that_lacks_a_field_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "hotswap.toml").write_text('function = "f"\nkind = "handler"\n')
    result = run("publish", str(tmp_path))
    assert result.exit_code == 64
    assert 'the field "entrypoint" is missing' in result.stderr


def test_without_a_platform_the_way_to_start_one_is_told() -> None:
    result = run("functions")
    assert result.exit_code == 1
    assert "no platform is running in /nonexistent" in result.stderr
    assert "hotswap up" in result.stderr


@pytest.mark.parametrize("command", [["functions"], ["status", "d1"], ["alias", "get", "f"]])
def test_a_controller_that_is_not_there_is_told_by_its_address(
    command: list[str], closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotswap.cli.reaching.LIMIT", 0.2)
    result = run(*command, "--controller", closed_port)
    assert result.exit_code == 1
    assert f"no controller answers at {closed_port}" in result.stderr


def test_a_router_that_is_not_there_is_told_by_its_address(closed_port: str) -> None:
    result = run("invoke", "image-processor", "--router", closed_port)
    assert result.exit_code == 1
    assert f"the router at {closed_port} does not answer" in result.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_is_printed_for_a_shell(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_HOTSWAP_COMPLETE" in result.stdout


def test_completion_without_a_platform_completes_nothing_and_says_nothing() -> None:
    environment = {"_HOTSWAP_COMPLETE": "bash_complete", "COMP_WORDS": "hotswap versions ima", "COMP_CWORD": "2"}
    runner = CliRunner(env={**environment, "HOTSWAP_CONTROLLER": "", "HOME": "/nonexistent"})
    result = runner.invoke(cli, [], prog_name="hotswap")
    assert (result.exit_code, result.output) == (0, "\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m hotswap --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_what_runs_is_written_down_and_read_back(tmp_path: Path) -> None:
    process = Process.of(1)
    assert process
    running = Running(controller="127.0.0.1:1", processes={"etcd": process})
    write(tmp_path, running)
    assert read(tmp_path) == running
    assert json.loads((tmp_path / "platform.json").read_text())["controller"] == "127.0.0.1:1"


def test_a_process_is_known_by_when_it_was_started_too() -> None:
    process = Process.of(1)
    assert process
    assert process.alive
    assert not Process(pid=1, started=process.started + 1, boot=process.boot).alive
    assert not Process(pid=1, started=process.started, boot="another").alive
