"""What an answer of a function counts as, and what is answered in its place."""

from dataclasses import replace
from http import HTTPStatus
from typing import Final

from hotswap.metrics import Count
from router.codec.responses import Head
from router.problems import Problem


def judge(head: Head, *, invoke: bool) -> tuple[Head, Count]:
    """What the answer counts as, and how it is told.

    An exception is a 500; but to a caller of Lambda's Invoke it is a 200 that says so, since a 5xx there means the
    platform, and would be sent again.
    """
    if head.raised:
        if invoke:
            told = head.lines + b"\r\nX-Amz-Function-Error: Unhandled"
            head = replace(head, status=HTTPStatus.OK, start=b"HTTP/1.1 200 OK", lines=told)
        return head, Count.EXCEPTION
    if head.status < HTTPStatus.BAD_REQUEST:
        return head, Count.OK
    return head, Count.CLIENT_ERROR if head.status < HTTPStatus.INTERNAL_SERVER_ERROR else Count.STATUS


ERROR: Final = "Hotswap-Error"
"""Tells apart what became of an invocation, where nothing but the status would; no function can say it."""


def died(name: str, error: Exception) -> Problem:
    detail = f"an instance of {name} broke the connection before it had answered: {error}"
    return Problem(HTTPStatus.BAD_GATEWAY, detail, outcome=Count.DIED, fields=((ERROR, "died"),))


def unreachable(name: str, error: Exception) -> Problem:
    detail = f"no instance of {name} can be reached: {error}"
    return Problem(HTTPStatus.BAD_GATEWAY, detail, outcome=Count.PLATFORM)


def late(name: str, seconds: float) -> Problem:
    detail = f"{name} did not answer within its limit of {seconds:g} s"
    return Problem(HTTPStatus.GATEWAY_TIMEOUT, detail, outcome=Count.TIMEOUT, fields=((ERROR, "timeout"),))
