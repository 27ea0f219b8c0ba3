"""Signatures: AWS's own example, and whatever botocore signs, is taken; whatever is changed afterwards is not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from controller.api.aws import sigv4
from controller.api.aws.faults import Fault

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
"""Of `get-vanilla` in AWS's test suite for Signature Version 4."""
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def signed(
    target: str = "/2015-03-31/functions",
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes = b"",
    at: datetime = NOW,
) -> sigv4.Signed:
    """As botocore signs it."""
    request = AWSRequest(method=method, url=f"http://127.0.0.1:7071{target}", data=body, headers=headers or {})
    request.headers["Host"] = "127.0.0.1:7071"
    with patch.object(botocore.auth, "get_current_datetime", return_value=at.replace(tzinfo=None)):
        SigV4Auth(Credentials(KEY, SECRET), "lambda", "eu-west-1").add_auth(request)
    return sigv4.Signed(method, target, list(request.headers.items()), body)


def verify(request: sigv4.Signed, *, secret: str = SECRET, now: datetime = NOW) -> None:
    shown = sigv4.read(dict(request.headers)["Authorization"])
    sigv4.verify(request, shown, secret=secret, now=now)


def refusal(request: sigv4.Signed, *, secret: str = SECRET, now: datetime = NOW) -> Fault:
    with pytest.raises(Fault) as refused:
        verify(request, secret=secret, now=now)
    return refused.value


def test_the_example_of_awss_test_suite() -> None:
    headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")]
    request = sigv4.Signed("GET", "/", headers, b"")
    shown = sigv4.Shown(KEY, "20150830", "us-east-1", "service", ("host", "x-amz-date"), VANILLA)
    assert sigv4.signature(request, shown, stamp="20150830T123600Z", secret=SECRET) == VANILLA


@example(parts=[], query=[("a", "1"), ("a-", "2"), ("a", "0")], body=b"", value="  two   blanks ")
@example(parts=["..", ".", "%", "a:b"], query=[], body=b"{}", value="")
@given(
    parts=st.lists(TEXT.filter(bool), max_size=3),
    query=st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4),
    body=st.binary(max_size=64),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
)
def test_what_botocore_signs_is_taken(parts: list[str], query: list[tuple[str, str]], body: bytes, value: str) -> None:
    path = "/".join(["", "2015-03-31", *(quote(part, safe="-_.~") for part in parts)])
    pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(one, safe='-_.~')}" for name, one in query)
    verify(signed(f"{path}?{pairs}" if pairs else path, {"X-Amz-Meta": value}, method="POST", body=body))


def test_whatever_is_changed_after_signing_is_refused() -> None:
    request = signed("/2015-03-31/functions/f/invocations?Qualifier=live", method="POST", body=b"{}")
    verify(request)
    date = [(name, "20261124T120001Z" if name == "X-Amz-Date" else value) for name, value in request.headers]
    for changed in (
        replace(request, method="PUT"),
        replace(request, target="/2015-03-31/functions/g/invocations?Qualifier=live"),
        replace(request, target="/2015-03-31/functions/f/invocations?Qualifier=next"),
        replace(request, body=b"[]"),
        replace(request, headers=date),
    ):
        fault = refusal(changed)
        assert (fault.code, fault.status) == ("InvalidSignatureException", 403)
    assert refusal(request, secret=SECRET + "x").code == "InvalidSignatureException"


def test_a_signature_holds_for_15_minutes_either_way() -> None:
    for off in (timedelta(minutes=15), timedelta(minutes=-15)):
        verify(signed(at=NOW + off))
    assert "Signature expired" in refusal(signed(at=NOW - timedelta(minutes=15, seconds=1))).message
    assert "not yet current" in refusal(signed(at=NOW + timedelta(minutes=15, seconds=1))).message


def test_a_payload_has_to_be_signed() -> None:
    headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert "payload is not signed" in refusal(signed(headers=headers, method="POST", body=b"{}")).message


def test_headers_that_mean_something_have_to_be_signed() -> None:
    request = signed()
    added = replace(request, headers=[*request.headers, ("X-Amz-Invocation-Type", "Event")])
    assert "'x-amz-invocation-type' must be a 'SignedHeader'" in refusal(added).message
    twice = replace(request, headers=[*request.headers, ("X-Amz-Date", "20261124T120000Z")])
    assert refusal(twice).code == "IncompleteSignatureException"


def test_a_signature_for_another_service_or_day_is_none() -> None:
    request = signed()
    for before, after in (("/lambda/", "/s3/"), ("/20261124/", "/20261123/")):
        told = [(name, value.replace(before, after)) for name, value in request.headers]
        assert refusal(replace(request, headers=told)).code == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("authorization", "code", "status"),
    [
        ("", "MissingAuthenticationTokenException", 403),
        ("AWS4-HMAC-SHA256 Credential=AKID", "IncompleteSignatureException", 400),
        ("AWS4-ECDSA-P256-SHA256 Credential=AKID", "IncompleteSignatureException", 400),
        ("Bearer hs_1", "IncompleteSignatureException", 400),
    ],
)
def test_what_is_no_signature_says_so(authorization: str, code: str, status: int) -> None:
    with pytest.raises(Fault) as refused:
        sigv4.read(authorization)
    assert (refused.value.code, refused.value.status) == (code, status)
