"""TLS to etcd: each side proves who it is, and who cannot is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from hotswap import kv
from hotswap.etcd import calls, connect
from hotswap.etcd.local import LocalEtcd, running
from hotswap.settings import EtcdSettings
from tests.etcd_admin import Admin

LIMIT = 15
"""Seconds for anything here."""


@dataclass(frozen=True)
class Certificates:
    """Files in PEM."""

    ca: Path
    cert: Path
    key: Path


def certificates(folder: Path, name: str) -> Certificates:
    """For both sides, from an authority of their own."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost", common_name="hotswap")
    made = Certificates(folder / f"{name}-ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    authority.cert_pem.write_to_path(made.ca)
    issued.private_key_pem.write_to_path(made.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(made.cert, append=True)
    return made


@pytest.fixture
def ours(tmp_path: Path) -> Certificates:
    return certificates(tmp_path, "ours")


@pytest_asyncio.fixture
async def server(tmp_path: Path, ours: Certificates) -> AsyncIterator[LocalEtcd]:
    files = ["--cert-file", str(ours.cert), "--key-file", str(ours.key), "--trusted-ca-file", str(ours.ca)]
    async with running(tmp_path / "etcd", scheme="https", options=[*files, "--client-cert-auth"]) as server:
        yield server


def settings(server: LocalEtcd, files: Certificates, *, user: str = "", password: str = "") -> EtcdSettings:
    endpoints = (server.endpoint,)
    return EtcdSettings(endpoints, files.ca, files.cert, files.key, user=user, password=password)


def administrator(server: LocalEtcd, files: Certificates) -> Admin:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.cert, files.key)
    return Admin(server.endpoint, tls=context)


async def _use(store_settings: EtcdSettings) -> None:
    store = connect(store_settings)
    try:
        async with asyncio.timeout(LIMIT), store.watch("/hotswap/") as batches:
            await anext(batches)
            lease = await store.grant(timedelta(seconds=10))
            await store.commit(require=[kv.Absent("/hotswap/a")], write=[kv.Put("/hotswap/a", b"1", lease.id)])
            assert [change.key for change in (await anext(batches)).changes] == ["/hotswap/a"]
            assert await store.get("/hotswap/a")
            await lease.revoke()
    finally:
        await store.close()


async def test_both_sides_prove_who_they_are(server: LocalEtcd, ours: Certificates) -> None:
    await _use(settings(server, ours))


async def test_with_users_and_passwords_as_well(server: LocalEtcd, ours: Certificates) -> None:
    administrator(server, ours).enable_authentication("app", "secret", prefix="/hotswap/")
    await _use(settings(server, ours, user="app", password="secret"))


async def test_a_watch_outlives_a_restart(server: LocalEtcd, ours: Certificates) -> None:
    store = connect(settings(server, ours))
    async with asyncio.timeout(LIMIT), store.watch("/t/") as batches:
        await anext(batches)
        await server.kill()
        await server.start()
        revision = await store.commit(require=[], write=[kv.Put("/t/a", b"1")])
        assert (await anext(batches)).revision == revision
    await store.close()


async def _refused(settings_: EtcdSettings, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(calls, "CALL_LIMIT", 1)
    store = connect(settings_)
    with pytest.raises(kv.Unreachable, match="does not answer") as told:
        await store.get("/t/a")
    await store.close()
    return str(told.value)


async def test_an_etcd_of_another_authority_is_not_believed(
    server: LocalEtcd, ours: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = certificates(tmp_path, "other")
    told = await _refused(EtcdSettings((server.endpoint,), other.ca, ours.cert, ours.key), monkeypatch)
    assert "certificate" in told.lower()


async def test_who_has_no_certificate_is_not_let_in(
    server: LocalEtcd, ours: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _refused(EtcdSettings((server.endpoint,), ours.ca), monkeypatch)


async def test_who_comes_without_tls_is_not_let_in(server: LocalEtcd, monkeypatch: pytest.MonkeyPatch) -> None:
    await _refused(EtcdSettings((server.endpoint,)), monkeypatch)
