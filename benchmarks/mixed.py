"""Swaps of functions of every kind under load: nothing fails, a bad version harms nobody, nothing is left behind.

Six functions (handlers with and without `async`, ASGI, WSGI, and a program that listens itself; one of them never
changes) get 500 invocations a second together. Each takes what its event says, 1 ms to 5 s, evenly by orders of
magnitude. All the time the others go from one version to the next, each on its own. Of handlers every tenth deployment
is of a version that cannot start: it ends while it is imported, dies in its warm request, or never gets ready; such a
deployment must fail and the version before go on.

Afterwards the platform must have the processes, descriptors, listening ports, files and leases that it had before.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import psutil

from hotswap.deployment import Status
from hotswap.model import encode
from hotswap.requests import AllAtOnce
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.rpc.callers import credentials
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from tests.etcd_admin import Admin
from tests.load import Seen, steady_load
from tests.stage import Stage, staged

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

RATE = 500.0
NODES = 2
SHORTEST, LONGEST = 0.001, 5.0
"""Seconds that an invocation takes."""
LIMIT = 120.0
"""Seconds for one deployment."""
BAD_EVERY = 10
QUIET_LIMIT = 90.0
"""Seconds until nothing is left of the swaps."""

SETTINGS = """
    concurrency = 200
    timeout = "20s"
    start_timeout = "5s"
"""
HANDLER = """
    kind = "handler"
    entrypoint = "app:handler"
    sample_payload = {body = '{"seconds": 0}'}
"""

ASYNC = """
    import asyncio, json

    async def handler(event, context):
        await asyncio.sleep(json.loads(event["body"])["seconds"])
        return {"version": 1}
"""
THREADS = """
    import json, time

    def handler(event, context):
        time.sleep(json.loads(event["body"])["seconds"])
        return {"version": 1}
"""
ASGI = """
    import asyncio, json

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await asyncio.sleep(json.loads(body)["seconds"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""
WSGI = """
    import json, time

    def app(environ, start_response):
        time.sleep(json.loads(environ["wsgi.input"].read())["seconds"])
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
"""
PROGRAM = """
    import json, os, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Server(ThreadingHTTPServer):
        request_queue_size = 512

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(event["seconds"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments):
            pass

    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
KINDS = {
    "async": (HANDLER, ASYNC),
    "threads": (HANDLER, THREADS),
    "asgi": ('kind = "asgi"\nentrypoint = "app:app"', ASGI),
    "wsgi": ('kind = "wsgi"\nentrypoint = "app:app"', WSGI),
    "program": ('kind = "http"\nentrypoint = ["python3", "app.py"]', PROGRAM),
}
BAD = {
    "import": "import a_module_that_nobody_has\n",
    "warming": "import os\n\ndef handler(event, context):\n    os._exit(3)\n",
    "hangs": "import time\n\ntime.sleep(3600)\n",
}
"""Of a handler."""
STILL = "still"
"""Does not change."""


@dataclass
class Changes:
    good: int = 0
    refused: int = 0
    """Bad versions that did not get through."""
    wrong: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    """Seconds of the good ones."""


@dataclass(frozen=True)
class Remains:
    """What a platform has, that must not get more."""

    processes: int
    descriptors: dict[str, int]
    ports: int
    files: int
    leases: int

    def beyond(self, before: "Remains") -> list[str]:
        more = [
            f"{name}: {now} instead of {then}"
            for name, now, then in (
                ("processes", self.processes, before.processes),
                ("listening ports", self.ports, before.ports),
                ("files", self.files, before.files),
                ("leases", self.leases, before.leases),
            )
            if now > then
        ]
        return more + [
            f"descriptors of {name}: {now} instead of {before.descriptors.get(name, 0)}"
            for name, now in self.descriptors.items()
            if now > before.descriptors.get(name, 0)
        ]


def remains(stage: Stage) -> Remains:
    pids = stage.platform.pids
    agents = {name: psutil.Process(pid) for name, pid in pids.items() if name.startswith("node-")}
    below = [child for agent in agents.values() for child in agent.children(recursive=True)]
    listening = sum(
        connection.status == psutil.CONN_LISTEN
        for process in (*agents.values(), *below)
        for connection in process.net_connections("tcp")
    )
    return Remains(
        processes=len(below),
        descriptors={name: agent.num_fds() for name, agent in agents.items()},
        ports=listening,
        files=sum(1 for folder in stage.platform.state_dir.glob("node-*") for _ in folder.rglob("*")),
        leases=len(Admin(stage.platform.etcd.endpoints[0]).leases()),
    )


async def settled(stage: Stage, before: Remains) -> list[str]:
    """What is there beyond what was, after as long as it takes to get back, or at the limit."""
    clock = asyncio.get_running_loop().time
    end = clock() + QUIET_LIMIT
    while True:
        try:
            more = remains(stage).beyond(before)
        except (psutil.NoSuchProcess, FileNotFoundError):
            more = ["a process or file that went while it was looked at"]
        if not more or clock() > end:
            return more
        await asyncio.sleep(0.5)


def event(rng: random.Random) -> bytes:
    seconds = SHORTEST * (LONGEST / SHORTEST) ** rng.random()
    return b'{"seconds": %.4f}' % seconds


async def write(stage: Stage, name: str, label: str, head: str, code: str) -> int:
    folder = stage.folder / name / label
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(f"# {label}\n{dedent(code)}")
    (folder / "hotswap.toml").write_text(f'function = "{name}"\n{dedent(head)}\n{dedent(SETTINGS)}')
    return await stage.publish(folder)


async def prepare(stage: Stage) -> dict[str, list[int]]:
    """Two versions of each, of which the first runs; of handlers the bad ones too."""
    versions = {}
    for name, (head, code) in {**KINDS, STILL: KINDS["async"]}.items():
        versions[name] = [await write(stage, name, label, head, code) for label in ("one", "two")]
        if name in {"async", "threads"}:
            versions[name] += [await write(stage, name, label, head, bad) for label, bad in BAD.items()]
        await stage.all_at_once(name, versions[name][1])
        await stage.all_at_once(name, versions[name][0])
    return versions


async def deploy(stage: Stage, controller: "ControllerAsyncStub", name: str, version: int) -> str:
    """Its status when it has ended."""
    request = encode(AllAtOnce(function_name=name, version=version, force=True)).decode()
    shown = credentials(stage.platform.token)
    asked = pb.DeployRequest(request_json=request)
    deployment = await controller.Deploy(asked, timeout=LIMIT, metadata=shown)
    watch = pb.WatchDeploymentRequest(id=deployment.id)
    async for update in controller.WatchDeployment(watch, timeout=LIMIT, metadata=shown):
        deployment = update.deployment
    return str(deployment.status)


def turns(versions: list[int], count: int) -> Iterator[tuple[int, bool]]:
    """A version, and whether it is a good one."""
    bad = versions[2:]
    runs = 0
    for number in range(count):
        if bad and number % BAD_EVERY == 1:
            yield bad[number // BAD_EVERY % len(bad)], False
        else:
            runs = 1 - runs
            yield versions[runs], True


async def change(
    stage: Stage, controller: "ControllerAsyncStub", name: str, versions: list[int], count: int, changes: Changes
) -> None:
    clock = asyncio.get_running_loop().time
    for version, good in turns(versions, count):
        begun = clock()
        status = await deploy(stage, controller, name, version)
        if good and status == Status.SUCCEEDED:
            changes.good += 1
            changes.took.append(clock() - begun)
        elif not good and status != Status.SUCCEEDED:
            changes.refused += 1
        else:
            changes.wrong.append(f"{name} version {version}: {status}")


async def run(count: int) -> dict[str, Any]:
    rng, changes = random.Random(1), Changes()
    loads: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with staged(Path(folder), agents=NODES) as stage:
            versions = await prepare(stage)
            before = remains(stage)
            async with wire.channel(stage.platform.controller) as channel, AsyncExitStack() as stack:
                controller = ControllerStub(channel)
                for name in versions:
                    load = steady_load(stage.url(name), rate=RATE / len(versions), body=lambda: event(rng))
                    loads[name] = await stack.enter_async_context(load)
                each = count // len(KINDS)
                await asyncio.gather(
                    *(change(stage, controller, name, versions[name], each, changes) for name in KINDS)
                )
            left = await settled(stage, before)
    failures = [f"{name}: {line}" for name, seen in loads.items() for line in seen.failures]
    return {
        "swaps": changes.good,
        "refused": changes.refused,
        "wrong": changes.wrong,
        "seconds": statistics.median(changes.took),
        "invocations": sum(seen.sent for seen in loads.values()),
        "answers": dict(sum((seen.statuses for seen in loads.values()), Counter())),
        "failed": len(failures),
        "first_failures": failures[:10],
        "left": left,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Swaps of functions of every kind under load.")
    parser.add_argument("--quick", action="store_true", help="end within a minute or so")
    parser.add_argument("--swaps", type=int, default=1_000, metavar="N", help="deployments in all (1,000)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    result = asyncio.run(run(len(KINDS) * 4 if options.quick else options.swaps))
    for name, told in result.items():
        print(f"{name}: {told}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 1 if result["failed"] or result["wrong"] or result["left"] else 0


if __name__ == "__main__":
    sys.exit(main())
