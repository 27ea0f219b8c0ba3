"""What a failed call means: whether it may pass, whether a new token would help, what to tell the caller.

etcd's statuses are coarse, and some of its faults share one; where they do, the text decides.
"""

import grpc

from hotswap import kv

STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "auth: revision in header is old")
"""The last is what 3.5.1 makes of the second on a range."""
LEASE_NOT_FOUND = "requested lease not found"
COMPACTED = "has been compacted"

PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED,
}
"""Faults of a connection or of a member. A request that was answered so may have been carried out all the same."""


class Ambiguous(kv.Unreachable):
    """A request that may have been carried out, and must not be repeated."""


class Compacted(kv.KVError):
    """The revision that was asked for is not kept any more."""


class Interrupted(kv.KVError):
    """A stream ended, or fell silent."""


def token_is_stale(error: grpc.aio.AioRpcError) -> bool:
    """The request was refused before it was carried out, and would not be with a new token."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAUTHENTICATED or any(text in details for text in STALE_TOKEN)


def may_pass(error: grpc.aio.AioRpcError) -> bool:
    return error.code() in PASSING and not token_is_stale(error)


def explain(error: grpc.aio.AioRpcError) -> str:
    return (error.details() or error.code().name).removeprefix("etcdserver: ")


def translate(error: grpc.aio.AioRpcError, endpoint: str) -> kv.KVError:
    """What the caller is told."""
    reason = explain(error)
    if LEASE_NOT_FOUND in reason:
        return kv.LeaseLost("the lease is gone: it ran out or was revoked")
    if COMPACTED in reason:
        return Compacted(reason)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return kv.Unreachable(f"etcd at {endpoint} does not answer in time")
    verb = "does not answer" if may_pass(error) else "refuses"
    return kv.Unreachable(f"etcd at {endpoint} {verb}: {reason}", hint=_hint(reason))


def _hint(reason: str) -> str:
    match reason:
        case "user name is empty" | "authentication failed, invalid user ID or password" | "permission denied":
            return "check the user and the password for etcd, and the roles of that user"
        case "mvcc: database space exceeded":
            return "compact and defragment etcd, then disarm its alarm: etcdctl alarm disarm"
        case _:
            return ""
