"""Connections to the members of an etcd cluster, of which the first that is up is used.

Each member has a gRPC channel of its own, because only so does TLS verify each by its own name. Whether a member is
up is asked of the channel before each call; a call that is sent anyway may or may not have arrived when it fails.

The state of a channel is polled while none is up, since a wait for its change cannot be cancelled in grpc.aio without
leaving the core a pointer to a waiter that is gone.
"""

import asyncio
from pathlib import Path

import grpc

from hotswap import kv
from hotswap.errors import Invalid
from hotswap.etcd.wire.rpc_pb2 import RangeRequest
from hotswap.etcd.wire.rpc_pb2_grpc import AuthStub, KVStub, LeaseStub, WatchStub
from hotswap.settings import EtcdSettings

OPTIONS = (
    # A member that hangs is noticed in 15 s. At more pings than one in 5 s, or pings while no call runs, etcd hangs up.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # A member that is back is reached within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # in spite of its name the limit of one attempt to connect
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A range may be as large as it is, and nothing is ever sent twice behind our back.
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    # Connections are not shared with another set of members, and never go through a proxy of the environment's.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)

POLL = 0.02
"""Seconds between two looks at the channels while none is up."""
REASON_LIMIT = 0.5
"""Seconds that may be spent to find out why none is up."""


class Connection:
    """A channel to one member, with its stubs."""

    def __init__(self, endpoint: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.endpoint = endpoint
        self.channel = (
            grpc.aio.secure_channel(endpoint, credentials, options=OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(endpoint, options=OPTIONS)
        )
        self.kv = KVStub(self.channel)
        self.watch = WatchStub(self.channel)
        self.lease = LeaseStub(self.channel)
        self.auth = AuthStub(self.channel)

    @property
    def up(self) -> bool:
        """Asking also makes the channel connect where it does not."""
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY


class Members:
    """One connection to each member of the cluster."""

    def __init__(self, endpoints: tuple[str, ...], credentials: grpc.ChannelCredentials | None) -> None:
        self._connections = [Connection(endpoint, credentials) for endpoint in endpoints]
        """The one that is tried first is in front."""
        self._closed = False

    def __str__(self) -> str:
        return ", ".join(sorted(connection.endpoint for connection in self._connections))

    async def ready(self, limit: float) -> Connection:
        """The first member that is up, or is within `limit` seconds; raises `kv.Unreachable` that says why not."""
        if found := self._first_up():
            return found
        try:
            async with asyncio.timeout(limit):
                while True:
                    if found := self._first_up():
                        return found
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise kv.Unreachable(
                f"etcd at {self} does not answer: {await self._reason()}",
                hint="is it running, and is its address right?",
            ) from None

    def distrust(self, connection: Connection) -> None:
        """Try the others before this one, which is up but did not do what it was asked."""
        if self._connections[0] is connection:
            self._connections.append(self._connections.pop(0))

    async def close(self) -> None:
        self._closed = True
        for connection in self._connections:
            await connection.channel.close(grace=None)

    def _first_up(self) -> Connection | None:
        if self._closed:
            raise kv.Unreachable("the connection to etcd has been closed")
        if self._connections[0].up:
            return self._connections[0]
        up = [connection for connection in self._connections if connection.up]  # all, so that all connect
        return up[0] if up else None

    async def _reason(self) -> str:
        """What grpc says about the first member: a call tells it, the state of a channel does not."""
        try:
            await self._connections[0].kv.Range(RangeRequest(key=b"\0"), timeout=REASON_LIMIT)
        except grpc.aio.AioRpcError as error:
            return error.details() or error.code().name
        return "it was slow to connect"


def credentials(settings: EtcdSettings) -> grpc.ChannelCredentials | None:
    """For TLS, where a certificate authority is given; raises `Invalid` that names the file that cannot be read."""
    if not settings.ca:
        if settings.cert or settings.key:
            raise Invalid("etcd: a client certificate without a certificate authority", hint="add the authority's file")
        return None
    if bool(settings.cert) != bool(settings.key):
        raise Invalid("etcd: a client certificate needs its key, and a key its certificate", hint="give both or none")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(settings.ca, "certificate authority"),
        private_key=_read(settings.key, "key") if settings.key else None,
        certificate_chain=_read(settings.cert, "certificate") if settings.cert else None,
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"etcd: its {what} {path} cannot be read: {error.strerror}") from None
