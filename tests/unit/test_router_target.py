from http import HTTPStatus

import pytest

from router.problems import Problem
from router.target import Target, parse


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/fn/a", Target("a", "production", "/")),
        ("/fn/a/", Target("a", "production", "/")),
        ("/fn/a?x=1", Target("a", "production", "/?x=1")),
        ("/fn/a:staging/b//c%2F;d?e=?", Target("a", "staging", "/b//c%2F;d?e=?")),
        ("/fn/a:6", Target("a", "6", "/")),
        ("/fn/a:007", Target("a", "7", "/")),
        ("/fn/a%3A6/x", Target("a", "6", "/x")),
        ("/fn/a:/x", Target("a", "", "/x")),
        ("/fn/a/b/../c", Target("a", "production", "/b/../c")),
        ("/fn/a/%2e%2e%2e", Target("a", "production", "/%2e%2e%2e")),
        ("http://h:1/fn/a/b", Target("a", "production", "/b", authority="h:1")),
        ("/2015-03-31/functions/a/invocations", Target("a", "production", "", invoke=True)),
        ("/2015-03-31/functions/a/invocations?Qualifier=6", Target("a", "6", "", invoke=True)),
        ("/2015-03-31/functions/a/invocations?Qualifier=$LATEST", Target("a", "production", "", invoke=True)),
        ("/2015-03-31/functions/a%3Ablue/invocations", Target("a", "blue", "", invoke=True)),
        (
            "/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:a:blue/invocations",
            Target("a", "blue", "", invoke=True),
        ),
        ("/2015-03-31/functions/123456789012:function:a/invocations", Target("a", "production", "", invoke=True)),
    ],
)
def test_what_a_target_names(text: str, target: Target) -> None:
    assert parse(text, method="POST") == target


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("*", HTTPStatus.BAD_REQUEST),
        ("fn/a", HTTPStatus.BAD_REQUEST),
        ("/fn/a#b", HTTPStatus.BAD_REQUEST),
        ("/fn/a/\u00e9", HTTPStatus.BAD_REQUEST),
        ("/fn/a b", HTTPStatus.BAD_REQUEST),
        ("/fn/a/%00", HTTPStatus.BAD_REQUEST),
        ("/fn/a/%zz", HTTPStatus.BAD_REQUEST),
        ("/fn/a/..", HTTPStatus.BAD_REQUEST),
        ("/fn/a/b/../../c", HTTPStatus.BAD_REQUEST),
        ("/fn/a/%2e%2E/c", HTTPStatus.BAD_REQUEST),
        ("/fn/a/b%2f..%2f../c", HTTPStatus.BAD_REQUEST),
        ("/", HTTPStatus.NOT_FOUND),
        ("/other", HTTPStatus.NOT_FOUND),
    ],
)
def test_what_no_target_may_be(text: str, status: HTTPStatus) -> None:
    with pytest.raises(Problem) as refused:
        parse(text, method="GET")
    assert refused.value.status == status


def test_functions_are_invoked_by_post() -> None:
    with pytest.raises(Problem) as refused:
        parse("/2015-03-31/functions/a/invocations", method="GET")
    assert (refused.value.status, refused.value.fields) == (HTTPStatus.METHOD_NOT_ALLOWED, (("Allow", "POST"),))
