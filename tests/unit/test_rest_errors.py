"""Which status each kind of error has, and what is told of it."""

import inspect
import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.rest import problems
from hotswap import errors

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.HotswapError) and kind is not errors.HotswapError
]


def told(error: BaseException) -> tuple[problems.Rendered, Any]:
    rendered = problems.rendered(error, instance="/api/v1/functions", request_id="1")
    return rendered, json.loads(rendered.body)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_has_a_status_that_blames_the_right_side(kind: type[errors.HotswapError]) -> None:
    rendered, document = told(kind("what was wrong", hint="what to do"))
    assert rendered.status == document["status"] != HTTPStatus.INTERNAL_SERVER_ERROR
    assert (document["detail"], document["hint"]) == ("what was wrong", "what to do")
    assert ("Retry-After" in rendered.headers) == (rendered.status == HTTPStatus.SERVICE_UNAVAILABLE)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (errors.Invalid("x"), True),
        (errors.Refused("x"), True),
        (errors.Outdated("x"), True),
        (errors.Conflict("x"), False),
        (errors.Unavailable("x"), False),
        (RuntimeError("x"), False),
    ],
)
def test_what_may_be_answered_otherwise_later_is_not_final(error: Exception, *, final: bool) -> None:
    assert told(error)[0].final is final


def test_of_a_fault_of_ours_nothing_is_told_but_that_it_happened() -> None:
    for error in (RuntimeError("a secret"), errors.HotswapError("a secret", hint="a secret")):
        rendered, _ = told(error)
        assert rendered.status == HTTPStatus.INTERNAL_SERVER_ERROR
        assert b"secret" not in rendered.body


@given(st.text())
def test_any_text_can_be_told(text: str) -> None:
    broken = text + "\udcff"
    assert told(errors.Invalid(broken, hint=broken))[1]["detail"] == text + "?"
