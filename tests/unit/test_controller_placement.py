"""What is assigned while aliases and deployments change under the hands of who derives it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import pytest
from msgspec.structs import replace

from controller.placement import Placement
from hotswap import kv
from hotswap.deployment import Active, Leader, Status
from hotswap.memory import MemoryKV
from hotswap.metrics import Counters
from hotswap.mirror import mirrored
from hotswap.model import Alias, Assignment, Kind, Manifest, Node, Version
from hotswap.rpc import agent_pb2
from hotswap.store import Fence, Store, Stored
from tests.controller_walk import BEGIN, deployment


class Interrupted(MemoryKV):
    """A store in which something happens right after a prefix was read."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def range(self, prefix: str) -> kv.Listing:
        listing = await super().range(prefix)
        if self.meanwhile and prefix.startswith(self._prefix):
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return listing


class Quiet:
    """Agents and routers that have nothing to tell."""

    async def apply(
        self, node: Node, assignment: Stored[Assignment], fence: Fence
    ) -> AsyncIterator[agent_pb2.InstanceProgress]:
        progress: tuple[agent_pb2.InstanceProgress, ...] = ()
        for one in progress:
            yield one

    async def applied(self, subject: Literal["aliases", "endpoints"], revision: int) -> None:
        return

    async def counters(self, function: str) -> list[Counters]:
        return []


async def first_deployment(store: Store) -> tuple[Fence, Callable[[], Awaitable[None]]]:
    """A first deployment whose version is assigned; and what gives it the alias and ends it."""
    begun, me = deployment(), Leader(controller="c1", address="", since=BEGIN)
    assigned = Assignment(node="n1", function="f", versions={6: 1})
    manifest = Manifest(function="f", kind=Kind.HANDLER, entrypoint="app:handler")
    active = Active(function="f", alias="production", deployment=begun.id)
    revision = await (
        store.transaction()
        .create(me)
        .create(begun)
        .create(active)
        .create(assigned)
        .create(Node(name="n1", address="", boot="1"))
        .create(Version(function="f", number=6, artifact="", size=1, manifest=manifest, published=BEGIN))
        .commit()
    )

    async def ends() -> None:
        alias = Alias(function="f", name="production", weights={6: 100})
        record, held = await store.deployments.get(begun.id), await store.active.get("f", "production")
        assert record
        assert held
        done = replace(record.value, status=Status.SUCCEEDED)
        await store.transaction().create(alias).replace(record, done).delete(held).commit()

    return Fence(store.key_of(me), revision), ends


@pytest.mark.parametrize("read", ["aliases", "active"])
async def test_a_version_that_an_alias_takes_over_from_its_deployment_is_never_taken_away(read: str) -> None:
    interrupted = Interrupted(f"/hotswap/{read}/f/")
    store = Store(interrupted)
    fence, interrupted.meanwhile = await first_deployment(store)
    async with mirrored(store.nodes) as nodes:
        placement = Placement(store=store, fence=fence, agents=Quiet(), nodes=nodes, routers=Quiet())
        await placement.settle("f")
    assigned = await store.assignments.get("n1", "f")
    assert assigned
    assert assigned.value.versions == {6: 1}


async def test_a_version_does_not_run_where_its_alias_leaves_it_out() -> None:
    store = Store(MemoryKV())
    fence, ends = await first_deployment(store)
    await ends()
    stored = await store.aliases.get("f", "production")
    assert stored
    left_out = replace(stored.value, without={6: ["n1"]})
    await store.transaction().replace(stored, left_out).create(Node(name="n2", address="", boot="1")).commit()
    async with mirrored(store.nodes) as nodes:
        placement = Placement(store=store, fence=fence, agents=Quiet(), nodes=nodes, routers=Quiet())
        await placement.settle("f")
        assert [await versions(store, node) for node in ("n1", "n2")] == [set(), {6}]
        async with placement.pinned("f", [6]):  # a person sets the weights anew
            await placement.settle("f")
            assert await versions(store, "n1") == {6}


async def test_a_version_that_is_lent_a_place_runs_on_one_node_until_it_is_taken_back() -> None:
    store = Store(MemoryKV())
    fence, ends = await first_deployment(store)
    await ends()
    manifest = Manifest(function="f", kind=Kind.HANDLER, entrypoint="app:handler")
    old = Version(function="f", number=5, artifact="", size=1, manifest=manifest, published=BEGIN)
    more = [Node(name=name, address="", boot="1") for name in ("n2", "n3")]
    await store.transaction().create(old).create(more[0]).create(more[1]).commit()
    async with mirrored(store.nodes) as nodes:
        placement = Placement(store=store, fence=fence, agents=Quiet(), nodes=nodes, routers=Quiet())
        placement.lend("f", 5)
        placement.lend("f", 6)
        placement.lend("f", 7)
        assert await placement.moved() == "f"
        await placement.settle("f")
        having = [name for name in ("n1", "n2", "n3") if await versions(store, name) == {5, 6}]
        assert len(having) == 1
        assert [await versions(store, name) for name in {"n1", "n2", "n3"} - {*having}] == [{6}, {6}]
        gone = await store.nodes.get(having[0])
        assert gone
        await store.transaction().delete(gone).commit()
        await nodes.until(lambda it: it.get(gone.key) is None)
        await placement.settle("f")
        left = {"n1", "n2", "n3"} - {*having}
        assert sorted([len(await versions(store, name)) for name in left]) == [1, 2]
        placement.take_back("f", 5)
        await placement.settle("f")
        assert [await versions(store, name) for name in left] == [{6}, {6}]


async def versions(store: Store, node: str) -> set[int]:
    assigned = await store.assignments.get(node, "f")
    return set(assigned.value.versions) if assigned else set()
