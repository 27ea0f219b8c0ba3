"""Shares and sticky users over all workers of a router, while the weights change."""

import asyncio
from itertools import pairwise
from pathlib import Path

import aiohttp

from hotswap.settings import EtcdSettings, Lane
from hotswap.users import pick, place, slot
from tests.router_harness import RouterUnderTest, answering, routing, upstream

WORKERS = 4
SHARES = (3, 50, 17, 99, 1, 33, 64, 10, 90, 5, 25, 41)
"""Of the second version, one after the other: few enough that the counts of each are told apart."""
SALT = "s"
USERS = [f"user-{number}" for number in range(150)]


async def test_shares_are_the_weights_to_within_less_than_one_invocation_a_worker(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with routing(etcd, tmp_path, workers=WORKERS, lane=lane) as router, upstream(answering()) as server:
        await router.publish("fn", {n: [server.address] for n in (1, 2, 3)}, weights={1: 100}, concurrency=1_000)
        for weights in ({1: 90, 2: 10}, {1: 34, 2: 33, 3: 33}, {1: 1, 2: 99}):
            revision = await router.shift("fn", weights)
            await asyncio.gather(*(router.spread(33) for _ in range(9)))
            counts = {
                row.version: row.tally.invocations for row in await router.rows() if row.alias_revision == revision
            }
            total = sum(counts.values())
            assert total == 9 * 33
            for version, weight in weights.items():
                assert abs(counts[version] - total * weight / 100) < WORKERS, "each worker is off by less than one"


async def test_so_they_are_over_any_number_of_changes_in_the_middle_of_a_load(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with routing(etcd, tmp_path, workers=WORKERS, lane=lane) as router, upstream(answering()) as server:
        await router.publish("fn", {n: [server.address] for n in (1, 2)}, weights={1: 100}, concurrency=1_000)
        weight_of: dict[int | None, int] = {}
        weight_of[await router.shift("fn", {1: 100 - SHARES[0], 2: SHARES[0]})] = SHARES[0]
        for share in SHARES[1:]:
            changing = router.shift("fn", {1: 100 - share, 2: share})
            revision, *_ = await asyncio.gather(changing, *(router.spread(9) for _ in range(6)))
            weight_of[revision] = share
        rows = [row for row in await router.rows() if row.alias_revision in weight_of]
        due = sum(row.tally.invocations * weight_of[row.alias_revision] / 100 for row in rows)
        had = sum(row.tally.invocations for row in rows if row.version == 2)
        assert sum(row.tally.invocations for row in rows) == (len(SHARES) - 1) * 6 * 9
        assert abs(had - due) < WORKERS, "what a worker owes is carried over each change"


async def test_users_move_with_the_weight_and_nobody_goes_back_while_it_grows(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with routing(etcd, tmp_path, workers=WORKERS, lane=lane) as router, upstream(answering()) as server:
        await router.publish("fn", {n: [server.address] for n in (1, 2)}, weights={1: 100}, concurrency=1_000)
        seen = [set[str]()]
        for share in (5, 20, 60, 100):
            weights = {1: 100 - share, 2: share}
            await router.shift("fn", weights, sticky={"by": "header:X-User", "salt": SALT}, last_good=1)
            versions = await versions_of(router, USERS)
            assert versions == {it: {pick(weights, slot(place(it, salt=SALT)), stable=1)} for it in USERS}
            seen.append({user for user in USERS if versions[user] == {2}})
        assert all(before < after for before, after in pairwise(seen)), "who has seen the new version keeps it"
        await router.shift("fn", {1: 80, 2: 20}, sticky={"by": "header:X-User", "salt": SALT}, last_good=1)
        versions = await versions_of(router, USERS)
        assert {user for user in USERS if versions[user] == {2}} == seen[2], "less weight moves those who came last"


async def versions_of(router: RouterUnderTest, users: list[str]) -> dict[str, set[int]]:
    """What each is answered by, over several connections of his own, so by several workers."""
    connector = aiohttp.TCPConnector(force_close=True, limit=16)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def version(user: str) -> int:
            async with session.get(router.url("/fn/fn"), headers={"X-User": user}) as answer:
                return int(answer.headers["Hotswap-Version"])

        async def versions(user: str) -> set[int]:
            return set(await asyncio.gather(*(version(user) for _ in range(4))))

        return dict(zip(users, await asyncio.gather(*map(versions, users)), strict=True))
