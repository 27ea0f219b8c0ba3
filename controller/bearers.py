"""Checks bearer tokens, by a copy of all tokens that its watch keeps up: no call waits for the store, and a token that
is revoked stops working as soon as the watch tells it.

With the store away the copy stands as it was; nothing can be changed then by anybody.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controller.means import Clock
from hotswap.auth import HOW_TO_GIVE_ONE, Caller, Token, parse_header
from hotswap.errors import Unauthenticated
from hotswap.mirror import Mirror, mirrored
from hotswap.store import Store

ON_ITS_WAY = 0.25
"""Seconds that an unknown token is waited for: it may have been created just now, at another controller."""


class Bearers:
    """An `Authenticator`."""

    def __init__(self, *, store: Store, tokens: Mirror[Token], clock: Clock) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock

    async def authenticate(self, header: str | None, *, claimed: str = "") -> Caller:
        """Raises `Unauthenticated`; that a token has expired is told only to who has it."""
        bearer = parse_header(header)
        token = await self._token(bearer.id)
        if token is None or not bearer.proves(token):
            raise Unauthenticated(f"token {bearer.id} is not known, or was revoked", hint=HOW_TO_GIVE_ONE)
        if token.expires and token.expires <= self._clock():
            raise Unauthenticated(
                f'token {token.id} ("{token.name}") expired at {token.expires.isoformat(timespec="seconds")}',
                hint=HOW_TO_GIVE_ONE,
            )
        return Caller.by(token, claimed=claimed, authorization=header or "")

    async def _token(self, token_id: str) -> Token | None:
        key = self._store.tokens.key(token_id)
        try:
            async with asyncio.timeout(ON_ITS_WAY):
                return (await self._tokens.until(lambda tokens: tokens.get(key))).value
        except TimeoutError:
            return None


@asynccontextmanager
async def checked(store: Store, clock: Clock) -> AsyncIterator[Bearers]:
    async with mirrored(store.tokens) as tokens:
        yield Bearers(store=store, tokens=tokens, clock=clock)
