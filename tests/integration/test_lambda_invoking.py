"""Invocations by boto3 and by the `aws` command, and a handler that was written for Lambda."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import eventually
from tests.integration.test_lambda_functions import create
from tests.lambda_client import ECHO, Lambda, client_at, zipped

HANDLER = """
import json, logging, os, time

logger = logging.getLogger()
logger.setLevel(logging.INFO)

class OrderRefused(Exception):
    pass

def lambda_handler(event, context):
    print("remaining", context.get_remaining_time_in_millis() > 0)
    if "refuse" in event:
        raise OrderRefused(event["refuse"])
    path = f"/tmp/{context.aws_request_id}.json"
    with open(path, "w") as file:
        json.dump(event, file)
    with open(path) as file:
        stored = json.load(file)
    os.remove(path)
    return {
        "stored": stored,
        "table": os.environ["TABLE_NAME"],
        "region": os.environ["AWS_REGION"],
        "name": [context.function_name, os.environ["AWS_LAMBDA_FUNCTION_NAME"]],
        "version": [context.function_version, os.environ["AWS_LAMBDA_FUNCTION_VERSION"]],
        "memory": [context.memory_limit_in_mb, int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])],
        "handler": os.environ["_HANDLER"],
        "here": os.path.exists(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "shop", "orders.py")),
        "arn": context.invoked_function_arn,
        "zone": time.strftime("%Z"),
        "identity": context.identity.cognito_identity_id,
        "custom": context.client_context.custom if context.client_context else None,
        "title": context.client_context.client.app_title if context.client_context else None,
    }
"""
CONTEXT = {"custom": {"tenant": "a"}, "env": {"locale": "de"}, "client": {"app_title": "shop"}}
FLAKY = """
import os

def handler(event, context):
    path = event["path"]
    with open(path, "a") as file:
        file.write(context.aws_request_id + "\\n")
"""


@pytest.fixture
def order(client: Any, fn: str) -> str:
    code = zipped({"shop/orders.py": HANDLER})
    create(client, fn, Handler="shop/orders.lambda_handler", Code={"ZipFile": code}, MemorySize=192,
           Environment={"Variables": {"TABLE_NAME": "orders"}})  # fmt: skip
    return fn


def encoded(document: Any) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def test_a_handler_that_was_written_for_lambda_runs_unchanged(client: Any, order: str) -> None:
    answer = client.invoke(
        FunctionName=order, Payload=json.dumps({"id": 4711}).encode(), ClientContext=encoded(CONTEXT)
    )
    assert (answer["StatusCode"], answer["ExecutedVersion"], "FunctionError" in answer) == (200, "1", False)
    assert json.loads(answer["Payload"].read()) == {
        "stored": {"id": 4711},
        "table": "orders",
        "region": "us-east-1",
        "name": [order, order],
        "version": ["1", "1"],
        "memory": [192, 192],
        "handler": "shop.orders.lambda_handler",
        "here": True,
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{order}:1",
        "zone": "UTC",
        "identity": None,
        "custom": {"tenant": "a"},
        "title": "shop",
    }


def test_an_exception_is_told_as_lambda_tells_it_with_the_end_of_the_output(client: Any, order: str) -> None:
    answer = client.invoke(FunctionName=order, Payload=b'{"refuse": "sold out"}', LogType="Tail")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    told = json.loads(answer["Payload"].read())
    assert (told["errorMessage"], told["errorType"]) == ("sold out", "OrderRefused")
    assert "orders.py" in told["stackTrace"][0]
    log = base64.b64decode(answer["LogResult"]).decode()
    request = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    lines = log.splitlines()
    assert lines[0] == f"START RequestId: {request} Version: 1"
    assert lines[1] == "remaining True"
    assert "shop.orders.OrderRefused: sold out" in lines
    assert lines[-2] == f"END RequestId: {request}"
    assert lines[-1].startswith(f"REPORT RequestId: {request}\tDuration: ")


def test_a_tail_has_the_last_4_kib_and_nothing_of_other_invocations(client: Any, fn: str) -> None:
    create(client, fn, "def handler(event, context):\n    print('x' * 9000 + event)\n")
    client.invoke(FunctionName=fn, Payload=b'"first"')
    log = base64.b64decode(client.invoke(FunctionName=fn, Payload=b'"second"', LogType="Tail")["LogResult"])
    assert len(log) == 4096
    assert b"xsecond\n" in log
    assert b"first" not in log


def test_an_instance_that_dies_or_is_late_is_an_error_of_the_function(client: Any, fn: str) -> None:
    code = "import os, time\ndef handler(event, context):\n    os._exit(3) if event['die'] else time.sleep(600)\n"
    for event, kind in ((b'{"die": true}', "Runtime.ExitError"), (b'{"die": false}', "Sandbox.Timedout")):
        function = f"{fn}-{kind[0].lower()}"
        create(client, function, code, Timeout=1)
        answer = client.invoke(FunctionName=function, Payload=event)
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert json.loads(answer["Payload"].read())["errorType"] == kind


def test_names_may_be_arns_or_parts_of_them(client: Any, fn: str) -> None:
    made = create(client, fn, Publish=True)
    for name in (fn, f"{fn}:$LATEST", made["FunctionArn"], f"000000000000:function:{fn}", f"function:{fn}:1"):
        assert client.invoke(FunctionName=name)["ExecutedVersion"] == "1"
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="derived qualifier"):
        client.invoke(FunctionName=made["FunctionArn"], Qualifier="live")


def test_what_cannot_be_invoked_says_why(client: Any, fn: str) -> None:
    for kind in ("RequestResponse", "Event", "DryRun"):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName=fn, InvocationType=kind)
    create(client, fn)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName=fn, Qualifier="7")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName=fn, Payload=b"{not json")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName=fn, ClientContext="bm90IGpzb24=")
    assert client.invoke(FunctionName=fn, InvocationType="DryRun")["StatusCode"] == 204


def test_a_version_that_no_alias_names_is_invoked_by_its_number(lambdas: Lambda, client: Any, fn: str) -> None:
    create(client, fn)
    client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO + "# 2"))
    for asked in (client, client_at(f"http://{lambdas.router}", key_id="any", secret="any")):
        answer = asked.invoke(FunctionName=fn, Qualifier="1", Payload=b'"old"')
        assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "1")
        assert json.loads(answer["Payload"].read())["event"] == "old"
    assert client.invoke(FunctionName=fn)["ExecutedVersion"] == "2"
    client.delete_function(FunctionName=fn, Qualifier="1")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=fn, Qualifier="1")


def test_payloads_have_limits(client: Any, fn: str) -> None:
    create(client, fn)
    for kind, size in (("RequestResponse", 6 << 20), ("Event", 256 << 10)):
        with pytest.raises(client.exceptions.RequestTooLargeException):
            client.invoke(FunctionName=fn, InvocationType=kind, Payload=b'"' + b"x" * size + b'"')
    large = b'"' + b"x" * ((6 << 20) - 2) + b'"'
    code = "def handler(event, context):\n    return len(event)\n"
    client.update_function_code(FunctionName=fn, ZipFile=zipped(code))
    assert client.invoke(FunctionName=fn, Payload=large)["Payload"].read() == b"6291454"


async def test_an_event_is_taken_at_once_and_run(client: Any, fn: str, tmp_path: Path) -> None:
    create(client, fn, FLAKY)
    path = tmp_path / "ran"
    answer = client.invoke(FunctionName=fn, InvocationType="Event", Payload=json.dumps({"path": str(path)}).encode())
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    request = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    await eventually(lambda: path.exists() and path.read_text() == f"{request}\n")


def test_a_router_takes_the_same_invocations(lambdas: Lambda, client: Any, fn: str) -> None:
    create(client, fn)
    client.create_alias(FunctionName=fn, Name="live", FunctionVersion="1")
    router = client_at(f"http://{lambdas.router}", key_id="unused", secret="unused")
    answer = router.invoke(FunctionName=fn, Qualifier="live", Payload=b"{}", LogType="Tail")
    assert answer["ExecutedVersion"] == "1"
    assert b"saw {}" in base64.b64decode(answer["LogResult"])


def test_the_aws_command_runs_a_session(lambdas: Lambda, fn: str, tmp_path: Path) -> None:
    def aws(*arguments: str) -> Any:
        done = lambdas.aws(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    (tmp_path / "one.zip").write_bytes(zipped(ECHO))
    (tmp_path / "two.zip").write_bytes(zipped(ECHO + "# 2"))
    named = ("--function-name", fn)
    aws("create-function", *named, "--runtime", "python3.12", "--role", "arn:aws:iam::123456789012:role/r",
        "--handler", "app.handler", "--zip-file", "fileb://one.zip")  # fmt: skip
    told = aws("invoke", *named, "--payload", '{"a": 1}', "out.json")
    assert (told["StatusCode"], told["ExecutedVersion"]) == (200, "1")
    assert json.loads((tmp_path / "out.json").read_text())["event"] == {"a": 1}
    aws("create-alias", *named, "--name", "live", "--function-version", "1")
    aws("update-function-code", *named, "--zip-file", "fileb://two.zip")
    assert aws("publish-version", *named)["Version"] == "2"
    moved = aws("update-alias", *named, "--name", "live", "--routing-config", "AdditionalVersionWeights={2=0.05}")
    assert moved["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.05}}
    aws("delete-function", *named)
    gone = lambdas.aws("get-function", *named, cwd=tmp_path)
    assert "ResourceNotFoundException" in gone.stderr
    assert gone.returncode != 0
