"""Tokens that are there before anybody could have asked for one: kept in a file, and made known to the store."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from hotswap import auth
from hotswap.auth import Role, Token
from hotswap.errors import Invalid
from hotswap.store import Store

ADMIN_FILE = "admin-token"
AGENTS_FILE = "agents-token"
"""Both in the state directory of `hotswap up`."""


def kept(path: Path) -> auth.Bearer:
    """The token in a file; where there is none, a new one is made that only its owner can read.

    Raises `Invalid` when something else is in it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, auth.new().text)
    try:
        return auth.parse(path.read_text().strip())
    except Invalid as error:
        raise Invalid(f"{path}: {error.message}", hint=f"put a token there, or remove {path}") from None


def _write(path: Path, text: str) -> None:
    """The file appears whole; should another process have made it meanwhile, that one stands."""
    room = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(room, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    try:
        os.link(room, path)
    except FileExistsError:
        pass
    finally:
        room.unlink()


async def ensure(store: Store, bearer: auth.Bearer, *, name: str, role: Role) -> None:
    """Has the store know the token with this role, for all functions; also if it was revoked, or was another."""
    stored = await store.tokens.get(bearer.id)
    if stored and bearer.proves(stored.value) and stored.value.role is role and not stored.value.expires:
        return
    token = Token(id=bearer.id, name=name, role=role, hash=bearer.hash, created=datetime.now(UTC), who="at the start")
    await store.transaction().put(token, over=stored).commit()
