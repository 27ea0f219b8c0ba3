"""All kinds of functions, run by a real agent as a real etcd says."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hotswap.settings import EtcdSettings
from tests.agent_harness import NodeUnderTest, node

HANDLER = 'kind = "handler"\nentrypoint = "app:handler"\n'


@pytest_asyncio.fixture
async def a_node(tmp_path: Path, etcd: EtcdSettings) -> AsyncIterator[NodeUnderTest]:
    async with node(tmp_path, etcd) as found:
        await found.start()
        yield found


SYNC = """
    def init(context):
        global READY
        READY = context.function_name

    def handler(event, context):
        return {"ready": READY, "event": event, "id": context.aws_request_id, "version": context.function_version}
"""
ASYNC = SYNC.replace("def handler", "async def handler").replace("def init", "async def init")


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
async def test_a_handler_gets_its_event_and_context(a_node: NodeUnderTest, code: str) -> None:
    await a_node.publish(1, {"app.py": code}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    url = f"http://{endpoint.address}/2015-03-31/functions/function/invocations"
    async with a_node.session.post(url, json={"n": 1}, headers={"Hotswap-Request-Id": "r-1"}) as answer:
        assert await answer.json() == {"ready": "echo", "event": {"n": 1}, "id": "r-1", "version": "1"}


async def test_what_a_handler_answers_to_a_url_is_a_whole_answer(a_node: NodeUnderTest) -> None:
    code = """
        import base64

        def handler(event, context):
            body = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
            return {
                "statusCode": 201,
                "headers": {"Content-Type": "image/png", "X-Target": f"{event['rawPath']}?{event['rawQueryString']}"},
                "cookies": ["a=1", "b=2"],
                "body": base64.b64encode(body[::-1]).decode(),
                "isBase64Encoded": True,
            }
    """
    await a_node.publish(1, {"app.py": code}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    async with a_node.session.put(f"http://{endpoint.address}/a/b?x=1&x=2", data=b"\x00\xff\x01") as answer:
        assert (answer.status, await answer.read()) == (201, b"\x01\xff\x00")
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["X-Target"] == "/a/b?x=1&x=2"
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]


async def test_an_exception_is_told_and_the_instance_goes_on(a_node: NodeUnderTest) -> None:
    code = """
        import sys

        def handler(event, context):
            if event == "raise":
                raise ValueError("no such picture")
            if event == "exit":
                sys.exit(1)
            if event == "unserializable":
                return object()
            return event
    """
    await a_node.publish(1, {"app.py": code}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    status, answer, headers = await a_node.invoke(endpoint, "raise")
    assert (status, headers["Hotswap-Error"]) == (500, "exception")
    assert (answer["errorType"], answer["errorMessage"]) == ("ValueError", "no such picture")
    assert 'raise ValueError("no such picture")' in answer["stackTrace"][-1]
    assert (await a_node.invoke(endpoint, "exit"))[1]["errorMessage"] == "the handler raised SystemExit(1)"
    assert (await a_node.invoke(endpoint, "unserializable"))[1]["errorType"] == "BadAnswer"
    assert (await a_node.invoke(endpoint, "fine"))[:2] == (200, "fine")


async def test_an_exit_in_an_async_handler_ends_its_own_invocation_only(a_node: NodeUnderTest) -> None:
    code = """
        import asyncio, sys

        STARTED = asyncio.Event()

        async def handler(event, context):
            if event == "exit":
                await STARTED.wait()
                sys.exit(1)
            STARTED.set()
            await asyncio.sleep(0.2)
            return "done"
    """
    await a_node.publish(1, {"app.py": code}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    left, other = await asyncio.gather(a_node.invoke(endpoint, "exit"), a_node.invoke(endpoint, "stay"))
    assert left[1]["errorMessage"] == "the handler raised SystemExit(1)"
    assert other[:2] == (200, "done")


async def test_a_function_may_have_modules_named_as_ours(a_node: NodeUnderTest) -> None:
    names = ("agent", "router", "hotswap", "runtime", "controller", "serve", "limits", "events")
    files = {f"{name}.py": f'NAME = "the function\'s {name}"' for name in names}
    imports = f"import {', '.join(names)}\n"
    code = f"{imports}def handler(event, context):\n    return [it.NAME for it in ({', '.join(names)})]\n"
    await a_node.publish(1, files | {"app.py": code}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert (await a_node.invoke(endpoint, {}))[1] == [f"the function's {name}" for name in names]


async def test_an_instance_sees_its_own_environment_and_nothing_of_the_agents(a_node: NodeUnderTest) -> None:
    code = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
    await a_node.publish(1, {"app.py": code}, HANDLER + 'memory = 200\nenv = { MODE = "fast" }')
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    seen = (await a_node.invoke(endpoint, {}))[1]
    assert (seen["MODE"], seen["HOTSWAP_FUNCTION"], seen["HOTSWAP_VERSION"]) == ("fast", "echo", "1")
    assert (seen["AWS_LAMBDA_FUNCTION_NAME"], seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("echo", "200")
    assert seen["HOME"].startswith(str(a_node.state_dir))
    assert seen["TMPDIR"].startswith(str(a_node.state_dir))
    assert "PYTEST_CURRENT_TEST" not in seen


async def test_an_asgi_application_runs_with_its_lifespan(a_node: NodeUnderTest) -> None:
    code = """
        STARTED = []

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                STARTED.append(True)
                await send({"type": "lifespan.startup.complete"})
                await receive()
                print("lifespan ended", flush=True)
                await send({"type": "lifespan.shutdown.complete"})
                return
            text = f"{scope['method']} {scope['path']} {STARTED}".encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": text})
    """
    await a_node.publish(1, {"app.py": code}, 'kind = "asgi"\nentrypoint = "app:app"')
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert await a_node.get(endpoint, "/x") == (200, "GET /x [True]")
    await a_node.assign({})
    await a_node.endpoints(1, count=0)
    await a_node.empty()
    [log] = (a_node.state_dir / "logs/echo/1").iterdir()
    assert "lifespan ended" in log.read_text()


async def test_an_asgi_application_without_a_lifespan_runs_too(a_node: NodeUnderTest) -> None:
    code = """
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"fine"})
    """
    await a_node.publish(1, {"app.py": code}, 'kind = "asgi"\nentrypoint = "app:app"')
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert await a_node.get(endpoint) == (200, "fine")


async def test_a_wsgi_application_runs(a_node: NodeUnderTest) -> None:
    code = """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]
    """
    await a_node.publish(1, {"app.py": code}, 'kind = "wsgi"\nentrypoint = "app:app"')
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert await a_node.get(endpoint, "/y") == (200, "GET /y")


async def test_any_program_runs_that_listens_on_its_port(a_node: NodeUnderTest) -> None:
    program = """\
        #!/bin/sh
        [ "$1" = "$PORT at $HOST, not $HOSTNAME" ] || exit 1
        exec python3 -m http.server --bind "$HOST" "$PORT"
    """
    settings = """
        kind = "http"
        entrypoint = ["sh", "serve.sh", "${PORT} at $HOST, not $HOSTNAME"]
        env = { HOSTNAME = "$HOSTNAME" }
    """
    await a_node.publish(1, {"serve.sh": program, "page.txt": "hello"}, settings)
    await a_node.assign({1: 2})
    endpoints = await a_node.endpoints(1, count=2)
    assert [await a_node.get(endpoint, "/page.txt") for endpoint in endpoints] == [(200, "hello")] * 2
    assert len({endpoint.address for endpoint in endpoints}) == 2


async def test_an_instance_is_warm_before_it_is_published(a_node: NodeUnderTest) -> None:
    code = """
        EVENTS = []

        def handler(event, context):
            EVENTS.append(event)
            return EVENTS
    """
    await a_node.publish(1, {"app.py": code}, HANDLER + 'sample_payload = { picture = "small" }')
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    assert (await a_node.invoke(endpoint, "first"))[1] == [{"picture": "small"}, "first"]


async def test_no_more_run_at_a_time_than_the_manifest_says(a_node: NodeUnderTest) -> None:
    code = """
        import asyncio

        RUNNING = 0

        async def handler(event, context):
            global RUNNING
            RUNNING += 1
            await asyncio.sleep(0.01)
            seen, RUNNING = RUNNING, RUNNING - 1
            return seen
    """
    await a_node.publish(1, {"app.py": code}, HANDLER + "concurrency = 3")
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    answers = await asyncio.gather(*(a_node.invoke(endpoint, {}) for _ in range(20)))
    assert max(seen for _, seen, _ in answers) == 3


async def test_a_body_that_is_no_json_is_the_callers_fault(a_node: NodeUnderTest) -> None:
    await a_node.publish(1, {"app.py": SYNC}, HANDLER)
    await a_node.assign({1: 1})
    [endpoint] = await a_node.endpoints(1)
    url = f"http://{endpoint.address}/2015-03-31/functions/function/invocations"
    async with a_node.session.post(url, data=b"{") as answer:
        assert answer.status == 400
        assert "Could not parse" in json.loads(await answer.read())["message"]
    async with a_node.session.post(url, data=base64.b64encode(b"{}")) as answer:
        assert answer.status == 400
