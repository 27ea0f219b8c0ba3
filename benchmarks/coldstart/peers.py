"""functions-framework and awslambdaric, started as one starts them by hand, until a first invocation is answered."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter

from aiohttp import ClientConnectionError, ClientSession, web

from agent.sockets import free_port

BIN = Path(sys.prefix) / "coldstart" / "bin"
LIMIT = 30.0
"""Seconds."""
Event = dict[str, str]
EVERY = 0.001
"""Seconds between two attempts to connect."""


def installed(program: str) -> bool:
    return (BIN / program).exists()


async def framework(folder: Path, session: ClientSession) -> float:
    """Milliseconds; its own server, which is gunicorn with one worker."""
    port = free_port("127.0.0.1")
    begun = perf_counter()
    command = (str(BIN / "functions-framework"), "--target=handler", "--source=app.py", f"--port={port}")
    async with _running(*command, folder=folder, environment={"HOST": "127.0.0.1"}):
        async with asyncio.timeout(LIMIT):
            while True:
                with suppress(ClientConnectionError):
                    async with session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
                        await answer.read()
                        assert answer.status == 200
                        return (perf_counter() - begun) * 1000
                await asyncio.sleep(EVERY)


async def lambda_runtime(folder: Path, session: ClientSession) -> float:
    """Milliseconds, with a runtime API of ours that has an event waiting."""
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    events = iter([Event()])
    over = asyncio.Event()

    async def next_event(request: web.Request) -> web.Response:
        event = next(events, None)
        if event is None:
            await over.wait()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-000000000000",
            "Lambda-Runtime-Deadline-Ms": "4102444800000",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:local:0:function:app",
        }
        return web.json_response(event, headers=headers)

    async def response(request: web.Request) -> web.Response:
        answered.set_result(await request.read())
        return web.Response(status=202)

    app = web.Application()
    app.router.add_get("/2018-06-01/runtime/invocation/next", next_event)
    app.router.add_post("/2018-06-01/runtime/invocation/{id}/response", response)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        environment = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runner.addresses[0][1]}", "LAMBDA_TASK_ROOT": str(folder)}
        begun = perf_counter()
        command = (str(BIN / "python"), "-m", "awslambdaric", "app.handler")
        async with _running(*command, folder=folder, environment=environment), asyncio.timeout(LIMIT):
            assert await answered == b"{}"
            return (perf_counter() - begun) * 1000
    finally:
        over.set()
        await runner.cleanup()


@asynccontextmanager
async def _running(*command: str, folder: Path, environment: dict[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()
