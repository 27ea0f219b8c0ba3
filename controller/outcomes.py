"""Outcomes that are told after the invocation: which version each belongs to, and how they are kept.

Nobody remembers invocations for this. A sticky key is hashed as the routers hash it, by the weights and the salt that
the alias has; an id of a request says itself where it went. Every controller takes outcomes, by compare-and-swap: the
sums and the ids that were seen are one value, so what was counted is known to have been counted, whoever is asked.

Kept are the last `KEPT` sets of weights of an alias that had outcomes; what belongs to older ones is refused.
"""

from collections import defaultdict
from collections.abc import Sequence

from hotswap import users
from hotswap.errors import Conflict, Invalid, NotFound, Refused
from hotswap.model import Alias, check_alias_name, check_function_name
from hotswap.outcomes import Attributed, KeptOutcomes, Outcome, Outcomes, Taken, added
from hotswap.request_id import origin
from hotswap.store import Store, Stored, Transaction

KEPT = 8
MOST_DELETED = 64
"""Shards that one write takes away."""
TRIES = 16
"""How often a write is tried again that somebody else was faster with."""


class OutcomeBook:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, function: str, told: Outcomes) -> Taken:
        """All of them, or none where one cannot be attributed. What is told again is not counted again."""
        stored = await self._store.aliases.get(check_function_name(function), check_alias_name(told.alias))
        if stored is None:
            raise NotFound(f'"{function}" has no alias "{told.alias}"', hint="see `hotswap functions`")
        shards = defaultdict[tuple[int, int], list[Attributed]](list)
        for outcome in told.outcomes:
            one = attributed(outcome, stored)
            shards[one.revision, one.shard].append(one)
        counted = 0
        for (revision, shard), some in sorted(shards.items()):
            empty = KeptOutcomes(function=function, alias=told.alias, revision=revision, shard=shard)
            counted += await self._add(empty, some)
        return Taken(counted=counted, repeated=len(told.outcomes) - counted)

    async def _add(self, empty: KeptOutcomes, some: Sequence[Attributed]) -> int:
        for _ in range(TRIES):
            stored = await self._store.outcomes.get(empty.function, empty.alias, empty.revision, empty.shard)
            after, counted = added(stored.value if stored else empty, some)
            if not counted:
                return 0
            transaction = self._store.transaction().put(after, over=stored)
            if stored is None:
                await self._make_room(transaction, empty)
            try:
                await transaction.commit()
            except Conflict:
                continue
            return counted
        raise Conflict(f'the outcomes of "{empty.function}" are told by many at once', hint="tell them again")

    async def _make_room(self, transaction: Transaction, new: KeptOutcomes) -> None:
        """Takes away what is known of older weights; refuses what is itself too old."""
        listed = await self._store.outcomes.list(new.function, new.alias)
        revisions = sorted({new.revision, *(one.value.revision for one in listed)})
        oldest = revisions[-KEPT:][0]
        if new.revision < oldest:
            raise Refused(
                f'alias "{new.alias}" of "{new.function}" has had {KEPT} other weights since the ones of revision '
                f"{new.revision}: their outcomes are kept no longer"
            )
        for one in [one for one in listed if one.value.revision < oldest][:MOST_DELETED]:
            transaction.delete(one)


def attributed(outcome: Outcome, alias: Stored[Alias]) -> Attributed:
    """Raises `Invalid` or `Refused` where that cannot be told."""
    if (outcome.sticky_key is None) == (outcome.request_id is None):
        raise Invalid(f'outcome "{outcome.id}" needs a stickyKey or a requestId, and not both')
    if outcome.request_id is not None:
        return _by_request(outcome, outcome.request_id, alias)
    assert outcome.sticky_key is not None
    return _by_user(outcome, outcome.sticky_key, alias)


def _by_request(outcome: Outcome, request_id: str, alias: Stored[Alias]) -> Attributed:
    found = origin(request_id)
    if found is None or found.revision > alias.mod_revision:
        raise Invalid(
            f'outcome "{outcome.id}": the id "{request_id}" does not say to which version its request went: '
            "it was chosen by its sender, or the request named the version",
            hint="tell the stickyKey, or the Hotswap-Request-Id of an answer to a request without one",
        )
    cell = users.cell(users.place(request_id, salt="")) if found.cell is None else found.cell
    return Attributed(outcome, found.version, found.revision, cell)


def _by_user(outcome: Outcome, key: str, stored: Stored[Alias]) -> Attributed:
    alias = stored.value
    if alias.sticky is None:
        raise Refused(
            f'outcome "{outcome.id}": alias "{alias.name}" of "{alias.function}" ties no user to a version',
            hint="tell the requestId instead of the stickyKey",
        )
    changed = alias.history[-1].at if alias.history else None
    if outcome.at is not None and changed is not None and outcome.at < changed:
        raise Refused(
            f'outcome "{outcome.id}": alias "{alias.name}" of "{alias.function}" has other weights than at '
            f"{outcome.at.isoformat()}, since {changed.isoformat()}",
            hint="tell the requestId instead of the stickyKey",
        )
    place = users.place(key, salt=alias.sticky.salt)
    version = users.pick(alias.weights, users.slot(place), stable=alias.last_good)
    return Attributed(outcome, version, stored.mod_revision, users.cell(place))
