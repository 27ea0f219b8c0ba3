"""What a controller holds in memory, and how long it takes, to take in and hand out an archive of 500 MB.

The archive is of bytes that do not compress. It is published and fetched over gRPC in chunks of 256 KiB, once with the
controller's folder behind it and once with a bucket of moto's server, a process of its own on the same machine. Memory
is the most that the controller's process ever had (VmHWM), less what that was after an archive of a few bytes. Then the
archive is unpacked as an agent does it, in a process of its own.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotswap import archive
from hotswap.etcd.local import running
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import wire
from hotswap.settings import EtcdSettings
from tests.bucket import bucket_at, s3_server
from tests.controller_process import ControllerProcess, running_controller

if TYPE_CHECKING:
    from hotswap.rpc.controller_pb2_grpc import ControllerAsyncStub

MIB = 1 << 20
PIECE = 256 * 1024
MANIFEST = 'function = "large"\nkind = "handler"\nentrypoint = "app:handler"\n'


def packed(folder: Path, size: int) -> Path:
    source, target = folder / f"source-{size}", folder / f"built-{size}.tar.gz"
    source.mkdir()
    (source / "hotswap.toml").write_text(MANIFEST)
    with (source / "filling").open("wb") as file:
        for begin in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - begin)))
    archive.build(source, target)
    return target


def header_of(path: Path) -> pb.PublishHeader:
    return pb.PublishHeader(manifest_toml=MANIFEST, sha256=archive.digest(path), size=path.stat().st_size)


async def publish(api: "ControllerAsyncStub", path: Path) -> pb.Version:
    header = header_of(path)

    async def messages() -> AsyncIterator[pb.PublishRequest]:
        yield pb.PublishRequest(header=header)
        with path.open("rb") as file:
            while chunk := file.read(PIECE):
                yield pb.PublishRequest(chunk=chunk)

    with wire.calling("the controller"):
        return await api.Publish(messages())


async def measured(controller: ControllerProcess, small: Path, large: Path) -> dict[str, float]:
    async with controller.called() as api:
        await publish(api, small)
        before, began = controller.peak, time.monotonic()
        version = await publish(api, large)
        published, took_in = time.monotonic() - began, controller.peak
        began = time.monotonic()
        async for _ in api.FetchArtifact(pb.FetchArtifactRequest(sha256=version.artifact)):
            pass
        fetched = time.monotonic() - began
    return {
        "mib_at_rest": before / MIB,
        "mib_more_to_publish": (took_in - before) / MIB,
        "mib_more_to_fetch": (controller.peak - took_in) / MIB,
        "publish_s": published,
        "fetch_s": fetched,
    }


def unpacked(path: Path, told: Any) -> None:
    """In a process of its own: what it takes more of memory at most, and for how long."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    archive.unpack(path, path.with_suffix(".unpacked"))
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    told.put({"mib_more_to_unpack": more / 1024, "unpack_s": time.monotonic() - began})


async def run(size: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as room, s3_server(Path(room, "moto.log")) as server:
        folder = Path(room)
        small, large = packed(folder, 100), packed(folder, size)
        for place in ("folder", "bucket"):
            async with running(folder / f"etcd-{place}") as etcd:
                (folder / place).mkdir()
                with pytest.MonkeyPatch.context() as environment:
                    bucket = bucket_at(server, "artifacts", environment) if place == "bucket" else ""
                    settings = EtcdSettings((etcd.endpoint,))
                    with running_controller(folder / place, settings, bucket=bucket) as controller:
                        found[place] = await measured(controller, small, large)
        context = multiprocessing.get_context("spawn")
        told = context.Queue()
        agent = context.Process(target=unpacked, args=(large, told))
        agent.start()
        found["agent"] = await asyncio.to_thread(told.get)
        agent.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 MB instead of 500")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(run(50_000_000 if options.quick else 500_000_000))
    for place, figures in found.items():
        print(f"{place:8}", "  ".join(f"{name} {value:.1f}" for name, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
