"""The agent's hold of the zygote (`agent.runtime.zygote`): starts it, has it fork, starts another when it is gone.

Forked processes become children of the agent, which is the subreaper of all that its instances leave behind. So it
waits for them as for those that it has started itself, and `agent.orphans` sees what a function has left.
"""

import asyncio
import ctypes
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.instance import StartFailed
from agent.isolation import BOOT, SYSTEM_PATH
from agent.runtime import birth, guise

log = logging.getLogger(__name__)

START_LIMIT = 30.0
"""Seconds for the zygote to import what is to be preloaded."""
FORK_LIMIT = 10.0
"""Seconds for one fork."""
END_LIMIT = 5.0
PR_SET_CHILD_SUBREAPER = 36


class Zygote:
    def __init__(
        self, *, preload: Sequence[str] = (), packages: Path | None = None, bytecode: Path | None = None
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

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    async def fork(self, what: birth.Birth, *, listener: int, ready: int, load: int, output: int) -> int:
        """The pid of the process that becomes this instance. Descriptors stay the caller's. Raises `StartFailed`."""
        told = os.memfd_create("birth")
        try:
            os.write(told, birth.encode(what))
            os.lseek(told, 0, os.SEEK_SET)
            async with self._turn:
                return await self._forked([told, listener, ready, load, output])
        finally:
            os.close(told)

    async def warm(self) -> None:
        """Has it started; whether that went well is told to the first who needs it."""
        async with self._turn:
            try:
                await self._start()
            except StartFailed as error:
                log.warning("%s", error)

    async def close(self) -> None:
        """What was forked goes on."""
        async with self._turn:
            await self._end()

    async def _forked(self, descriptors: list[int]) -> int:
        for _ in range(2):
            channel = await self._start()
            try:
                socket.send_fds(channel, [b"f"], descriptors)
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
