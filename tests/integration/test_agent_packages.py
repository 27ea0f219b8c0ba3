"""Packages that were vendored with versions: shared on the node, and preloaded where the agent was told to."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hotswap.model import Endpoint
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, until

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
ASKS = """
    import os, random, sys, uuid
    before = set(sys.modules)
    import parcel

    def handler(event, context):
        return {
            "version": parcel.VERSION,
            "file": parcel.__file__,
            "imported by": parcel.PID,
            "pid": os.getpid(),
            "preloaded": "parcel" in before,
            "random": [random.random(), str(uuid.uuid4()), parcel.random()],
        }
"""
OWN = 'raise RuntimeError("nobody imports what is a function\'s own")\n'


def parcel(version: str) -> dict[str, str]:
    source = (
        f'import os\nfrom random import random\nfrom wrapping import TAPE\nVERSION = "{version}"\nPID = os.getpid()\n'
    )
    return {"parcel/__init__.py": source, "wrapping.py": "TAPE = 1\n"}


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        yield found


async def told(a_node: NodeUnderTest, endpoint: Endpoint) -> Any:
    status, answer, _ = await a_node.invoke(endpoint, {})
    assert status == 200, a_node.log
    return answer


async def once_preloaded(a_node: NodeUnderTest, number: int, packages: dict[str, str], *, name: str) -> Any:
    """What a version answers whose packages have a zygote: the first of its instances has that begun."""
    files = {"app.py": ASKS, "wave.py": OWN, "unused.py": OWN}

    async def forked() -> Any:
        nonlocal number
        await a_node.publish(number, files, HANDLER + f"# {number}\n", name=name, packages=packages)
        await a_node.assign({number: 1}, name=name)
        [endpoint] = await a_node.endpoints(number, name=name)
        answer = await told(a_node, endpoint)
        number += 1
        return answer if answer["preloaded"] else None

    return await until(forked)


def sets(a_node: NodeUnderTest) -> list[str]:
    return sorted(os.listdir(a_node.state_dir / "packages"))


async def test_versions_with_the_same_packages_share_them_and_what_is_preloaded_of_them(a_node: NodeUnderTest) -> None:
    await a_node.start(preload=["parcel"])
    one = await once_preloaded(a_node, 1, parcel("1.0"), name="one")
    other = await once_preloaded(a_node, 1, parcel("1.0"), name="other")
    assert one["imported by"] == other["imported by"] != one["pid"]
    assert one["file"] == other["file"]
    assert len(sets(a_node)) == 1
    assert not set(one["random"]) & set(other["random"])


async def test_other_packages_are_others(a_node: NodeUnderTest) -> None:
    await a_node.start(preload=["parcel", "wave"])
    old = await once_preloaded(a_node, 1, parcel("1.0"), name="old")
    new = await once_preloaded(a_node, 1, parcel("2.0"), name="new")
    assert (old["version"], new["version"]) == ("1.0", "2.0")
    assert old["imported by"] != new["imported by"]
    assert len(sets(a_node)) == 2


async def test_a_zygote_of_packages_that_was_killed_is_replaced(a_node: NodeUnderTest) -> None:
    await a_node.start(preload=["parcel"])
    before = await once_preloaded(a_node, 1, parcel("1.0"), name="echo")
    os.kill(before["imported by"], signal.SIGKILL)
    after = [await once_preloaded(a_node, number, parcel("1.0"), name="echo") for number in (100, 200)]
    of_it = [one for one in after if one["imported by"] == before["imported by"]]
    assert len(of_it) <= 1  # which was forked ahead while it lived


async def test_no_more_sets_have_a_zygote_than_may(a_node: NodeUnderTest) -> None:
    await a_node.start(preload=["parcel"], zygotes=1)
    first = await once_preloaded(a_node, 1, parcel("1.0"), name="first")
    await once_preloaded(a_node, 1, parcel("2.0"), name="second")

    async def gone() -> bool:
        return not Path(f"/proc/{first['imported by']}").exists()  # noqa: ASYNC240 - no file of a disk

    await until(gone)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
            "starts threads",
        ),
        (
            "import os\nif 'HOTSWAP_INSTANCE' not in os.environ: raise ValueError('too early')\n",
            "ValueError: too early",
        ),
    ],
)
async def test_packages_that_cannot_be_preloaded_are_told_and_serve_all_the_same(
    a_node: NodeUnderTest, source: str, why: str
) -> None:
    await a_node.start(preload=["parcel"])
    packages = parcel("1.0")
    packages["parcel/__init__.py"] += source
    await a_node.publish(1, {"app.py": ASKS}, HANDLER, packages=packages)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    answer = await told(a_node, endpoint)
    assert answer["imported by"] == answer["pid"]

    async def noted() -> bool:
        return why in a_node.log and "are forked without them" in a_node.log

    await until(noted)
    await a_node.publish(2, {"app.py": ASKS}, HANDLER + "# 2\n", packages=packages)
    await a_node.assign({2: 1})
    [endpoint] = await a_node.endpoints(2)
    assert (await told(a_node, endpoint))["version"] == "1.0"


async def test_a_package_that_ends_its_threads_before_a_fork_is_preloaded(a_node: NodeUnderTest) -> None:
    await a_node.start(preload=["parcel"])
    packages = parcel("1.0")
    packages["parcel/__init__.py"] += """
import threading
ending = threading.Event()
thread = threading.Thread(target=ending.wait)
thread.start()

def end():
    ending.set()
    thread.join()

os.register_at_fork(before=end)
"""
    answer = await once_preloaded(a_node, 1, packages, name="echo")
    assert answer["imported by"] != answer["pid"]


@pytest.mark.parametrize(
    "settings", [{"zygote": False}, {"preload": []}, {"preload": ["parcel"]}, {"preload": ["parcel"], "zygotes": 0}]
)
async def test_a_module_of_the_function_stands_before_a_package_of_its_name(
    a_node: NodeUnderTest, settings: dict[str, Any]
) -> None:
    await a_node.start(**settings)
    mine = {"app.py": "import parcel\ndef handler(event, context):\n    return parcel.VERSION\n"}
    for number in (1, 2):
        files = mine | {"parcel.py": f"VERSION = 'mine {number}'\n"}
        await a_node.publish(number, files, HANDLER, packages=parcel("1.0"))
        await a_node.assign({number: 1})
        [endpoint] = await a_node.endpoints(number)
        assert await told(a_node, endpoint) == f"mine {number}"


async def test_a_program_finds_its_packages_too(a_node: NodeUnderTest) -> None:
    await a_node.start()
    serve = """
        import os, parcel
        from http.server import BaseHTTPRequestHandler, HTTPServer

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'"%b"' % parcel.VERSION.encode())
            do_GET = do_POST

        HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
    """
    settings = 'kind = "http"\nentrypoint = ["python3", "serve.py"]\n'
    await a_node.publish(1, {"serve.py": serve}, settings, packages=parcel("1.0"))
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert await told(a_node, endpoint) == "1.0"
