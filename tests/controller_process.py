"""A controller in a process of its own, for what only shows there: being killed, and what memory it takes."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap.rpc import wire
from hotswap.rpc.controller_pb2_grpc import ControllerStub
from hotswap.settings import EtcdSettings

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

CONTROLLER = """
import asyncio, sys
from pathlib import Path
from controller.server import run
from hotswap.settings import ControllerSettings, EtcdSettings
folder, etcd, bind, bucket, name = sys.argv[1:]
places = {"artifacts": Path(folder), "bucket": bucket, "bind": bind}
asyncio.run(run(ControllerSettings(name=name, etcd=EtcdSettings((etcd,)), **places)))
"""


class ControllerProcess:
    """A controller on a port of its own, to be killed."""

    def __init__(self, folder: Path, etcd: EtcdSettings, *, bucket: str = "", name: str = "c1") -> None:
        self._folder = folder
        self._etcd = etcd
        self._bucket = bucket
        self._name = name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-c", CONTROLLER, str(self._folder / "artifacts"), self._etcd.endpoints[0]]
            self._process = subprocess.Popen([*command, self.address, self._bucket, self._name], stdout=log, stderr=log)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    @property
    def peak(self) -> int:
        """Bytes of memory, the most that it had at a time."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    @asynccontextmanager
    async def called(self) -> AsyncIterator["ControllerAsyncStub"]:
        """When it answers."""
        async with wire.channel(self.address) as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            yield ControllerStub(channel)


@contextmanager
def running_controller(
    folder: Path, etcd: EtcdSettings, *, bucket: str = "", name: str = "c1"
) -> Iterator[ControllerProcess]:
    made = ControllerProcess(folder, etcd, bucket=bucket, name=name)
    made.start()
    try:
        yield made
    finally:
        made.kill()
