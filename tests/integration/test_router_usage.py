"""Reports and users, through a real router by either lane: what the caller sees of them, and what is counted."""

from pathlib import Path

import pytest

from hotswap.model import Sticky
from hotswap.request_id import Origin, origin
from hotswap.settings import EtcdSettings, Lane
from hotswap.usage import Usage
from hotswap.users import cell, place
from tests.router_harness import RouterUnderTest, answering, routing, upstream

LANES: list[Lane] = ["express", "general"]
BOUGHT = ["Hotswap-Metric: conversion=1, revenue=12.5", "Hotswap-Metric: nonsense"]


async def usage(router: RouterUnderTest, version: int) -> Usage:
    return Usage.total(row.usage for row in await router.rows("fn") if row.version == version and row.usage)


@pytest.mark.parametrize("lane", LANES)
async def test_what_a_function_reports_is_counted_and_reaches_nobody_else(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with (
        routing(etcd, tmp_path, lane=lane) as router,
        upstream(answering(b"bought", fields=BOUGHT)) as server,
    ):
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        for _ in range(3):
            answer = await router.get("/fn/fn")
            assert (answer.status, answer.body) == (200, b"bought")
            assert "Hotswap-Metric" not in answer.headers
        found = await usage(router, 1)
        revenue = found.reported["revenue"]
        assert (revenue.count, revenue.sum, revenue.squares) == (3, 37.5, 468.75)
        assert (found.reported["conversion"].sum, found.malformed, found.user_count) == (3.0, 3, 0)
        assert await router.metric("hotswap_reported_value_sum") == 40.5
        assert await router.metric("hotswap_refused_reports_total") == 3


@pytest.mark.parametrize("lane", LANES)
async def test_a_failing_answer_reports_all_the_same_and_a_killed_worker_loses_nothing(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with (
        routing(etcd, tmp_path, lane=lane) as router,
        upstream(answering(b"no", status="503 Down", fields=BOUGHT)) as server,
    ):
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        assert (await router.get("/fn/fn")).status == 503
        router.kill_worker()
        assert (await usage(router, 1)).reported["conversion"].sum == 1.0


@pytest.mark.parametrize("lane", LANES)
async def test_users_are_told_apart_where_they_are_tied_to_versions(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with (
        routing(etcd, tmp_path, lane=lane) as router,
        upstream(answering()) as one,
        upstream(answering(fields=BOUGHT)) as two,
    ):
        await router.publish("fn", {1: [one.address], 2: [two.address]}, weights={1: 100})
        sticky = Sticky(by="header:User", salt="pepper")
        revision = await router.shift("fn", {1: 50, 2: 50}, sticky=sticky, last_good=1)
        versions: dict[str, str] = {}
        for user in [f"user-{n}" for n in range(30)] * 2:
            answer = await router.get("/fn/fn", headers={"User": user})
            version = answer.headers["Hotswap-Version"]
            assert versions.setdefault(user, version) == version
            told = origin(answer.headers["Hotswap-Request-Id"])
            assert told == Origin(int(version), revision, cell(place(user, salt="pepper")))
        for number in (1, 2):
            mine = sum(version == str(number) for version in versions.values())
            found = await usage(router, number)
            assert sum(found.cells) == mine
            assert sum(found.invocations) == 2 * mine
        converted = (await usage(router, 2)).reported["conversion"]
        assert sum(converted.sums.values()) == converted.sum == sum((await usage(router, 2)).invocations)


@pytest.mark.parametrize("lane", LANES)
async def test_an_id_tells_the_version_but_where_its_sender_chose_it(
    etcd: EtcdSettings, tmp_path: Path, lane: Lane
) -> None:
    async with routing(etcd, tmp_path, lane=lane) as router, upstream(answering()) as server:
        await router.publish("fn", {1: [server.address]}, weights={1: 100})
        revision = (await router.rows("fn"))[0].alias_revision
        by_alias = (await router.get("/fn/fn")).headers["Hotswap-Request-Id"]
        assert origin(by_alias) == Origin(1, revision, None)
        assert server.requests[-1].fields["hotswap-request-id"] == by_alias, "the function is told the same"
        by_number = (await router.get("/fn/fn:1")).headers["Hotswap-Request-Id"]
        assert origin(by_number) is None
        chosen = (await router.get("/fn/fn", headers={"Hotswap-Request-Id": "mine"})).headers["Hotswap-Request-Id"]
        assert chosen == "mine"
