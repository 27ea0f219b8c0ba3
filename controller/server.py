"""The controller's process: it answers people at once, and leads when it is its turn."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from controller import bearers
from controller.access import Parts
from controller.agents import RemoteAgents
from controller.api.grpc import SERVICE, ControllerApi
from controller.api.leader import LeaderWeights
from controller.api.rest.listener import listening
from controller.artifacts import opened
from controller.collector import collecting
from controller.comparing import Comparing
from controller.figures import FigureBook
from controller.hooks import Hooks
from controller.lead import leading
from controller.leader import RETRY_AFTER, Leadership
from controller.logs import LogBook
from controller.notify import notifying
from controller.outcomes import OutcomeBook
from controller.publishing import Publishing
from controller.removing import Removing
from controller.service import Service
from controller.suites import suites
from controller.tokens import Tokens
from controller.weights import HandWeights
from hotswap import auth, credentials, errors, etcd, kv
from hotswap.admin import admin_ports
from hotswap.auth import Anybody, Authenticator, Role
from hotswap.rpc import controller_pb2_grpc, wire
from hotswap.settings import ControllerSettings, host_and_port
from hotswap.store import Fence, Store

log = logging.getLogger(__name__)

CLOSING = 5.0
"""Seconds that calls in progress get to end."""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Leading:
    """What only the leader can do for the API; `None` while this controller does not lead."""

    weights: HandWeights | None = None


class Controller:
    """One controller on a store; `run` is its process, tests run several in one."""

    def __init__(self, *, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._artifacts = opened(settings.artifacts, bucket=settings.bucket, controller=settings.name)
        self._leading = Leading()
        publishing = Publishing(store=store, artifacts=self._artifacts, clock=now)
        self._service = Service(store=store, publishing=publishing, clock=now)
        self._parts = Parts(
            service=self._service,
            artifacts=self._artifacts,
            tokens=Tokens(store=store, clock=now),
            hooks=Hooks(store=store, clock=now),
            weights=LeaderWeights(service=self._service, leading=self._leading),
            comparing=Comparing(store=store, clock=now),
            outcomes=OutcomeBook(store),
            figures=FigureBook(store),
            logs=LogBook(store),
            removing=Removing(store=store),
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Answers calls of gRPC until the context ends; gives the address."""
        api = ControllerApi(self._parts)
        register = {SERVICE: lambda server: controller_pb2_grpc.add_ControllerServicer_to_server(api, server)}
        async with self._authenticating() as authenticator:
            server, port = await wire.start(self._settings.bind, register, authenticator=authenticator)
            host, _ = host_and_port(self._settings.bind, option="bind")
            try:
                yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            finally:
                await server.stop(CLOSING)

    @asynccontextmanager
    async def _authenticating(self) -> AsyncIterator[Authenticator]:
        if not self._settings.auth:
            yield Anybody()
            return
        async with bearers.checked(self._store, now) as authenticator:
            for text in self._settings.admin_tokens:
                await self._admit(auth.parse(text))
            yield authenticator

    async def _admit(self, admin: auth.Bearer) -> None:
        while True:
            try:
                return await credentials.ensure(self._store, admin, name="admin", role=Role.ADMIN)
            except (errors.Conflict, kv.KVError) as error:  # another controller was faster, or the store is away
                log.warning("admin token %s is not known yet: %s", admin.id, error)
            await asyncio.sleep(RETRY_AFTER)

    @asynccontextmanager
    async def serving_rest(self) -> AsyncIterator[str]:
        """Answers REST until the context ends; gives the address."""
        async with (
            self._authenticating() as authenticator,
            listening(
                self._settings.rest,
                parts=self._parts,
                authenticator=authenticator,
                keys=self._settings.aws_keys,
                store=self._store,
                clock=now,
            ) as address,
        ):
            yield address

    async def run(self) -> None:
        """Serves, and leads whenever it can; never returns."""
        async with self.serving() as address, self.serving_rest() as rest:
            log.info("%s answers at %s, and REST at %s", self._settings.name, address, rest)
            leadership = Leadership(store=self._store, name=self._settings.name, address=address, rest=rest, clock=now)
            sweeping = asyncio.create_task(self._artifacts.uploads.sweep(), name="uploads")
            try:
                await leadership.run(self._lead)
            finally:
                sweeping.cancel()

    async def _lead(self, fence: Fence) -> None:
        async with (
            admin_ports() as admin,
            suites(store=self._store) as testing,
            notifying(store=self._store, fence=fence, clock=now),
            collecting(store=self._store, fence=fence, artifacts=self._artifacts.store, clock=now),
            leading(
                store=self._store,
                fence=fence,
                agents=RemoteAgents(),
                admin=admin,
                testing=testing,
                service=self._service,
                clock=now,
                prometheus=self._settings.prometheus,
            ) as weights,
        ):
            self._leading.weights = weights
            try:
                await asyncio.Event().wait()
            finally:
                self._leading.weights = None


async def run(settings: ControllerSettings) -> None:
    """Returns after SIGTERM or SIGINT, when the lead is given up and all calls have ended."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = etcd.connect(settings.etcd)
    work = asyncio.create_task(Controller(store=Store(connection), settings=settings).run(), name="controller")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        work.cancel()
        stopped.cancel()
        await asyncio.gather(work, stopped, return_exceptions=True)
        await connection.close()
