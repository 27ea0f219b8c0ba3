"""Delivers to one hook: the notices of a deployment one after the other, those of several deployments side by side.

At least once: a notice is marked only after the receiver took it, so a controller that dies between the two is
followed by one that delivers it again, under the same id. A lane that waits between two attempts holds no place, and
one hook has no part in the places of another.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from controller import webhook
from controller.outbox import Outbox
from controller.webhook import Answer, Webhooks
from hotswap import errors, kv
from hotswap.hook import Hook
from hotswap.notice import Notice
from hotswap.store import Stored

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Deliveries to one hook at the same time."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds before another attempt: doubled with each that failed, up to this."""
GIVE_UP_AFTER = timedelta(hours=24)
"""Age of a notice at which an attempt that fails is its last."""
RETRY_AFTER = 0.3
"""Seconds before what the store did not take is written again."""
FAULT_PAUSE = 30.0
"""Seconds before a lane goes on after a fault of ours."""


def pause(failures: int, random: Random) -> float:
    """Half of it is chance, so that the lanes of a hook that is back do not all come at once."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + random.random() / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all couriers share."""

    outbox: Outbox
    webhooks: Webhooks
    clock: Callable[[], datetime]
    pause: Callable[[int], float]
    """Seconds to wait after so many failures in a row."""


class Courier:
    def __init__(self, hook: Stored[Hook], means: Means) -> None:
        self.hook = hook
        self._means = means
        self._offered: asyncio.Queue[Stored[Notice]] = asyncio.Queue()
        self._lanes: dict[str, deque[Stored[Notice]]] = {}
        """By deployment; the first of each is being delivered."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._writing = asyncio.Lock()
        """The lanes write to the same record of the hook: one after the other, instead of conflicting."""
        self._gone = False
        """The receiver said so: nothing more is sent, though whoever started this may not have stopped it yet."""

    def offer(self, notice: Stored[Notice]) -> None:
        """In the order of each deployment's changes, and each once."""
        self._offered.put_nowait(notice)

    async def run(self) -> None:
        """Never returns. Raises (in a group) `NotLeader`."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                notice = await self._offered.get()
                deployment = notice.value.deployment
                if lane := self._lanes.get(deployment):
                    lane.append(notice)
                    continue
                self._lanes[deployment] = deque([notice])
                tasks.create_task(self._follow(deployment), name=f"hook {self.hook.value.name}: {deployment}")

    async def _follow(self, deployment: str) -> None:
        lane = self._lanes[deployment]
        while lane and not self._gone:
            try:
                await self._deliver(lane[0])
            except errors.NotLeader:
                raise
            except Exception:  # one lane's fault must not end the others' leader
                log.exception('%s is not delivered to "%s" yet', lane[0].value.id, self.hook.value.name)
                await asyncio.sleep(FAULT_PAUSE)
            else:
                lane.popleft()
        del self._lanes[deployment]

    async def _deliver(self, notice: Stored[Notice]) -> None:
        """Returns when the hook has it, or has no more to do with it."""
        outbox, failures = self._means.outbox, 0
        while not self._gone:
            answer = await self._attempt(notice)
            if answer.delivered:
                await self._write(lambda: outbox.delivered(notice, self.hook))
                return
            if answer.gone:
                await self._disable(answer)
                return
            if self._means.clock() - notice.value.at >= GIVE_UP_AFTER:
                await self._give_up(notice, answer)
                return
            failures += 1
            await self._failed(notice, answer, failures)

    async def _attempt(self, notice: Stored[Notice]) -> Answer:
        async with self._places:
            return await self._means.webhooks.send(self.hook.value, notice.value.id, webhook.body(notice.value))

    async def _failed(self, notice: Stored[Notice], answer: Answer, failures: int) -> None:
        seconds = self._means.pause(failures)
        name, text = self.hook.value.name, answer.text
        log.warning('%s is delivered to "%s" again in %.1f s: %s', notice.value.id, name, seconds, text)
        await self._write(lambda: self._means.outbox.failed(self.hook, text))
        await asyncio.sleep(seconds)

    async def _give_up(self, notice: Stored[Notice], answer: Answer) -> None:
        log.error('%s is given up for "%s": %s', notice.value.id, self.hook.value.name, answer.text)
        await self._write(lambda: self._means.outbox.given_up(notice, self.hook, answer.text))

    async def _disable(self, answer: Answer) -> None:
        self._gone = True
        log.error('hook "%s" is disabled: its receiver answered %s', self.hook.value.name, answer.text)
        await self._write(lambda: self._means.outbox.disable(self.hook, f"its receiver answered {answer.text}"))

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        """What happened is written before the lane goes on, however long the store is away."""
        while True:
            try:
                async with self._writing:
                    return await write()
            except errors.Conflict:
                continue
            except (errors.Unavailable, errors.Invalid, kv.KVError) as error:
                log.warning('hook "%s" waits: %s', self.hook.value.name, error)
            await asyncio.sleep(RETRY_AFTER)
