"""`hotswap invoke`: one invocation through the router, by the same URL as AWS Lambda's Invoke."""

import base64
import json
import sys
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click

from hotswap import model
from hotswap.cli import output
from hotswap.cli.client import Target, controller_options
from hotswap.cli.completion import qualified_argument
from hotswap.errors import Invalid, Unavailable
from hotswap.settings import host_and_port

INVOKE_LIMIT = 900.0
"""Seconds for an answer, the longest that a function may take on AWS Lambda too; a shorter one is the version's own."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    version: str
    request_id: str
    error: str
    """How the function failed, in the words of AWS Lambda (`Unhandled`); empty when it did not."""
    body: bytes

    @property
    def failed(self) -> bool:
        return self.status >= 400 or bool(self.error)


@click.command()
@qualified_argument
@click.option("--data", default="{}", metavar="TEXT|@FILE|-", help="The event; @FILE reads a file, - standard input.")
@click.option("--router", metavar="HOST:PORT", envvar="HOTSWAP_ROUTER", show_envvar=True, help="The router to call.")
@output.output_option
@controller_options
def invoke(function: str, *, data: str, router: str | None, form: output.Format, target: Target) -> None:
    """Invoke a function and print its answer.

    FUNCTION alone means its alias "production". Ends with 1 when the function fails; what it says of that goes to
    standard error.

    \b
    hotswap invoke image-processor --data '{"pictures": 3}'
    hotswap invoke image-processor:2 --data @event.json
    """
    name, qualifier = model.qualifier(function)
    answer = ask(router or target.router, name, qualifier, event(data))
    if form == "json":
        output.print_json(_document(answer))
    elif answer.failed:
        click.echo(_failure(answer), err=True)
    else:
        click.echo(answer.body, nl=not answer.body.endswith(b"\n"))
    if answer.failed:
        click.get_current_context().exit(1)


def _failure(answer: Answer) -> str:
    """The router's problem document, or the function's exception, as a person reads it; anything else as it came."""
    text = answer.body.decode(errors="replace").rstrip("\n")
    try:
        told = json.loads(text)
    except ValueError:
        return text
    match told:
        case {"title": _, "detail": str(detail)}:
            return f"error: {detail}"
        case {"errorType": str(kind), "errorMessage": str(message), "stackTrace": list(trace)}:
            return "".join([*map(str, trace), f"{kind}: {message}"])
        case {"errorType": str(kind), "errorMessage": str(message)}:
            return f"{kind}: {message}"
        case _:
            return text


def event(data: str) -> bytes:
    """What `--data` says."""
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise Invalid(f"--data: {data[1:]} cannot be read: {error.strerror}") from None


def ask(router: str, function: str, qualifier: str, body: bytes, *, limit: float = INVOKE_LIMIT) -> Answer:
    """Raises `Unavailable` when the router does not answer within the limit, in seconds."""
    host, port = host_and_port(router, option="--router")
    path = f"/2015-03-31/functions/{function}/invocations?Qualifier={qualifier}"
    connection = HTTPConnection(host, port, timeout=limit)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException) as error:
        raise Unavailable(
            f"the router at {router} does not answer: {error}", hint="is it running? hotswap up"
        ) from None
    finally:
        connection.close()
    return Answer(
        status=answer.status,
        version=answer.getheader("Hotswap-Version", ""),
        request_id=answer.getheader("Hotswap-Request-Id", ""),
        error=answer.getheader("X-Amz-Function-Error", ""),
        body=content,
    )


def _document(answer: Answer) -> output.Document:
    return {
        "statusCode": answer.status,
        "version": int(answer.version) if answer.version.isdigit() else None,
        "requestId": answer.request_id,
        "functionError": answer.error or None,
        **_payload(answer.body),
    }


def _payload(body: bytes) -> output.Document:
    """JSON as it is, text as text, anything else in base64."""
    try:
        return {"payload": json.loads(body)}
    except ValueError:
        pass
    try:
        return {"payload": body.decode()}
    except UnicodeDecodeError:
        return {"payload": base64.b64encode(body).decode(), "isBase64Encoded": True}


COMMANDS = (invoke,)
