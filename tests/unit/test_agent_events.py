"""What a handler is given, and what is made of what it returns; by the conventions of AWS Lambda."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.answers import BadAnswer, answer_of, exception
from agent.runtime.events import INVOCATION_PATH, BadEvent, Request, event_of

JSON = {"content-type": "application/json"}
NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)


def request(
    path: str = "/a/b", query: str = "", body: bytes = b"", method: str = "GET", headers: dict[str, str] | None = None
) -> Request:
    given_headers = {"host": "example.org", **(headers or {})}
    return Request(method, path, query, list(given_headers.items()), body, "10.0.0.1")


def event(asked: Request) -> Any:
    return event_of(asked, function="echo", request_id="r-1", now=NOW)


def test_an_invocation_is_the_event_itself() -> None:
    assert event(request(INVOCATION_PATH, body=b'{"a": [1]}', method="POST")) == {"a": [1]}


def test_an_invocation_without_a_body_is_an_empty_event() -> None:
    assert event(request(INVOCATION_PATH, method="POST")) == {}


def test_an_invocation_that_is_no_json_is_refused() -> None:
    with pytest.raises(BadEvent, match="Could not parse request body into json"):
        event(request(INVOCATION_PATH, body=b"{", method="POST"))


def test_a_url_event_has_the_whole_request() -> None:
    headers = {
        "user-agent": "test",
        "cookie": "a=1; b=2",
        "x-forwarded-for": "192.0.2.7, 10.0.0.9",
        "x-forwarded-host": "fn.example.com",
    }
    found = event(request("/a%20b", "x=1&y=a%20b&x=2&z=", b"hello", "PUT", headers))
    assert found == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b",
        "rawQueryString": "x=1&y=a%20b&x=2&z=",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "host": "example.org",
            "user-agent": "test",
            "x-forwarded-for": "192.0.2.7, 10.0.0.9",
            "x-forwarded-host": "fn.example.com",
        },
        "queryStringParameters": {"x": "1,2", "y": "a b", "z": ""},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "echo",
            "domainName": "fn.example.com",
            "domainPrefix": "fn",
            "http": {
                "method": "PUT",
                "path": "/a%20b",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "test",
            },
            "requestId": "r-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Mar/2026:12:30:15 +0000",
            "timeEpoch": 1772368215250,
        },
        "body": "hello",
        "isBase64Encoded": False,
    }


def test_what_a_request_lacks_its_event_lacks() -> None:
    assert not {"body", "cookies", "queryStringParameters"} & set(event(request()))


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "encoded"),
    [
        ("", "", b"text", False),
        ("text/plain", "", b"text", False),
        ("application/json; charset=utf-8", "", b"{}", False),
        ("application/vnd.api+json", "", b"{}", False),
        ("application/x-www-form-urlencoded", "", b"a=1", False),
        ("image/png", "", b"\x89PNG", True),
        ("image/png", "", b"text", True),
        ("text/plain", "", b"\xff\xfe", True),
        ("text/plain", "gzip", b"text", True),
    ],
)
def test_a_body_that_is_no_text_is_base64(content_type: str, encoding: str, body: bytes, *, encoded: bool) -> None:
    headers = {"content-type": content_type} | ({"content-encoding": encoding} if encoding else {})
    found = event(request(body=body, method="POST", headers=headers))
    assert found["isBase64Encoded"] is encoded
    assert (base64.b64decode(found["body"]) if encoded else found["body"].encode()) == body


@given(body=st.binary(min_size=1), content_type=st.sampled_from(["", "text/plain", "image/png", "application/json"]))
def test_every_body_can_be_read_back_and_the_event_is_json(body: bytes, content_type: str) -> None:
    found = json.loads(json.dumps(event(request(body=body, method="POST", headers={"content-type": content_type}))))
    text = found["body"]
    assert (base64.b64decode(text) if found["isBase64Encoded"] else text.encode()) == body


@pytest.mark.parametrize(
    ("value", "status", "headers", "body"),
    [
        ({"a": 1}, 200, JSON, b'{"a": 1}'),
        ([1, None], 200, JSON, b"[1, null]"),
        (None, 200, JSON, b"null"),
        ("plain", 200, JSON, b"plain"),
        ({"statusCode": 404}, 404, JSON, b""),
        ({"statusCode": "201", "body": "x"}, 201, JSON, b"x"),
        ({"statusCode": 200, "body": {"a": 1}}, 200, JSON, b'{"a": 1}'),
        ({"statusCode": 200, "headers": {"Content-Type": "a/b"}, "body": "x"}, 200, {"Content-Type": "a/b"}, b"x"),
        (
            {"statusCode": 200, "body": "AP8=", "isBase64Encoded": True},
            200,
            {"content-type": "application/json"},
            b"\x00\xff",
        ),
        ({"statusCode": 204, "body": "dropped"}, 204, JSON, b""),
        ({"statusCode": 200, "headers": {"X-N": 5}}, 200, {"content-type": "application/json", "X-N": "5"}, b""),
        ({"statusCode": 200, "headers": {"Content-Length": "9"}}, 200, JSON, b""),
    ],
)
def test_an_answer_to_a_url(value: object, status: int, headers: dict[str, str], body: bytes) -> None:
    answer = answer_of(value, invocation=False)
    assert (answer.status, dict(answer.headers), answer.body) == (status, headers, body)


def test_cookies_and_repeated_headers_are_lines_of_their_own() -> None:
    value = {"statusCode": 200, "multiValueHeaders": {"x-a": ["1", "2"]}, "cookies": ["c=1", "d=2"]}
    lines = answer_of(value, invocation=False).lines()
    assert [line for line in lines if line[0] in {b"x-a", b"set-cookie"}] == [
        (b"x-a", b"1"),
        (b"x-a", b"2"),
        (b"set-cookie", b"c=1"),
        (b"set-cookie", b"d=2"),
    ]


def test_an_invocation_is_answered_by_the_value_whatever_it_is() -> None:
    for value in ({"statusCode": 404}, "plain", None, 5):
        answer = answer_of(value, invocation=True)
        assert (answer.status, json.loads(answer.body)) == (200, value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "the returned value is not JSON"),
        ({"statusCode": "many"}, "statusCode is 'many'; it must be a number"),
        ({"statusCode": 99}, "it must be 200 to 599"),
        ({"statusCode": 200, "headers": {"a": "b\r\nc: d"}}, "the header 'a' cannot be sent"),
        ({"statusCode": 200, "headers": {"a b": "c"}}, "the header 'a b' cannot be sent"),
        ({"statusCode": 200, "headers": [1]}, "headers is [1]; it must be a dict"),
        ({"statusCode": 200, "body": "???", "isBase64Encoded": True}, "the body is not base64"),
    ],
)
def test_what_cannot_be_answered_is_told(value: object, said: str) -> None:
    with pytest.raises(BadAnswer) as error:
        answer_of(value, invocation=False)
    assert said in str(error.value)


def test_an_exception_is_told_as_lambda_does() -> None:
    try:
        raise KeyError("picture")  # noqa: TRY301
    except KeyError as error:
        answer = exception(error, invocation=True)
    told = json.loads(answer.body)
    assert answer.status == 500
    assert dict(answer.headers)["hotswap-error"] == "exception"
    assert (told["errorType"], told["errorMessage"]) == ("KeyError", "'picture'")
    assert 'raise KeyError("picture")' in told["stackTrace"][0]
