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
from hotswap.model import Function, Manifest, Sweep, Version, check_function_name, encode
from hotswap.store import Store, Stored

TRIES = 8
"""How often a number is taken again that somebody else took first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is announced before the archive comes."""

    manifest_toml: str
    sha256: str
    size: int
    who: str = ""
    offset: int = 0
    """Bytes of the archive that need not be sent, since they are here; see `Publishing.found`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is here of an archive that is about to be published."""

    received: int
    """Bytes."""
    version: int = 0
    """The newest version of the function that has this archive, all of which is here then; 0 for none."""


class Publishing:
    def __init__(self, *, store: Store, artifacts: Artifacts, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock

    async def found(self, function: str, sha256: str) -> Found:
        """Nothing of it where only other functions have it: a digest that was heard of is no right to the files."""
        check_function_name(function)
        if received := self._artifacts.received(function, sha256):
            return Found(received=received)
        having = [version for version in await self._versions(function) if version.artifact == sha256]
        if not having or not await self._artifacts.store.has(sha256):
            return Found(received=0)
        newest = max(having, key=lambda version: version.number)
        return Found(received=newest.size, version=newest.number)

    async def publish(self, publication: Publication, chunks: AsyncIterable[bytes]) -> Version:
        manifest = manifests.parse(publication.manifest_toml)
        await manifests.check_sample_apart(manifest)
        await self._receive(manifest.function, publication, chunks)
        for _ in range(TRIES):
            sweep = await self._store.sweeps.get(Sweep.SUBJECT)
            await self._refuse_swept(sweep, publication.sha256)
            if known := await self._published(manifest, publication.sha256):
                return known
            try:
                return await self._create(manifest, publication, sweep)
            except Conflict:
                continue
        raise Conflict(f'"{manifest.function}" is being published by many at once', hint="try again")

    async def _receive(self, function: str, publication: Publication, chunks: AsyncIterable[bytes]) -> None:
        sha256, size, offset = publication.sha256, publication.size, publication.offset
        if offset == size and (await self.found(function, sha256)).version:
            return
        await self._artifacts.receive(function, chunks, sha256=sha256, size=size, offset=offset)

    async def _refuse_swept(self, sweep: Stored[Sweep] | None, sha256: str) -> None:
        """With the sweep as it stands now it is not about to be thrown away, and none before has done that."""
        condemned = sweep is not None and sha256 in sweep.value.condemned
        if condemned or not await self._artifacts.store.has(sha256):
            raise Conflict(
                f"the artifact {sha256[:12]}, which no version named, is being thrown away", hint="publish it again"
            )

    async def _versions(self, function: str) -> list[Version]:
        return [stored.value for stored in await self._store.versions.list(function)]

    async def _published(self, manifest: Manifest, sha256: str) -> Version | None:
        document = encode(manifest)
        for version in await self._versions(manifest.function):
            if version.artifact == sha256 and encode(version.manifest) == document:
                return version
        return None

    async def _create(self, manifest: Manifest, publication: Publication, sweep: Stored[Sweep] | None) -> Version:
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
        transaction = self._store.transaction().put(function, over=stored).create(version)
        transaction = transaction.require(sweep) if sweep else transaction.require_absent(Sweep, Sweep.SUBJECT)
        await transaction.commit()
        return version
