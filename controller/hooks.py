"""The operations on hooks, as people ask for them. Any controller takes them; the leader delivers."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from controller import webhook
from controller.means import Clock
from controller.outbox import awaits
from controller.webhook import Answer, webhooks
from hotswap import errors
from hotswap.deployment import Status
from hotswap.hook import Deliveries, Hook, Undelivered, check_name, check_url
from hotswap.model import DEFAULT_ALIAS, check_function_name
from hotswap.notice import Notice
from hotswap.store import Store, Stored

MOST = 32
"""Hooks there may be: each change of status is delivered to all that want it, and each has connections of its own."""
SECRET_BYTES = 32
TRIES = 8
"""How often a hook is tried to be removed while notices are given up for it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A hook, and how it goes with it."""

    hook: Hook
    deliveries: Deliveries
    pending: int
    undelivered: int


class Hooks:
    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, name: str, url: str, *, functions: list[str], statuses: list[str], who: str) -> Hook:
        """With a new secret: the only time that it is told."""
        hook = Hook(
            name=check_name(name),
            url=check_url(url),
            secret=secrets.token_hex(SECRET_BYTES),
            functions=[check_function_name(function) for function in functions],
            statuses=[_status(status) for status in statuses],
            created=self._clock(),
            who=who,
        )
        if len(await self._store.hooks.list()) >= MOST:
            raise errors.Refused(f"there are {MOST} hooks, and no more may be", hint="remove one: `hotswap hook list`")
        try:
            await self._store.transaction().create(hook).commit()
        except errors.Conflict:
            raise errors.Refused(
                f'there is a hook "{name}" already', hint=f"remove it first: `hotswap hook remove {name}`"
            ) from None
        return hook

    async def standings(self) -> list[Standing]:
        hooks, notices = await self._store.hooks.list(), await self._store.outbox.list()
        deliveries = {stored.value.hook: stored.value for stored in await self._store.deliveries.list()}
        undelivered = [stored.value.hook for stored in await self._store.undelivered.list()]
        return [
            Standing(
                hook=hook.value,
                deliveries=deliveries.get(hook.value.name, Deliveries(hook=hook.value.name)),
                pending=sum(awaits(hook, notice) for notice in notices),
                undelivered=undelivered.count(hook.value.name),
            )
            for hook in hooks
        ]

    async def undelivered(self, name: str) -> list[Undelivered]:
        await self._hook(name)
        found = sorted(await self._store.undelivered.list(name), key=lambda stored: stored.create_revision)
        return [stored.value for stored in found]

    async def remove(self, name: str) -> None:
        """With all that is known of its deliveries; what waits for it is not delivered any more."""
        for _ in range(TRIES):
            transaction = self._store.transaction().delete(await self._hook(name))
            if deliveries := await self._store.deliveries.get(name):
                transaction.delete(deliveries)
            for undelivered in await self._store.undelivered.list(name):
                transaction.delete(undelivered)
            try:
                await transaction.commit()
            except errors.Conflict:
                continue
            return
        raise errors.Conflict(f'hook "{name}" is in use', hint="try again")

    async def test(self, name: str) -> Answer:
        """Of what the receiver answers only the status is told: a hook must not become a way to read inner pages."""
        hook = (await self._hook(name)).value
        notice = _example(self._clock())
        async with webhooks(clock=self._clock) as sender:
            return await sender.send(hook, notice.id, webhook.body(notice, kind="test"))

    async def _hook(self, name: str) -> Stored[Hook]:
        stored = await self._store.hooks.get(check_name(name))
        if stored is None:
            raise errors.NotFound(f'there is no hook "{name}"', hint="see `hotswap hook list`")
        return stored


def _example(now: datetime) -> Notice:
    """Of a deployment that there is not, under an id that is new each time."""
    return Notice(
        deployment=f"test-{secrets.token_hex(4)}",
        number=1,
        function="test",
        alias=DEFAULT_ALIAS,
        version=1,
        previous_status=Status.RUNNING,
        status=Status.SUCCEEDED,
        reason="a test of the hook",
        at=now,
    )


def _status(text: str) -> Status:
    known = {status.value.lower(): status for status in Status}
    if found := known.get(text.lower()):
        return found
    raise errors.Invalid(f'"{text}" is not a status', hint="they are: " + ", ".join(status.value for status in Status))
