"""Publishing a version: its archive is kept, its number is given, and neither ever changes.

Publishing the same archive with the same manifest again gives the version that is there.
"""

from collections.abc import AsyncIterable
from dataclasses import dataclass

from msgspec.structs import replace

from controller.artifacts import Artifacts
from controller.means import Clock
from hotswap import manifest as manifests
from hotswap.errors import Conflict
from hotswap.model import Function, Manifest, Version, encode
from hotswap.store import Store

TRIES = 8
"""How often a number is taken again that somebody else took first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is announced before the archive comes."""

    manifest_toml: str
    sha256: str
    size: int
    who: str = ""


class Publishing:
    def __init__(self, *, store: Store, artifacts: Artifacts, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock

    async def publish(self, publication: Publication, chunks: AsyncIterable[bytes]) -> Version:
        manifest = manifests.parse(publication.manifest_toml)
        await manifests.check_sample_apart(manifest)
        await self._artifacts.receive(chunks, sha256=publication.sha256, size=publication.size)
        for _ in range(TRIES):
            if known := await self._published(manifest, publication.sha256):
                return known
            try:
                return await self._create(manifest, publication)
            except Conflict:
                continue
        raise Conflict(f'"{manifest.function}" is being published by many at once', hint="try again")

    async def _published(self, manifest: Manifest, sha256: str) -> Version | None:
        document = encode(manifest)
        for stored in await self._store.versions.list(manifest.function):
            if stored.value.artifact == sha256 and encode(stored.value.manifest) == document:
                return stored.value
        return None

    async def _create(self, manifest: Manifest, publication: Publication) -> Version:
        stored = await self._store.functions.get(manifest.function)
        before = stored.value if stored else Function(name=manifest.function, created=self._clock())
        number = before.last_version + 1
        function = replace(before, last_version=number, description=manifest.description, placement=manifest.placement)
        version = Version(
            function=manifest.function,
            number=number,
            artifact=publication.sha256,
            size=publication.size,
            manifest=manifest,
            published=self._clock(),
            who=publication.who,
        )
        await self._store.transaction().put(function, over=stored).create(version).commit()
        return version
