"""What is signed and sent, who wants it, and how long is waited before another attempt."""

import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import webhook
from controller.courier import FIRST_PAUSE, LONGEST_PAUSE, pause
from hotswap.deployment import Status
from hotswap.errors import Invalid
from hotswap.hook import Hook, check_name, check_url
from hotswap.notice import Notice

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"
MOMENT = datetime(2025, 11, 24, 8, 40, 27, 120_000, tzinfo=UTC)
NOTICE = Notice(
    deployment="d-1f2e3d4c",
    number=12,
    function="image-processor",
    alias="production",
    version=6,
    previous_status=Status.RUNNING,
    status=Status.ROLLING_BACK,
    reason="error rate 20.4 % (51 of 250) is over the limit of 5 %",
    at=MOMENT,
)
SECRET = "5ecret"


def hook(*, functions: list[str] | None = None, statuses: list[Status] | None = None, disabled: str = "") -> Hook:
    return Hook(
        name="team",
        url="http://localhost",
        secret=SECRET,
        functions=functions or [],
        statuses=statuses or [],
        created=MOMENT,
        disabled=disabled,
    )


def page(kind: str) -> str:
    """The one block of this kind on the page."""
    [block] = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def verify() -> Any:
    """The function that the page gives to users."""
    names: dict[str, Any] = {}
    exec(page("python"), names)
    return names["verify"]


def test_the_body_is_the_one_that_the_page_shows() -> None:
    assert json.loads(webhook.body(NOTICE)) == json.loads(page("json"))


def test_the_signature_is_the_hmac_of_timestamp_and_body() -> None:
    expected = hmac.new(b"key", b"1763973627.{}", hashlib.sha256).hexdigest()
    assert webhook.signature("key", "1763973627", b"{}") == expected
    assert webhook.headers("d-1/2", b"{}", secret="key", at=datetime.fromtimestamp(1763973627, UTC)) == {
        "Content-Type": "application/json",
        "User-Agent": "hotswap",
        "Hotswap-Notice": "d-1/2",
        "Hotswap-Timestamp": "1763973627",
        "Hotswap-Signature": f"v1={expected}",
    }


def test_the_pages_example_takes_what_is_sent_and_nothing_else() -> None:
    content, now = webhook.body(NOTICE), datetime.now(UTC)
    headers = webhook.headers(NOTICE.id, content, secret=SECRET, at=now)
    check = verify()
    assert check(SECRET, headers, content)
    assert not check("another", headers, content)
    assert not check(SECRET, headers, content + b" ")
    assert not check(SECRET, {**headers, "Hotswap-Timestamp": str(int(time.time()) - 1)}, content)
    old = webhook.headers(NOTICE.id, content, secret=SECRET, at=MOMENT)
    assert not check(SECRET, old, content)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (hook(), True),
        (hook(functions=["image-processor", "hello"]), True),
        (hook(functions=["hello"]), False),
        (hook(statuses=[Status.ROLLING_BACK]), True),
        (hook(statuses=[Status.SUCCEEDED, Status.FAILED]), False),
        (hook(functions=["image-processor"], statuses=[Status.FAILED]), False),
        (hook(disabled="its receiver answered 410 Gone"), False),
    ],
)
def test_a_hook_wants_what_all_of_its_filters_let_through(*, made: Hook, wanted: bool) -> None:
    assert made.wants(NOTICE) is wanted


@given(failures=st.integers(1, 10_000), seed=st.integers())
def test_a_pause_doubles_up_to_its_limit_and_half_of_it_is_chance(failures: int, seed: int) -> None:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 20))
    assert longest / 2 <= pause(failures, Random(seed)) <= longest


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/a?b=c", "https://example.org", "http://[::1]:80/", "https://10.0.0.1/hook"]
)
def test_a_url_of_http_is_taken(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/hook",
        "ftp://example.org",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://example.org:port/",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://[::1/",
        "http://example.org/a b",
        "http://example.org/\n",
        "http://ada:secret@example.org/",
        "http://@example.org/",
        "http://example.org/#there",
        "http://example.org/" + "x" * 2_000,
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match=r"URL"):
        check_url(url)


@pytest.mark.parametrize("name", ["", "Team", "a/b", "-a", "a-", "x" * 64])
def test_a_name_that_would_not_be_one_part_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="not a name for a hook"):
        check_name(name)
