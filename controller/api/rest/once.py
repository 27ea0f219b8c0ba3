"""A mutation that is sent again under its `Idempotency-Key` is not made again: it is given its first answer.

The key is claimed in the store before anything is done, so that this holds whichever controller is asked. The claim
lives as long as its maker: when that controller dies, the key is free again, and whether the mutation was made is told
by the state alone. An answer that may be another later, as 503 is, is not kept either.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from msgspec.structs import replace

from controller.api.rest.problems import Rendered, Unfit
from hotswap import errors, kv
from hotswap.answer import KeptAnswer
from hotswap.store import Store, Stored

log = logging.getLogger(__name__)

CLAIM = timedelta(seconds=15)
"""For how long a claim outlives a controller that died."""
KEPT = timedelta(hours=24)
TRIES = 8
"""How often it looks again when another took the key, or left it, in between."""
REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    request: str

    @classmethod
    def of(cls, *, caller: str, key: str, request: list[bytes]) -> "Key":
        """`request` is all that makes two requests the same."""
        return cls(_digest([caller.encode(), key.encode()]), _digest(request))


def _digest(parts: list[bytes]) -> str:
    """Of the parts each with its length, so that no two lists run together."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


class Once:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, key: Key, make: Callable[[], Awaitable[Rendered]]) -> Rendered:
        lease = await self._store.kv.grant(CLAIM)
        try:
            claim = await self._claim(key, lease)
            if isinstance(claim, Rendered):
                return claim
            answer = await make()
            if answer.final:
                await self._keep(claim, answer)
            return answer
        finally:
            await lease.revoke()

    async def _claim(self, key: Key, lease: kv.Lease) -> Stored[KeptAnswer] | Rendered:
        """The claim, or the answer that was given before."""
        claim = KeptAnswer(id=key.id, request=key.request, at=datetime.now(UTC))
        for _ in range(TRIES):
            if known := await self._store.answers.get(key.id):
                return _known(known.value, key)
            try:
                revision = await self._store.transaction().create(claim, lease=lease.id).commit()
            except errors.Conflict:
                continue
            except kv.LeaseLost:
                break
            return Stored(claim, self._store.key_of(claim), revision, revision)
        raise errors.Unavailable("the Idempotency-Key could not be claimed", hint="try again")

    async def _keep(self, claim: Stored[KeptAnswer], answer: Rendered) -> None:
        """The mutation is made: not to be able to keep its answer does not change that."""
        kept = replace(claim.value, status=answer.status, headers=answer.headers, body=answer.body.decode())
        try:
            lease = await self._store.kv.grant(KEPT)
            try:
                await self._store.transaction().replace(claim, kept, lease=lease.id).commit()
            finally:
                await lease.abandon()
        except (errors.HotswapError, kv.KVError) as error:
            log.warning("the answer to a mutation could not be kept: %s", error)


def _known(known: KeptAnswer, key: Key) -> Rendered:
    if known.request != key.request:
        raise Unfit(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "the Idempotency-Key was used for another request",
            hint="take a new key for each thing that is to be done",
        )
    if not known.status:
        raise Unfit(
            HTTPStatus.CONFLICT,
            "the request with this Idempotency-Key is being answered",
            hint="send it again in a moment, with the same key",
            headers={"Retry-After": "1"},
        )
    return Rendered(known.status, known.body.encode(), {**known.headers, REPLAYED: "true"})
