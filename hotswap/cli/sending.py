"""Sends an archive to a controller, and goes on when that is cut off: where it was, or at another one from the
beginning."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from hotswap import archive, manifest
from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, me
from hotswap.errors import Conflict, Unavailable
from hotswap.rpc import controller_pb2 as pb

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


def send(target: Target, folder: Path, *, packages: Path | None = None) -> Sent:
    """Publishes the folder, with the packages that were vendored for it. Raises what the controller raised."""
    with tempfile.TemporaryDirectory() as room:
        path = Path(room, "artifact.tar.gz")
        built = archive.build(folder, path, packages=packages)
        archive.inspect(path)  # what would be refused need not be sent
        header = pb.PublishHeader(
            manifest_toml=(folder / manifest.FILE).read_text(encoding="utf-8"), sha256=built.sha256, size=built.size
        )
        return _sent(target, manifest.read(folder).function, header, path)


def _sent(target: Target, function: str, header: pb.PublishHeader, path: Path) -> Sent:
    """Where no controller has answered yet there is nothing to go on with."""
    question = pb.FindUploadRequest(function=function, sha256=header.sha256)
    at_first: pb.Upload | None = None
    attempt, last = 0, 0
    while True:
        try:
            with target.connected() as controller:
                found = controller.FindUpload(question, timeout=ANSWER_LIMIT, metadata=me())
                if at_first is None:
                    at_first = found
                else:
                    click.echo(_going_on(found, header.size), err=True)
                attempt, last = (0 if found.received > last else attempt), found.received
                header.offset = min(found.received, header.size)
                version = controller.Publish(_parts(header, path), timeout=ATTEMPT_LIMIT, metadata=me())
                return Sent(version, unchanged=at_first.version != 0)
        except (Unavailable, Conflict) as error:
            attempt += 1
            if at_first is None or attempt == ATTEMPTS:
                raise
            click.echo(f"{error.message}; going on in a moment", err=True)
            time.sleep(PAUSE * attempt)


def _going_on(found: pb.Upload, size: int) -> str:
    """Another controller has nothing of what one has received, unless it was whole."""
    if found.received == 0:
        return "the controller that answers has nothing of it: sending it from the beginning"
    return f"{output.size(found.received)} of {output.size(size)} are there: sending the rest"


def _parts(header: pb.PublishHeader, path: Path) -> Iterator[pb.PublishRequest]:
    yield pb.PublishRequest(header=header)
    with path.open("rb") as file:
        file.seek(header.offset)
        while chunk := file.read(CHUNK):
            yield pb.PublishRequest(chunk=chunk)
