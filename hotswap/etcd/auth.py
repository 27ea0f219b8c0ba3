"""The token that etcd wants with each request where its authentication is on.

A token ends with its time to live and with a restart of etcd, so it is asked for again when it is refused. One
Authenticate costs etcd about 100 ms of hashing: callers that need one at the same time share it.
"""

import asyncio

import grpc

from hotswap.etcd.connection import Connection
from hotswap.etcd.wire.rpc_pb2 import AuthenticateRequest
from hotswap.settings import EtcdSettings

LOGIN_LIMIT = 5.0
"""Seconds for one Authenticate."""
NOT_ENABLED = "authentication is not enabled"

Metadata = tuple[tuple[str, str], ...]

HAS_LEADER: Metadata = (("hasleader", "true"),)
"""Ends a stream whose member has lost the cluster, instead of leaving it silent."""


class Login:
    def __init__(self, settings: EtcdSettings) -> None:
        self._user = settings.user
        self._password = settings.password
        self._token: str | None = None
        self._asking = asyncio.Lock()

    async def metadata(self, connection: Connection) -> Metadata:
        """What goes with a request; raises `AioRpcError` if etcd does not let the user in, or does not answer."""
        if not self._user:
            return ()
        async with self._asking:
            if self._token is None:
                self._token = await self._authenticate(connection)
        return (("token", self._token),) if self._token else ()

    def refused(self, metadata: Metadata) -> None:
        """A request with these was refused; unless they have been replaced meanwhile, they are not used again."""
        if metadata == (("token", self._token),):
            self.forget()

    def forget(self) -> None:
        """The next request begins with a new token."""
        self._token = None

    async def _authenticate(self, connection: Connection) -> str:
        """Empty where authentication is off."""
        request = AuthenticateRequest(name=self._user, password=self._password)
        try:
            return (await connection.auth.Authenticate(request, timeout=LOGIN_LIMIT)).token
        except grpc.aio.AioRpcError as error:
            if NOT_ENABLED in (error.details() or ""):
                return ""
            raise
