"""A version that fails on one node and nowhere else goes on without that node, and whoever is on call sees which."""

from pathlib import Path

from hotswap import etcd
from hotswap.store import Store
from tests.functions import ECHO, write_function
from tests.load import steady_load
from tests.stage import Stage, staged

RATE = 100.0
"""Invocations a second: of the new version there is always one under way, so that both of its nodes have some."""
FAILS_THERE = """
    import os
    import time

    def handler(event, context):
        time.sleep(0.1)
        if os.environ["HOTSWAP_NODE"] == "node-2":
            raise RuntimeError("this node lacks something")
        return {}
"""


async def runs_on(stage: Stage, version: int) -> set[str]:
    """The nodes on which instances of the version take invocations."""
    connection = etcd.connect(stage.platform.etcd)
    try:
        endpoints = await Store(connection).endpoints.list("echo", version)
        return {one.value.node for one in endpoints if not one.value.withdrawn}
    finally:
        await connection.close()


async def test_a_version_that_fails_on_one_node_alone_goes_on_without_it(tmp_path: Path) -> None:
    async with staged(tmp_path, agents=2) as stage:
        await stage.publish(write_function(stage.folder / "good", ECHO, label="good"))
        await stage.publish(write_function(stage.folder / "picky", FAILS_THERE))
        await stage.all_at_once("echo", 1)
        async with steady_load(stage.url("echo"), rate=RATE):
            begun = await stage.canary("echo", 2, canaryIncrements=[10, 50, 100], canaryDuration="PT5S")
            told = await stage.hotswap("get", "deployment", begun, "-w")
        assert (await stage.deployment(begun))["status"] == "Succeeded", told.out
        assert "the fault is node node-2" in told.out
        assert "node node-2 is taken out for version 2" in told.out
        assert await stage.weights("echo") == {"2": 100}
        assert await runs_on(stage, 2) == {"node-1"}
        assert "version 2 not on node-2" in (await stage.hotswap("alias", "get", "echo:production")).out
        await stage.hotswap("verify", begun)  # the receipt of that leads to the same

        await stage.hotswap("alias", "set", "echo:production", "2=100")
        assert await runs_on(stage, 2) == {"node-1", "node-2"}
