"""The agent's hold of the zygote (`agent.runtime.zygote`): starts it, has it fork, starts another when it is gone.

One process is forked ahead, so that an instance that has to start waits for no fork; what starts together with others
has a new one each.

Forked processes become children of the agent, which is the subreaper of all that its instances leave behind. So it
waits for them as for those that it has started itself, and `agent.orphans` sees what a function has left.
"""

import asyncio
import ctypes
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agent import spare
from agent.cgroups import Groups
from agent.instance import StartFailed
from agent.isolation import BOOT, SYSTEM_PATH
from agent.races import cancelled
from agent.runtime import guise
from agent.spare import Spare

log = logging.getLogger(__name__)

START_LIMIT = 30.0
"""Seconds for the zygote to import what is to be preloaded."""
FORK_LIMIT = 10.0
"""Seconds for one fork."""
END_LIMIT = 5.0
REST = 0.2
"""Seconds without a start before one is forked ahead: what starts has the processors first."""
PR_SET_CHILD_SUBREAPER = 36


class Zygote:
    def __init__(
        self,
        groups: Groups,
        *,
        preload: Sequence[str] = (),
        packages: Path | None = None,
        bytecode: Path | None = None,
    ) -> None:
        """What is preloaded comes from the packages, where there are any; compiled modules of theirs are in a folder of
        their own."""
        self.preload = list(preload)
        self.packages = packages
        self.ready = False
        """It has started, so that nobody has to wait for that."""
        self._bytecode = bytecode
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._turn = asyncio.Lock()
        self._groups = groups
        self._ahead: Spare | None = None
        self._rested_at = 0.0
        """By the loop's clock; when one may be forked ahead."""
        self._resting: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def pids(self) -> set[int]:
        """Children of ours that are no instances."""
        found = {self._process.pid} if self._process else set()
        return found | {self._ahead.pid} if self._ahead else found

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    async def fork(self) -> Spare:
        """What becomes an instance, or is to be ended. Raises `StartFailed`."""
        found = None
        if self._ahead and self._ahead.ready:
            found, self._ahead = self._ahead, None
        if found and not found.lives:
            await found.end(self._groups)
            found = None
        if found is None:
            async with self._turn:
                found = await self._forked(ahead=False)
        self._rest()
        return found

    async def warm(self) -> None:
        """Has it started; whether that went well is told to the first who needs it."""
        async with self._turn:
            try:
                await self._start()
            except StartFailed as error:
                log.warning("%s", error)
                return
        self._rest()

    async def close(self) -> None:
        """What was forked for somebody goes on, and who has asked for a fork gets it."""
        self._closing = True
        if self._resting:
            await cancelled(self._resting)
        async with self._turn:
            await self._end()
        await self._end_ahead()

    def _rest(self) -> None:
        self._rested_at = asyncio.get_running_loop().time() + REST
        if not self._closing and (self._resting is None or self._resting.done()):
            self._resting = asyncio.create_task(self._fork_ahead(), name="fork ahead")

    async def _fork_ahead(self) -> None:
        clock = asyncio.get_running_loop().time
        while (left := self._rested_at - clock()) > 0:  # noqa: ASYNC110 - what is started meanwhile puts it off
            await asyncio.sleep(left)
        if self._ahead:
            return
        try:
            async with self._turn:
                self._ahead = ahead = await self._forked(ahead=True)
            await ahead.waits()
        except StartFailed as error:
            log.warning("%s", error)
            await self._end_ahead()

    async def _end_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead:
            await ahead.end(self._groups)

    async def _forked(self, *, ahead: bool) -> Spare:
        name = spare.name()
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        try:
            with its:
                told = {"groups": self._groups.make(name), "ahead": ahead}
                pid = await self._asked(json.dumps(told).encode(), its)
            return Spare(pid, name, list(self.preload), self.packages, ours)
        except BaseException:
            ours.close()
            self._groups.remove(name)
            raise

    async def _asked(self, told: bytes, channel_of_it: socket.socket) -> int:
        for _ in range(2):
            channel = await self._start()
            try:
                socket.send_fds(channel, [told], [channel_of_it.fileno()])
                async with asyncio.timeout(FORK_LIMIT):
                    answer = await asyncio.get_running_loop().sock_recv(channel, 64)
            except (OSError, TimeoutError) as error:
                log.warning("the zygote does not answer: %s; starting another", error or "no answer")
                answer = b""
            except asyncio.CancelledError:
                await self._end()  # its answer would be taken for the next one's
                raise
            if answer:
                if (pid := int(answer)) > 0:
                    return pid
                raise StartFailed("no process can be forked: the machine has no more of them to give")
            await self._end()
        raise StartFailed("no process can be forked: the zygote ends when it is asked to")

    async def _start(self) -> socket.socket:
        if self._channel:
            return self._channel
        try:
            return await self._started(self.preload)
        except StartFailed as error:
            if not self.preload:
                raise
            log.warning("%s; nothing beside the platform is preloaded", error)
            self.preload = []
            return await self._started([])

    async def _started(self, preload: list[str]) -> socket.socket:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        with its:
            room = guise.FILLER * guise.ROOM
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork and an exec
                [
                    *(sys.executable, "-I", "-u", str(BOOT), "zygote", str(its.fileno()), room),
                    *(str(self.packages or ""), str(self._bytecode or ""), *preload),
                ],
                stdin=subprocess.DEVNULL,
                env={
                    "PATH": SYSTEM_PATH,
                    "LANG": "C.UTF-8",
                    guise.VARIABLE: guise.FILLER * guise.ENVIRONMENT_ROOM,
                },
                start_new_session=True,
                pass_fds=(its.fileno(),),
            )
        self._channel = ours
        try:
            async with asyncio.timeout(START_LIMIT):
                said = await asyncio.get_running_loop().sock_recv(ours, 4096)
        except (OSError, TimeoutError) as error:
            said = f"the zygote does not start: {error or 'no answer'}".encode()
        except asyncio.CancelledError:
            await self._end()
            raise
        if said == b"ready":
            self.ready = True
            log.info("instances are forked from process %d", self._process.pid)
            return ours
        await self._end()
        raise StartFailed(said.decode() or "the zygote ends while it starts")

    async def _end(self) -> None:
        self.ready = False
        if self._channel:
            self._channel.close()
        if self._process:
            process, self._process = self._process, None
            process.kill()
            await asyncio.to_thread(process.wait, END_LIMIT)
        self._channel = None
