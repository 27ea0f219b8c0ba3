"""`hotswap invoke` against a real HTTP server in the router's place: what is sent, what is printed, the exit code."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotswap.cli.main import cli


@dataclass
class Router:
    address: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    def invoke(self, *arguments: str, given: bytes = b"") -> Result:
        return CliRunner(env={"HOTSWAP_ROUTER": self.address}).invoke(cli, ["invoke", *arguments], input=given)


def handler(router: Router) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            router.asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(router.status)
            for name, value in {"Content-Length": str(len(router.body)), **router.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(router.body)

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    return Handler


@pytest.fixture
def router() -> Iterator[Router]:
    made = Router()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(made)) as server:
        made.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def test_the_event_goes_to_lambdas_url_and_the_answer_is_printed(router: Router) -> None:
    router.body = b'{"greeting": "Hello"}'
    result = router.invoke("hello:staging", "--data", '{"name": "Ada"}')
    assert (result.exit_code, result.stdout) == (0, '{"greeting": "Hello"}\n')
    assert router.asked == [("/2015-03-31/functions/hello/invocations?Qualifier=staging", b'{"name": "Ada"}')]


def test_a_function_alone_means_production_and_an_empty_event(router: Router) -> None:
    router.invoke("hello")
    assert router.asked == [("/2015-03-31/functions/hello/invocations?Qualifier=production", b"{}")]


def test_data_comes_from_a_file_or_from_standard_input(router: Router, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_bytes(b'"file"')
    router.invoke("hello", "--data", f"@{tmp_path / 'event.json'}")
    router.invoke("hello", "--data", "-", given=b'"input"')
    assert [body for _, body in router.asked] == [b'"file"', b'"input"']


def test_data_that_cannot_be_read_is_wrong_use(router: Router) -> None:
    result = router.invoke("hello", "--data", "@/nonexistent")
    assert result.exit_code == 64
    assert "--data: /nonexistent cannot be read" in result.stderr
    assert router.asked == []


def test_bytes_that_are_no_text_are_printed_as_they_are(router: Router) -> None:
    router.body = b"\xff\xd8\xff\n"
    assert router.invoke("hello").stdout_bytes == router.body


def test_an_exception_of_the_function_goes_to_standard_error_and_ends_with_1(router: Router) -> None:
    router.headers = {"X-Amz-Function-Error": "Unhandled"}
    router.body = json.dumps({"errorType": "KeyError", "errorMessage": "'name'", "stackTrace": ["  line 3\n"]}).encode()
    result = router.invoke("hello")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "  line 3\nKeyError: 'name'\n")


def test_a_problem_of_the_routers_is_told_in_its_words(router: Router) -> None:
    router.status, router.body = 404, b'{"title": "Not Found", "detail": "there is no function hello"}'
    result = router.invoke("hello")
    assert (result.exit_code, result.stderr) == (1, "error: there is no function hello\n")


def test_json_tells_version_request_and_payload(router: Router) -> None:
    router.headers, router.body = {"Hotswap-Version": "2", "Hotswap-Request-Id": "r1"}, b"[1]"
    assert json.loads(router.invoke("hello", "-o", "json").stdout) == {
        "statusCode": 200,
        "version": 2,
        "requestId": "r1",
        "functionError": None,
        "payload": [1],
    }
