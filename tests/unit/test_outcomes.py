"""Outcomes that are told later: which version each belongs to, that each is counted once, and what is kept of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from controller.outcomes import KEPT, OutcomeBook
from hotswap import users
from hotswap.errors import Invalid, NotFound, Refused
from hotswap.memory import MemoryKV
from hotswap.model import Alias, Sticky, WeightChange
from hotswap.outcomes import MOST_SEEN, SHARDS, Outcome, Outcomes, Taken, usages
from hotswap.request_id import cell_mark, mark
from hotswap.store import Store
from hotswap.usage import MOST_NAMES, Usage

SET = datetime(2026, 1, 1, tzinfo=UTC)
SPLIT = {1: 50, 2: 50}


class World:
    """An alias, and as many controllers as one wants."""

    def __init__(self) -> None:
        self.store = Store(MemoryKV())
        self.book = OutcomeBook(self.store)
        self.revision = 0

    async def weigh(self, weights: dict[int, int], *, sticky: Sticky | None = None) -> int:
        history = [WeightChange(weights=weights, at=SET, who="ada", why="")]
        alias = Alias(function="fn", name="production", weights=weights, sticky=sticky, last_good=1, history=history)
        stored = await self.store.aliases.get("fn", "production")
        self.revision = await self.store.transaction().put(alias, over=stored).commit()
        return self.revision

    async def tell(self, *outcomes: Outcome) -> Taken:
        return await self.book.take("fn", Outcomes(outcomes=list(outcomes)))

    async def known(self, version: int, *, revision: int | None = None) -> Usage:
        kept = [one.value for one in await self.store.outcomes.list("fn", "production")]
        return usages(kept).get((version, revision or self.revision), Usage())


async def world(sticky: Sticky | None = Sticky(by="header:User", salt="pepper")) -> World:  # noqa: B008 - it is frozen
    made = World()
    await made.weigh(SPLIT, sticky=sticky)
    return made


def bought(id_: str, *, revenue: float = 10.0, **by: Any) -> Outcome:
    return Outcome(id=id_, metrics={"conversion": 1, "revenue": revenue}, **by)


def version_of(key: str) -> int:
    return users.pick(SPLIT, users.slot(users.place(key, salt="pepper")), stable=1)


async def test_by_a_sticky_key_it_belongs_to_the_version_and_the_group_that_the_routers_gave_the_user() -> None:
    w = await world()
    keys = [f"user-{n}" for n in range(40)]
    assert await w.tell(*(bought(f"order-{key}", sticky_key=key) for key in keys)) == Taken(counted=40, repeated=0)
    for version in SPLIT:
        mine = [key for key in keys if version_of(key) == version]
        revenue = (await w.known(version)).reported["revenue"]
        assert (revenue.count, revenue.sum, revenue.squares) == (len(mine), 10.0 * len(mine), 100.0 * len(mine))
        groups = {users.cell(users.place(key, salt="pepper")) // users.GROUP_CELLS for key in mine}
        assert revenue.sums.keys() == groups


async def test_by_the_id_of_a_request_it_belongs_to_what_the_id_says_however_late_it_comes() -> None:
    w = await world()
    then = w.revision
    await w.weigh({1: 0, 2: 100})
    told = "f00" + (mark(1, then) + cell_mark(512 * 5)).decode()
    assert (await w.tell(bought("order-1", request_id=told))).counted == 1
    assert (await w.known(1, revision=then)).reported["revenue"].sums == {5: 10.0}


async def test_where_nobody_is_tied_to_a_version_the_id_of_the_request_still_tells() -> None:
    w = await world(sticky=None)
    told = [f"f{n}" + mark(2, w.revision).decode() for n in range(9)]
    await w.tell(*(bought(f"order-{one}", request_id=one) for one in told))
    assert (await w.known(2)).reported["conversion"].count == 9


async def test_what_is_told_again_is_not_counted_again_whichever_controller_is_told() -> None:
    w = await world()
    other = OutcomeBook(w.store)
    assert await w.tell(bought("order-1", sticky_key="ada"), bought("order-1", sticky_key="ada")) == Taken(
        counted=1, repeated=1
    )
    again = Outcomes(outcomes=[bought("order-1", sticky_key="ada", revenue=99), bought("order-2", sticky_key="ada")])
    assert await other.take("fn", again) == Taken(counted=1, repeated=1)
    assert (await w.known(version_of("ada"))).reported["revenue"].sum == 20.0


async def test_controllers_that_are_told_at_once_lose_nothing() -> None:
    w = await world()
    books = [OutcomeBook(w.store) for _ in range(4)]
    await asyncio.gather(
        *(
            book.take("fn", Outcomes(outcomes=[bought(f"{n}-{i}", sticky_key=f"user-{i}") for i in range(30)]))
            for n, book in enumerate(books)
        )
    )
    counts = [(await w.known(version)).reported["conversion"].count for version in SPLIT]
    assert sum(counts) == 120


@pytest.mark.parametrize(
    ("outcome", "error", "text"),
    [
        (bought("o"), Invalid, "needs a stickyKey or a requestId, and not both"),
        (bought("o", sticky_key="a", request_id="b-1.1"), Invalid, "needs a stickyKey or a requestId, and not both"),
        (bought("o", request_id="chosen"), Invalid, "does not say to which version its request went"),
        (bought("o", request_id="f-1.999"), Invalid, "does not say to which version its request went"),
        (bought("o", sticky_key="a", at=SET - timedelta(days=1)), Refused, "has other weights than at 2025-12-31"),
    ],
)
async def test_what_cannot_be_attributed_is_refused_and_nothing_that_came_with_it_is_counted(
    outcome: Outcome, error: type[Exception], text: str
) -> None:
    w = await world()
    with pytest.raises(error, match=text):
        await w.tell(bought("good", sticky_key="ada"), outcome)
    assert await w.store.outcomes.list("fn") == []


async def test_a_sticky_key_says_nothing_where_nobody_is_tied_to_a_version() -> None:
    w = await world(sticky=None)
    with pytest.raises(Refused, match="ties no user to a version") as refused:
        await w.tell(bought("o", sticky_key="ada"))
    assert "requestId" in str(refused.value)


async def test_an_alias_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match='"fn" has no alias "production"'):
        await World().tell(bought("o", sticky_key="ada"))


async def test_more_names_than_are_kept_are_refused() -> None:
    w = await world()
    for n in range(MOST_NAMES):
        await w.tell(Outcome(id=f"o-{n}", sticky_key="ada", metrics={f"name-{n}": 1}))
    with pytest.raises(Refused, match=f"more than {MOST_NAMES} names"):
        await w.tell(Outcome(id="o", sticky_key="ada", metrics={"one-more": 1}))


async def test_what_is_kept_does_not_grow_without_bound() -> None:
    w = await world(sticky=None)
    told = [f"f{n}" + mark(1, w.revision).decode() for n in range(3 * MOST_SEEN)]
    first = w.revision
    for at in range(0, len(told), 1000):
        await w.tell(*(bought(one, request_id=one) for one in told[at : at + 1000]))
    kept = [one.value for one in await w.store.outcomes.list("fn", "production")]
    assert len(kept) == SHARDS
    assert max(len(one.seen) for one in kept) <= 8 * MOST_SEEN
    assert max(len(msgspec.json.encode(one)) for one in kept) < 20_000
    for n in range(KEPT + 2):
        revision = await w.weigh({1: 100})
        await w.tell(*(bought(f"later-{n}-{i}", request_id=f"{i}{mark(1, revision).decode()}") for i in range(50)))
    revisions = {one.value.revision for one in await w.store.outcomes.list("fn", "production")}
    assert len(revisions) == KEPT
    assert first not in revisions
    with pytest.raises(Refused, match="their outcomes are kept no longer"):
        await w.tell(bought("too late", request_id=f"x{mark(1, first).decode()}"))
