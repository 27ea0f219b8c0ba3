"""Tokens that are there from the start: in a file, in the store, and where a controller may listen without them."""

import stat
from pathlib import Path

import pytest

from hotswap import auth, credentials
from hotswap.auth import Role
from hotswap.cli.services import admin_tokens
from hotswap.errors import Invalid
from hotswap.memory import MemoryKV
from hotswap.settings import check_listener
from hotswap.store import Store


def test_a_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "admin-token"
    made = credentials.kept(file)
    assert credentials.kept(file) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["admin-token"]


def test_a_file_with_something_else_in_it_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text("secret\n")
    with pytest.raises(Invalid, match="admin-token") as refusal:
        credentials.kept(tmp_path / "admin-token")
    assert "secret\n" not in str(refusal.value)


async def test_a_token_is_made_known_once_and_made_right_again() -> None:
    store, bearer = Store(MemoryKV()), auth.new()
    await credentials.ensure(store, bearer, name="admin", role=Role.VIEWER)
    await credentials.ensure(store, bearer, name="admin", role=Role.ADMIN)
    first = await store.tokens.get(bearer.id)
    await credentials.ensure(store, bearer, name="admin", role=Role.ADMIN)
    assert first
    assert first == await store.tokens.get(bearer.id)
    assert (first.value.role, bearer.proves(first.value)) == (Role.ADMIN, True)


@pytest.mark.parametrize("address", ["0.0.0.0:7070", "10.0.0.5:7070", "[::]:7070", "controller.example:7070"])
def test_a_controller_off_loopback_needs_tokens_or_to_be_told_that_it_needs_none(address: str) -> None:
    with pytest.raises(Invalid, match="not on loopback") as refusal:
        check_listener(address, option="--bind", insecure=False, auth=False)
    assert "--auth" in refusal.value.hint
    assert check_listener(address, option="--bind", insecure=False, auth=True) == address
    assert check_listener(address, option="--bind", insecure=True, auth=False) == address


def test_a_service_that_takes_no_tokens_is_not_told_to_ask_for_them() -> None:
    with pytest.raises(Invalid) as refusal:
        check_listener("0.0.0.0:8080", option="--bind", insecure=False)
    assert "--auth" not in refusal.value.hint


def test_admins_come_from_a_file_and_the_environment_both(tmp_path: Path) -> None:
    given = auth.new().text
    kept, other = admin_tokens(tmp_path / "file", given, auth=True)
    assert (kept, other) == (credentials.kept(tmp_path / "file").text, given)


def test_an_admin_of_a_controller_that_asks_for_no_token_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="callers are not asked"):
        admin_tokens(None, auth.new().text, auth=False)
