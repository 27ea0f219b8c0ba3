"""Creating, listing and revoking tokens. What is stored of one is its hash: the token itself is told once."""

from datetime import timedelta

from controller.means import Clock
from hotswap import auth
from hotswap.auth import Role, Token
from hotswap.errors import Conflict, Invalid, NotFound
from hotswap.model import check_function_name
from hotswap.store import Store

LONGEST = timedelta(days=3650)
"""For which a token may be good, if it expires at all."""


class Tokens:
    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self, *, name: str, role: Role, functions: list[str], lasts: timedelta | None, who: str
    ) -> tuple[Token, auth.Bearer]:
        bearer, now = auth.new(), self._clock()
        token = Token(
            id=bearer.id,
            name=auth.check_name(name),
            role=role,
            functions=_limited(role, functions),
            hash=bearer.hash,
            created=now,
            who=who,
            expires=now + _bounded(lasts) if lasts is not None else None,
        )
        await self._store.transaction().create(token).commit()
        return token, bearer

    async def list(self) -> list[Token]:
        return sorted((stored.value for stored in await self._store.tokens.list()), key=lambda it: it.created)

    async def revoke(self, token_id: str) -> Token:
        stored = await self._store.tokens.get(token_id) if auth.ID.fullmatch(token_id) else None
        if stored is None:
            raise NotFound(f'there is no token "{token_id}"', hint="see `hotswap token list` for their ids")
        try:
            await self._store.transaction().delete(stored).commit()
        except Conflict:
            raise Conflict(f"token {token_id} was changed in the meantime", hint="see `hotswap token list`") from None
        return stored.value


def _limited(role: Role, functions: list[str]) -> list[str]:
    if role is Role.ADMIN and functions:
        raise Invalid(
            "an admin cannot be limited to functions: it could make itself a token without the limit",
            hint=f"make it a {Role.DEPLOYER}, or leave the functions out",
        )
    return sorted({check_function_name(function) for function in functions})


def _bounded(lasts: timedelta) -> timedelta:
    if timedelta() < lasts <= LONGEST:
        return lasts
    raise Invalid(f"a token may last from 1 s to {LONGEST.days} d", hint="leave it out for one that does not expire")
