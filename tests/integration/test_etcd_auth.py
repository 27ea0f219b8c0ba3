"""Users and passwords: a token that ended is asked for again, unseen by the caller; one that is refused is told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from hotswap import kv
from hotswap.etcd import EtcdKV, connect
from hotswap.etcd.local import LocalEtcd, running
from hotswap.settings import EtcdSettings
from tests.conditions import eventually
from tests.etcd_admin import Admin

LIMIT = 20
"""Seconds for anything here."""
SHORTEST_TOKEN = ("--auth-token-ttl", "1", "--log-level", "info")
"""Seconds a token lives after its last use; its end is in the log."""


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalEtcd]:
    async with running(tmp_path / "etcd", options=SHORTEST_TOKEN) as server:
        Admin(server.endpoint).enable_authentication("app", "secret", prefix="/hotswap/")
        yield server


@pytest_asyncio.fixture
async def store(server: LocalEtcd) -> AsyncIterator[EtcdKV]:
    store = connect(settings(server))
    yield store
    await store.close()


def settings(server: LocalEtcd, *, user: str = "app", password: str = "secret") -> EtcdSettings:
    return EtcdSettings(endpoints=(server.endpoint,), user=user, password=password)


async def put(store: EtcdKV, value: bytes) -> int:
    return await store.commit(require=[], write=[kv.Put("/hotswap/a", value)])


def _token_ended(server: LocalEtcd) -> bool:
    return "deleted a simple token" in server.log_file.read_text()


async def test_a_user_does_all_that_its_role_allows(store: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT), store.watch("/hotswap/") as batches:
        await anext(batches)
        lease = await store.grant(timedelta(seconds=10))
        await store.commit(require=[kv.Absent("/hotswap/a")], write=[kv.Put("/hotswap/a", b"1", lease.id)])
        assert (await anext(batches)).changes
        assert await store.get("/hotswap/a")
        await lease.revoke()
        assert await store.get("/hotswap/a") is None


async def test_what_the_role_does_not_allow_is_refused(store: EtcdKV) -> None:
    with pytest.raises(kv.Unreachable, match="refuses: permission denied"):
        await store.get("/elsewhere")


@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [
        ("app", "wrong", "invalid user ID or password"),
        ("nobody", "secret", "invalid user ID or password"),
        ("", "", "user name is empty"),
    ],
)
async def test_who_is_not_let_in_is_told_why_and_what_to_do(
    server: LocalEtcd, user: str, password: str, reason: str
) -> None:
    store = connect(settings(server, user=user, password=password))
    async with asyncio.timeout(LIMIT):
        with pytest.raises(kv.Unreachable, match=reason) as told:
            await put(store, b"1")
    assert "check the user and the password for etcd" in str(told.value)
    await store.close()


async def test_a_user_is_no_harm_where_authentication_is_off(etcd: EtcdSettings) -> None:
    store = connect(EtcdSettings(endpoints=etcd.endpoints, user="app", password="secret"))
    async with asyncio.timeout(LIMIT):
        await put(store, b"1")
        assert await store.get("/hotswap/a")
    await store.close()


async def test_a_token_that_lived_its_time_is_replaced(server: LocalEtcd, store: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT):
        await put(store, b"1")
        await eventually(lambda: _token_ended(server))
        await put(store, b"2")
        assert await store.get("/hotswap/a")


async def test_tokens_that_a_restart_ended_are_replaced(server: LocalEtcd, store: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT), store.watch("/hotswap/") as batches:
        await anext(batches)
        lease = await store.grant(timedelta(seconds=4))
        for number in range(2):
            await server.stop()
            await server.start()
            revision = await put(store, b"%d" % number)
            assert (await anext(batches)).revision == revision
        deadline = lease.deadline
        await eventually(lambda: lease.deadline > deadline + 4)


async def test_calls_at_the_same_time_share_a_new_token(server: LocalEtcd, store: EtcdKV) -> None:
    async with asyncio.timeout(LIMIT):
        await put(store, b"1")
        await server.stop()
        await server.start()
        await asyncio.gather(*(store.get("/hotswap/a") for _ in range(50)))


async def test_a_change_of_users_does_not_disturb(tmp_path: Path) -> None:
    """etcd refuses signed tokens that are older than the last change of its users."""
    async with running(tmp_path / "etcd", options=_signed_tokens(tmp_path)) as server:
        administrator = Admin(server.endpoint)
        administrator.enable_authentication("app", "secret", prefix="/hotswap/")
        store = connect(settings(server))
        async with asyncio.timeout(LIMIT), store.watch("/hotswap/") as batches:
            await anext(batches)
            lease = await store.grant(timedelta(seconds=10))
            for number in range(3):
                administrator.log_in()
                administrator.add_user(f"new-{number}", "password", role="reader-and-writer")
                revision = await put(store, b"%d" % number)
                assert (await anext(batches)).revision == revision
            await lease.revoke()
        await store.close()


def _signed_tokens(folder: Path) -> list[str]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return ["--auth-token", f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=10m"]
