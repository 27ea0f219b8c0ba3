"""What a request's target names: the function, the qualifier, and what of the target reaches the function.

    /fn/{function}[:{alias|version}][/rest][?query]                              any method
    /2015-03-31/functions/{function}/invocations[?Qualifier={alias|version}]      POST: AWS Lambda's Invoke

The rest and the query reach the function byte for byte. Only a copy is decoded and normalised, to find the function and
to see that the rest does not climb out of it.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, unquote

from hotswap.model import DEFAULT_ALIAS, Kind
from router.fields import AUTHORITY
from router.problems import Problem, malformed
from router.table import Missing

FUNCTIONS: Final = "/fn/"
INVOKE: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
ARN: Final = re.compile(r"(?:arn:[^:]*:lambda:[^:]*:[^:]*:|[0-9]*:)function:(.+)")
"""Lambda's Invoke takes the name, the full ARN or a part of it."""
INVOKE_TARGET: Final = "/2015-03-31/functions/function/invocations"
LATEST: Final = "$LATEST"
"""Lambda's name for what is invoked without a qualifier."""
ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
"""RFC 9112 section 3.2.2."""
FORBIDDEN: Final = re.compile(r"[^\x21-\x7e]|#")
"""RFC 3986 section 2: a target is of visible ASCII, and a fragment is never sent."""
BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
DIGITS: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Target:
    function: str
    qualifier: str
    """An alias, or the number of a version."""
    rest: str
    """What the function sees; for an invoke nothing, since its kind decides."""
    invoke: bool = False
    authority: str | None = None
    """Of a target in absolute form: it replaces Host."""


def parse(text: str, *, method: str) -> Target:
    """Raises `Problem`: 400 for what no target may be, 404 for one that names no function."""
    authority = None
    if absolute := ABSOLUTE.match(text):
        authority, text = absolute[1], text[absolute.end() :] or "/"
        if not authority or not AUTHORITY.fullmatch(authority.encode("latin-1")):
            raise malformed("the request target has no host with an optional port")
    if not text.startswith("/") or FORBIDDEN.search(text):
        raise malformed("the request target is not a path of visible ASCII characters")
    path, mark, query = text.partition("?")
    if BAD_ESCAPE.search(path):
        raise malformed("the path has an escape that stands for nothing, or for NUL")
    if path.startswith(FUNCTIONS):
        named, _, rest = path.removeprefix(FUNCTIONS).partition("/")
        _check_rest(rest)
        function, qualifier = _qualifier(unquote(named))
        return Target(function, qualifier, f"/{rest}{mark}{query}", authority=authority)
    if invoke := INVOKE.fullmatch(path):
        if method != "POST":
            allow = (("Allow", "POST"),)
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "functions are invoked here by POST", fields=allow)
        return _invoke(unquote(invoke[1]), query, authority)
    raise Problem(
        HTTPStatus.NOT_FOUND, f"functions are at {FUNCTIONS}NAME, {FUNCTIONS}NAME:ALIAS and {FUNCTIONS}NAME:VERSION"
    )


def of_invoke(kind: Kind) -> str:
    """What an instance is asked for: one of the kind `handler` takes the event itself; others are posted to."""
    return INVOKE_TARGET if kind is Kind.HANDLER else "/"


def not_found(missing: Missing, named: Target) -> Problem:
    told = (("X-Amzn-ErrorType", "ResourceNotFoundException"),) if named.invoke else ()
    return Problem(HTTPStatus.NOT_FOUND, str(missing), exists=missing.exists, fields=told)


def check_invocation_type(kind: bytes | None) -> None:
    """Of Lambda's three ways to invoke the router knows the one that waits for the answer. Raises `Problem`."""
    if kind is not None and kind.lower() != b"requestresponse":
        detail = f'invocations of the type "{kind.decode("ascii", "replace")}" are not taken; use RequestResponse'
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, detail)


def _invoke(named: str, query: str, authority: str | None) -> Target:
    arn = ARN.fullmatch(named)
    function, qualifier = _qualifier(arn[1] if arn else named)
    asked = parse_qs(query).get("Qualifier", [""])[-1]
    if asked and asked != LATEST:
        _, qualifier = _qualifier(f"{function}:{asked}")
    return Target(function, qualifier, "", invoke=True, authority=authority)


def _qualifier(text: str) -> tuple[str, str]:
    """Names are not checked: one that cannot exist does not exist."""
    function, colon, qualifier = text.partition(":")
    if DIGITS.fullmatch(qualifier):
        qualifier = str(int(qualifier))
    return function, qualifier if colon else DEFAULT_ALIAS


def _check_rest(rest: str) -> None:
    """RFC 3986 section 5.2.4, on a decoded copy: dot segments must not lead out of the function."""
    if "." not in rest and "%" not in rest:
        return
    depth = 0
    for segment in unquote(rest).split("/"):
        depth += {"..": -1, ".": 0}.get(segment, 1)
        if depth < 0:
            raise malformed("the path leads out of the function")
