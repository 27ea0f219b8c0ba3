"""Unary calls: each has a limit, and ends with an answer or with an error of `hotswap.kv` that says what is wrong.

A call that may be repeated goes to the next member when one does not answer. A mutation does not: once it was sent,
only reading back can tell whether it was made.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

from hotswap.etcd import faults
from hotswap.etcd.auth import Login
from hotswap.etcd.connection import Connection, Members

CALL_LIMIT = 5.0
"""Seconds for a call with all its repetitions."""
TRIES = 2
"""A call that may be repeated gives each try this part of the time."""
RETRY_AFTER = 0.05
"""Seconds before a call is repeated."""

Q = TypeVar("Q")
A = TypeVar("A")
Method = Callable[[Connection], grpc.aio.UnaryUnaryMultiCallable[Q, A]]


class Calls:
    def __init__(self, members: Members, login: Login) -> None:
        self._members = members
        self._login = login

    async def repeatable(self, method: Method[Q, A], request: Q) -> A:
        ends = time.monotonic() + CALL_LIMIT
        while True:
            try:
                return await self._try(method, request, ends=ends, limit=CALL_LIMIT / TRIES)
            except faults.Ambiguous:
                if time.monotonic() + RETRY_AFTER >= ends:
                    raise
                await asyncio.sleep(RETRY_AFTER)

    async def once(self, method: Method[Q, A], request: Q) -> A:
        """Raises `faults.Ambiguous` when the request was sent and its answer did not come."""
        return await self._try(method, request, ends=time.monotonic() + CALL_LIMIT, limit=CALL_LIMIT)

    async def _try(self, method: Method[Q, A], request: Q, *, ends: float, limit: float) -> A:
        connection = await self._members.ready(max(0.0, ends - time.monotonic()))
        try:
            return await self._send(method, request, connection, min(limit, max(0.0, ends - time.monotonic())))
        except grpc.aio.AioRpcError as error:
            told = faults.translate(error, connection.endpoint)
            if not faults.may_pass(error):
                raise told from error
            self._members.distrust(connection)
            raise faults.Ambiguous(str(told)) from error

    async def _send(self, method: Method[Q, A], request: Q, connection: Connection, limit: float) -> A:
        """With a new token, once, if the one we have is refused: then nothing has been carried out."""
        metadata = await self._login.metadata(connection)
        try:
            return await method(connection)(request, metadata=metadata, timeout=limit)
        except grpc.aio.AioRpcError as error:
            if not metadata or not faults.token_is_stale(error):
                raise
        self._login.refused(metadata)
        metadata = await self._login.metadata(connection)
        return await method(connection)(request, metadata=metadata, timeout=limit)
