"""A watch that bridges whatever happens to its connection: list, watch, and on a compaction list again and compare.

What etcd does, and what follows from it:

- Batches of a watch that catches up carry the store's latest revision in their header, long before all events up to it
  have come. So a watch goes on after the last event that it told, or after a timed progress response, which etcd sends
  in order with the events. The answer to a progress request of ours may overtake events (etcd issue 15220, until 3.4.25
  and 3.5.8): it shows that the stream is alive, and nothing else.
- A watch from a revision that has been compacted is created, then canceled, and the stream stays open.
- A response that is too large comes in fragments; only the last ends a revision.
- A member that hangs, or has lost the cluster, may leave a stream open and silent.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import grpc

from hotswap import kv
from hotswap.etcd import faults
from hotswap.etcd.auth import HAS_LEADER, Login
from hotswap.etcd.connection import Connection, Members
from hotswap.etcd.keys import end_of, item
from hotswap.etcd.wire.rpc_pb2 import Event, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse

log = logging.getLogger(__name__)

PROGRESS_INTERVAL = 5.0
"""Seconds of silence after which etcd is asked for a sign of life."""
SILENT_INTERVALS = 3
"""A stream that is silent for longer than this many intervals is given up."""
CONNECT_LIMIT = 5.0
"""Seconds without any member up after which the log says so."""
FIRST_RETRY = 0.05
LAST_RETRY = 1.0
"""Seconds before a stream that failed is opened again: from the first, doubled up to the last."""

Call = grpc.aio.StreamStreamCall[WatchRequest, WatchResponse]


class Watch:
    """One prefix, followed for as long as `batches` is read."""

    def __init__(
        self,
        prefix: str,
        *,
        range_: Callable[[str], Awaitable[kv.Listing]],
        members: Members,
        login: Login,
        interval: float,
    ) -> None:
        self._prefix = prefix
        self._range = range_
        self._members = members
        self._login = login
        self._interval = interval
        self._known: dict[str, int] = {}
        """key -> mod_revision, as the reader knows them."""
        self._told = 0
        """Everything up to this revision has been told."""
        self._retry = FIRST_RETRY
        self._fault = ""
        """What is in the log already of the present interruption."""

    async def batches(self) -> AsyncGenerator[kv.Batch, None]:
        whole = await self._listing()
        yield self._tell(whole.items, whole.revision, whole=True)
        while True:
            try:
                connection = await self._members.ready(CONNECT_LIMIT)
                async with aclosing(self._from(connection)) as told:
                    async for batch in told:
                        yield batch
            except faults.Compacted as error:
                log.info("the watch of %s lists again: %s", self._prefix, error)
                listing = await self._listing()
                if changes := self._difference(listing):
                    yield self._tell(changes, listing.revision)
                self._told = listing.revision
            except kv.KVError as error:
                await self._failed(error)

    async def _from(self, connection: Connection) -> AsyncGenerator[kv.Batch, None]:
        """What one stream tells, from where the last one ended."""
        events: list[Event] = []
        async with aclosing(self._responses(connection)) as responses:
            async for response in responses:
                self._check(response)
                events += response.events
                if response.fragment:
                    continue
                if events:
                    yield self._tell(tuple(map(_change, events)), events[-1].kv.mod_revision)
                    events = []
                elif response.watch_id >= 0 and not response.created:
                    self._told = max(self._told, response.header.revision)

    async def _responses(self, connection: Connection) -> AsyncGenerator[WatchResponse, None]:
        """Raises `Interrupted` when the stream fails, ends, or is silent for too long."""
        call: Call | None = None
        reading: asyncio.Task[WatchResponse] | None = None
        try:
            call = connection.watch.Watch(None, metadata=HAS_LEADER + await self._login.metadata(connection))
            await self._write(call, self._creation())
            while True:
                reading = asyncio.create_task(_read(call))
                await self._await_response(call, reading)
                yield reading.result()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            self._members.distrust(connection)
            reason = faults.explain(error) if isinstance(error, grpc.aio.AioRpcError) else str(error)
            raise faults.Interrupted(f"etcd at {connection.endpoint}: {reason}") from error
        finally:
            if call:
                call.cancel()
            if reading:
                await asyncio.wait({reading})
                if not reading.cancelled():
                    reading.exception()  # told already, or of no interest: we ended the stream

    async def _await_response(self, call: Call, reading: asyncio.Task[WatchResponse]) -> None:
        """Asks for a sign of life after each interval of silence; raises `TimeoutError` when none comes.

        The read is never cancelled to do so: that would cancel the stream.
        """
        for _ in range(SILENT_INTERVALS):
            done, _ = await asyncio.wait({reading}, timeout=self._interval)
            if done:
                return
            await self._write(call, WatchRequest(progress_request=WatchProgressRequest()))
        done, _ = await asyncio.wait({reading}, timeout=self._interval)
        if not done:
            raise TimeoutError(f"silent for {(SILENT_INTERVALS + 1) * self._interval:g} s")

    async def _write(self, call: Call, request: WatchRequest) -> None:
        async with asyncio.timeout(max(self._interval, CONNECT_LIMIT)):
            await call.write(request)

    def _creation(self) -> WatchRequest:
        return WatchRequest(
            create_request=WatchCreateRequest(
                key=self._prefix.encode(),
                range_end=end_of(self._prefix),
                start_revision=self._told + 1,
                progress_notify=True,
                fragment=True,
            )
        )

    def _check(self, response: WatchResponse) -> None:
        if response.canceled and response.compact_revision:
            raise faults.Compacted(f"etcd has compacted up to {response.compact_revision}")
        if response.canceled:  # a token that ended is told as a lack of permission
            self._login.forget()
            raise faults.Interrupted(f"etcd refuses the watch: {response.cancel_reason}")
        self._retry, self._fault = FIRST_RETRY, ""

    async def _listing(self) -> kv.Listing:
        while True:
            try:
                return await self._range(self._prefix)
            except kv.KVError as error:
                await self._failed(error)

    async def _failed(self, error: kv.KVError) -> None:
        if str(error) != self._fault:
            log.warning("the watch of %s is interrupted and goes on when it can: %s", self._prefix, error)
            self._fault = str(error)
        await asyncio.sleep(self._retry)
        self._retry = min(2 * self._retry, LAST_RETRY)

    def _difference(self, listing: kv.Listing) -> tuple[kv.Item | kv.Deleted, ...]:
        """What changed between what was told and the listing, in the order of the changes as far as it is known."""
        there = {one.key for one in listing.items}
        gone = (kv.Deleted(key, listing.revision) for key in self._known if key not in there)
        changed = (one for one in listing.items if self._known.get(one.key) != one.mod_revision)
        return (*sorted(changed, key=lambda one: one.mod_revision), *gone)

    def _tell(self, changes: tuple[kv.Item | kv.Deleted, ...], revision: int, *, whole: bool = False) -> kv.Batch:
        for change in changes:
            if isinstance(change, kv.Item):
                self._known[change.key] = change.mod_revision
            else:
                self._known.pop(change.key, None)
        self._told = revision
        return kv.Batch(changes, revision, whole=whole)


async def _read(call: Call) -> WatchResponse:
    response = await call.read()
    if isinstance(response, WatchResponse):
        return response
    raise asyncio.InvalidStateError("the stream ended")


def _change(event: Event) -> kv.Item | kv.Deleted:
    if event.type == Event.DELETE:
        return kv.Deleted(event.kv.key.decode(), event.kv.mod_revision)
    return item(event.kv)
