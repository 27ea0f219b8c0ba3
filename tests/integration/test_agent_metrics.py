"""What an agent tells Prometheus: what the versions on its node use, and how their instances fare."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientError
from prometheus_client.parser import text_string_to_metric_families

from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, until
from tests.prometheus import free_address, program

MANIFEST = 'kind = "handler"\nentrypoint = "app:handler"\n'
BURNING = """
    import os, time

    def handler(event, context):
        until = time.process_time() + event["seconds"]
        while time.process_time() < until:
            pass
        return os.getpid()
"""
HUNGRY = """
    import os

    HELD = []

    def handler(event, context):
        HELD.append(bytearray(b"x" * (event["mib"] << 20)))
        return os.getpid()
"""
HANGING = """
    import time

    async def handler(event, context):
        time.sleep(600)
"""
Told = dict[tuple[str, str], float]
"""By name, and by what else there is than function and version."""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        found.settings["admin"] = free_address()
        yield found


async def text_of(a_node: NodeUnderTest) -> str:
    async with a_node.session.get(f"http://{a_node.settings['admin']}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


async def told(a_node: NodeUnderTest, version: int = 1) -> Told:
    found: Told = {}
    for family in text_string_to_metric_families(await text_of(a_node)):
        for sample in family.samples:
            labels = dict(sample.labels)
            if "function" not in labels:  # of the node
                assert sample.name.startswith("hotswap_cold_start_seconds")
            elif labels.pop("function") != "echo" or labels.pop("version") != str(version):
                continue
            if "le" not in labels:
                found[sample.name, ",".join(labels.values())] = sample.value
    return found


async def becomes(a_node: NodeUnderTest, name: str, label: str, value: float) -> Told:
    async def there() -> Told | None:
        found = await told(a_node)
        return found if found.get((name, label)) == value else None

    return await until(there)


async def serving(a_node: NodeUnderTest, code: str, manifest: str = MANIFEST) -> None:
    await a_node.start()
    await a_node.publish(1, {"app.py": code}, manifest)
    await a_node.assign({1: 1})
    await a_node.endpoints(1)


async def test_what_instances_use_and_what_their_start_took_is_told_by_version(a_node: NodeUnderTest) -> None:
    await serving(a_node, BURNING)
    before = await told(a_node)
    assert before["hotswap_instance_memory_bytes", ""] > 1 << 20
    assert before["hotswap_instances", "ready"] == 1
    assert before["hotswap_instances", "backing_off"] == 0
    assert before["hotswap_instance_starts_total", ""] == 1
    assert before["hotswap_instance_start_seconds_count", "ready"] == 1
    assert before["hotswap_instance_start_seconds_sum", "import"] > 0
    [endpoint] = await a_node.endpoints(1)
    await a_node.invoke(endpoint, {"seconds": 0.3})
    after = await told(a_node)
    name = ("hotswap_instance_cpu_seconds_total", "")
    assert after[name] - before[name] >= 0.25  # ticks of 10 ms


async def test_processor_time_does_not_go_back_when_an_instance_ends_and_the_end_is_told(a_node: NodeUnderTest) -> None:
    await serving(a_node, BURNING)
    [endpoint] = await a_node.endpoints(1)
    _, pid, _ = await a_node.invoke(endpoint, {"seconds": 0.5})
    os.kill(pid, signal.SIGKILL)  # before anybody has looked
    after = await becomes(a_node, "hotswap_instance_starts_total", "", 2)
    assert after["hotswap_instance_cpu_seconds_total", ""] >= 0.45
    assert after["hotswap_instance_restarts_total", ""] == 1
    assert after["hotswap_instance_ends_total", "signal"] == 1
    await a_node.assign({})
    await a_node.empty()
    last = await told(a_node)
    assert last["hotswap_instance_cpu_seconds_total", ""] >= after["hotswap_instance_cpu_seconds_total", ""]
    assert last["hotswap_instance_ends_total", "stopped"] == 1
    assert ("hotswap_instances", "ready") not in last


async def test_an_instance_that_used_too_much_memory_is_told_apart(a_node: NodeUnderTest) -> None:
    await serving(a_node, HUNGRY, MANIFEST + "memory = 128\n")
    [endpoint] = await a_node.endpoints(1)
    asking = asyncio.ensure_future(a_node.invoke(endpoint, {"mib": 120}))
    await becomes(a_node, "hotswap_instance_ends_total", "memory", 1)
    await asyncio.gather(asking, return_exceptions=True)


async def test_one_that_does_not_become_ready_is_told(a_node: NodeUnderTest) -> None:
    await a_node.start()
    await a_node.publish(1, {"app.py": "raise RuntimeError('broken')"}, MANIFEST)
    await a_node.assign({1: 1})

    async def failed() -> bool:
        return (await told(a_node)).get(("hotswap_instance_ends_total", "start"), 0) >= 1

    await until(failed)
    assert (await told(a_node))["hotswap_instance_starts_total", ""] == 0


async def test_cold_starts_are_told_by_their_parts(a_node: NodeUnderTest) -> None:
    await a_node.start()
    await a_node.publish(1, {"app.py": BURNING}, MANIFEST + 'min_instances = 0\nidle_timeout = "100ms"\n')
    await a_node.assign({1: 1})

    async def asleep() -> bool:
        found = await a_node.store.endpoints.list("echo", 1)
        return bool(found) and found[0].value.standby

    await until(asleep)
    before = await told(a_node)
    assert before["hotswap_instance_wakes_total", ""] == before["hotswap_cold_start_seconds_count", "all"] == 0
    [endpoint] = await a_node.endpoints(1)
    assert (await a_node.invoke(endpoint, {"seconds": 0}))[0] == 200
    after = await becomes(a_node, "hotswap_cold_start_seconds_count", "all", 1)
    assert after["hotswap_instance_wakes_total", ""] == 1
    parts = {part: after["hotswap_cold_start_seconds_sum", part] for part in ("fetch", "spawn", "ready", "first")}
    assert all(parts.values())
    assert after["hotswap_cold_start_seconds_sum", "all"] == pytest.approx(sum(parts.values()))


async def test_the_end_of_one_that_is_replaced_is_told_as_what_it_was(a_node: NodeUnderTest) -> None:
    await serving(a_node, HANGING, MANIFEST + 'timeout = "200ms"\ndrain_timeout = "1s"')
    [endpoint] = await a_node.endpoints(1)
    hanging = asyncio.create_task(a_node.invoke(endpoint, {}))
    found = await becomes(a_node, "hotswap_instance_ends_total", "time-out", 1)
    assert found["hotswap_instance_starts_total", ""] == 2
    assert found["hotswap_instance_restarts_total", ""] == 0, "it is another one that was started"
    with pytest.raises(ClientError):
        await hanging


async def test_the_next_agent_counts_from_where_it_took_an_instance_over(a_node: NodeUnderTest) -> None:
    await serving(a_node, BURNING)
    [endpoint] = await a_node.endpoints(1)
    await a_node.invoke(endpoint, {"seconds": 0.5})
    await a_node.kill()
    await a_node.start()
    found = await becomes(a_node, "hotswap_instances", "ready", 1)
    assert found["hotswap_instance_cpu_seconds_total", ""] < 0.4
    assert found["hotswap_instance_memory_bytes", ""] > 1 << 20
    assert found["hotswap_instance_starts_total", ""] == 0


async def test_promtool_accepts_it(a_node: NodeUnderTest) -> None:
    await serving(a_node, BURNING)
    text = (await text_of(a_node)).encode()
    checked = await asyncio.to_thread(
        subprocess.run, [program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
async def test_an_agent_without_instances_answers(a_node: NodeUnderTest, path: str) -> None:
    await a_node.start()
    async with a_node.session.get(f"http://{a_node.settings['admin']}{path}") as answer:
        assert answer.status == 200
