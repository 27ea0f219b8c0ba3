"""What does not answer within its version's time limit: the client is told, the work ends, whatever holds it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from hotswap.model import Endpoint
from hotswap.rpc import agent_pb2
from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node, until
from tests.router_harness import Answer, RouterUnderTest, routing

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'
ASGI = 'kind = "asgi"\nentrypoint = "app:app"\n'
WSGI = 'kind = "wsgi"\nentrypoint = "app:app"\n'
HOLDS_THE_LOOP = """
    import time

    async def handler(event, context):
        if event == "hang":
            time.sleep(600)
        return event
"""
WILL_NOT_BE_CANCELLED = """
    import asyncio

    async def handler(event, context):
        while event == "hang":
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass
        return event
"""
HANGING_WSGI = """
    import time

    def app(environ, start_response):
        if b"hang" in environ["wsgi.input"].read():
            time.sleep(600)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'"fine"']
"""
ANSWERING = """
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'"fine"'})
"""
HOLDS_THE_LOOP_OF_ASGI = f"""
    import time

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if b"hang" in (await receive())["body"]:
            time.sleep(600)
{ANSWERING}
"""
HOLDS_THE_LOOP_AFTERWARDS = f"""
    import asyncio, time

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if b"hang" in (await receive())["body"]:
            asyncio.get_running_loop().call_later(0.1, time.sleep, 600)
{ANSWERING}
"""
CANCELLED_ASGI = f"""
    import asyncio
    from pathlib import Path

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if b"hang" in (await receive())["body"]:
            try:
                await asyncio.sleep(600)
            finally:
                Path("MARK").touch()
{ANSWERING}
"""


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path / "node", etcd) as found:
        await found.start()
        yield found


@pytest_asyncio.fixture
async def router(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[RouterUnderTest]:
    async with routing(etcd, tmp_path / "router") as found:
        yield found


async def deployed(a_node: NodeUnderTest, router: RouterUnderTest, files: dict[str, str], settings: str) -> Endpoint:
    await a_node.publish(1, files, settings)
    await a_node.assign({1: 1})
    await router.shift("echo", {1: 100})
    [endpoint] = await a_node.endpoints(1)
    return endpoint


async def invoke(router: RouterUnderTest, event: str) -> Answer:
    return await router.call("POST", "/2015-03-31/functions/echo/invocations", json=event)


async def replaced(a_node: NodeUnderTest, first: Endpoint) -> None:
    """Waits until another one is there and this one is not."""

    async def seen() -> bool:
        found = await a_node.store.endpoints.list("echo", 1)
        return bool(found) and all(it.value.instance != first.instance for it in found)

    await until(seen)


async def incidents(a_node: NodeUnderTest) -> list[agent_pb2.Incident]:
    return list((await (await a_node.stub()).Status(agent_pb2.StatusRequest())).incidents)


async def noted(a_node: NodeUnderTest, first: Endpoint) -> None:
    """Waits until its process is gone; it is told why, once."""

    async def gone() -> bool:
        return all(it.instance != first.instance for it in await a_node.status())

    await until(gone)
    assert [(it.cause, it.instance) for it in await incidents(a_node)] == [("time-out", first.instance)]


async def test_an_instance_whose_threads_all_hang_is_replaced(a_node: NodeUnderTest) -> None:
    code = """
        import threading

        def handler(event, context):
            if event == "hang":
                threading.Event().wait()
            return "fine"
    """
    await a_node.publish(1, {"app.py": code}, HANDLER + 'concurrency = 1\ntimeout = "100ms"')
    await a_node.assign({1: 1})
    [first] = await a_node.endpoints(1)
    with suppress(aiohttp.ClientError):
        await a_node.invoke(first, "hang")

    await replaced(a_node, first)
    [second] = await a_node.endpoints(1)
    assert (await a_node.invoke(second, "fine"))[:2] == (200, "fine")


async def test_an_instance_with_a_handler_that_does_not_stop_is_replaced_and_answers_what_it_has(
    a_node: NodeUnderTest,
) -> None:
    code = """
        import time

        def handler(event, context):
            time.sleep(600 if event == "hang" else 5)
            return event
    """
    await a_node.publish(1, {"app.py": code}, HANDLER + 'concurrency = 4\ntimeout = "100ms"')
    await a_node.assign({1: 1})
    [first] = await a_node.endpoints(1)
    hanging = asyncio.create_task(a_node.invoke(first, "hang"))
    slow = asyncio.create_task(a_node.invoke(first, "slow"))

    hanging.add_done_callback(lambda task: task.cancelled() or task.exception())
    await replaced(a_node, first)
    assert (await slow)[:2] == (200, "slow")
    hanging.cancel()  # as the router does at the time limit
    await noted(a_node, first)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        pytest.param(HANDLER, HOLDS_THE_LOOP, id="a handler that holds the loop"),
        pytest.param(HANDLER + "min_instances = 0\n", HOLDS_THE_LOOP, id="one of which none need run"),
        pytest.param(HANDLER, WILL_NOT_BE_CANCELLED, id="a handler that will not be cancelled"),
        pytest.param(WSGI, HANGING_WSGI, id="a thread of a WSGI application"),
        pytest.param(ASGI, HOLDS_THE_LOOP_OF_ASGI, id="an ASGI application that holds the loop"),
    ],
)
async def test_what_does_not_end_at_the_time_limit_is_answered_for_and_its_instance_replaced(
    a_node: NodeUnderTest, router: RouterUnderTest, kind: str, code: str
) -> None:
    first = await deployed(a_node, router, {"app.py": code}, kind + 'timeout = "1s"')
    assert (await invoke(router, "hang")).status == 504
    await replaced(a_node, first)
    assert (await invoke(router, "fine")).json() == "fine"
    await noted(a_node, first)


async def test_what_holds_the_loop_after_its_answer_has_its_instance_replaced_too(
    a_node: NodeUnderTest, router: RouterUnderTest
) -> None:
    first = await deployed(a_node, router, {"app.py": HOLDS_THE_LOOP_AFTERWARDS}, ASGI + 'timeout = "1s"')
    assert (await invoke(router, "hang")).status == 200
    await replaced(a_node, first)
    await noted(a_node, first)


async def test_an_instance_that_has_more_to_do_than_it_can_is_not_replaced(a_node: NodeUnderTest) -> None:
    code = """
        import time

        def handler(event, context):
            time.sleep(1.5)
            return event
    """
    await a_node.publish(1, {"app.py": code}, HANDLER + 'concurrency = 1\ntimeout = "2s"')
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    answers = await asyncio.gather(*(a_node.invoke(endpoint, "queued") for _ in range(8)))
    assert 200 in {status for status, _, _ in answers}
    too_late = [answer for status, answer, _ in answers if status != 200]
    assert {it["errorMessage"] for it in too_late} == {"its turn did not come within its time limit"}
    assert [it.instance for it in await a_node.status()] == [endpoint.instance]
    assert await incidents(a_node) == []


async def test_an_asgi_application_is_cancelled_after_its_time_limit_and_stays(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path
) -> None:
    mark = tmp_path / "cancelled"
    code = CANCELLED_ASGI.replace("MARK", str(mark))
    first = await deployed(a_node, router, {"app.py": code}, ASGI + 'timeout = "1s"')
    assert (await invoke(router, "hang")).status == 504

    async def cancelled() -> bool:
        return mark.exists()

    await until(cancelled)
    assert (await invoke(router, "fine")).json() == "fine"
    assert await a_node.endpoints(1) == [first]
    assert await incidents(a_node) == []


async def test_a_program_is_told_by_its_connection_and_stays(
    a_node: NodeUnderTest, router: RouterUnderTest, tmp_path: Path
) -> None:
    program = f"""
        import asyncio, os
        from pathlib import Path

        async def talk(reader, writer):
            told = await reader.readuntil(b"\\r\\n\\r\\n")
            if b"/hang" not in told:
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nfine")
            if await reader.read() == b"" and b"/hang" in told:
                Path("{tmp_path}/closed").touch()
            writer.close()

        async def main():
            server = await asyncio.start_server(talk, "127.0.0.1", int(os.environ["PORT"]))
            await server.serve_forever()

        asyncio.run(main())
    """
    settings = 'kind = "http"\nentrypoint = ["python3", "serve.py"]\ntimeout = "1s"'
    first = await deployed(a_node, router, {"serve.py": program}, settings)
    assert (await router.get("/fn/echo/hang")).status == 504

    async def closed() -> bool:
        return (tmp_path / "closed").exists()

    await until(closed)
    assert (await router.get("/fn/echo/fine")).body == b"fine"
    assert await a_node.endpoints(1) == [first]
    assert await incidents(a_node) == []
