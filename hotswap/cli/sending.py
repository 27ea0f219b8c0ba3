"""Sends an archive to the controller, and goes on where it was when that is cut off."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from hotswap import archive, manifest
from hotswap.cli.client import ANSWER_LIMIT, me
from hotswap.errors import Conflict, Unavailable
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.rpc.controller_pb2_grpc import ControllerStub

CHUNK = 256 * 1024
ATTEMPT_LIMIT = 300.0
"""Seconds for one attempt to send what is left, and for the controller to look at it."""
ATTEMPTS = 8
"""In a row that bring not a byte: half a minute, in which a controller that died is there again."""
PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Sent:
    version: pb.Version
    unchanged: bool
    """It had been published before."""


def send(controller: ControllerStub, folder: Path, *, packages: Path | None = None) -> Sent:
    """Publishes the folder, with the packages that were vendored for it. Raises what the controller raised."""
    with tempfile.TemporaryDirectory() as room:
        path = Path(room, "artifact.tar.gz")
        built = archive.build(folder, path, packages=packages)
        archive.inspect(path)  # what would be refused need not be sent
        header = pb.PublishHeader(
            manifest_toml=(folder / manifest.FILE).read_text(encoding="utf-8"), sha256=built.sha256, size=built.size
        )
        return _sent(controller, manifest.read(folder).function, header, path)


def _sent(controller: ControllerStub, function: str, header: pb.PublishHeader, path: Path) -> Sent:
    question = pb.FindUploadRequest(function=function, sha256=header.sha256)
    attempt, furthest = 0, 0
    before: int | None = None
    while True:
        try:
            with wire.calling("the controller"):
                found = controller.FindUpload(question, timeout=ANSWER_LIMIT, metadata=me())
                before = found.version if before is None else before
                attempt, furthest = (0 if found.received > furthest else attempt), max(found.received, furthest)
                header.offset = min(found.received, header.size)
                version = controller.Publish(_parts(header, path), timeout=ATTEMPT_LIMIT, metadata=me())
                return Sent(version, unchanged=before != 0)
        except (Unavailable, Conflict) as error:
            attempt += 1
            if attempt == ATTEMPTS:
                raise
            click.echo(f"{error.message}; going on in a moment", err=True)
            time.sleep(PAUSE * attempt)


def _parts(header: pb.PublishHeader, path: Path) -> Iterator[pb.PublishRequest]:
    yield pb.PublishRequest(header=header)
    with path.open("rb") as file:
        file.seek(header.offset)
        while chunk := file.read(CHUNK):
            yield pb.PublishRequest(chunk=chunk)
