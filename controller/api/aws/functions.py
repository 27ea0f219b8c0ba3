"""Functions and their versions.

Versions never change here, so `$LATEST` is one of them: each update of the code or of its settings publishes a version,
and the alias `LATEST` is given to it, which keeps it running. PublishVersion gives its number.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from msgspec import UNSET, Struct, UnsetType

from controller.access import Access
from controller.api.aws import calls, configuration, names, pages, shares, zips
from controller.api.aws.calls import Call, Reply
from controller.api.aws.faults import conflict, invalid, missing, outdated
from controller.artifacts import CHUNK, Artifacts
from controller.publishing import Publication
from hotswap import manifest as manifests
from hotswap.errors import HotswapError, Invalid, NotFound, Outdated
from hotswap.model import FULL_WEIGHT, Alias, Manifest, Version
from hotswap.store import Stored

WHY = "by AWS Lambda's interface"
NEVER = "0"
"""The revision of `$LATEST` where nothing was updated by this interface."""


class Code(Struct, frozen=True, rename="pascal"):
    zip_file: bytes | UnsetType = UNSET


class Creating(configuration.Settings, frozen=True, kw_only=True, rename="pascal"):
    function_name: str
    code: Code = Code()
    publish: bool = False


class UpdatingCode(Code, frozen=True, kw_only=True, rename="pascal"):
    publish: bool = False
    dry_run: bool = False
    revision_id: str | None = None


class UpdatingSettings(configuration.Settings, frozen=True, kw_only=True, rename="pascal"):
    revision_id: str | None = None


class PublishingVersion(Struct, frozen=True, kw_only=True, rename="pascal"):
    code_sha256: str = ""
    revision_id: str | None = None


CREATING = frozenset(
    {"Code", "Publish", "Runtime", "Handler", "Description", "Timeout", "MemorySize", "Environment", "PackageType"}
)
SETTINGS = CREATING - {"Code", "Publish", "PackageType"}
CODE = frozenset({"ZipFile", "Publish", "DryRun"})
PUBLISHING = frozenset({"CodeSha256", "Description"})


@dataclass(frozen=True, slots=True)
class Present:
    """A function as it stands."""

    versions: list[Version]
    """In order, at least one."""
    alias: Stored[Alias] | None
    """`LATEST`."""

    @property
    def latest(self) -> Version:
        named = max(self.alias.value.weights, default=0) if self.alias else 0
        return next((it for it in self.versions if it.number == named), self.versions[-1])

    @property
    def revision(self) -> str:
        return str(self.alias.mod_revision) if self.alias else NEVER

    def described(self, version: Version | None, call: Call, *, qualified: bool = True) -> configuration.Configuration:
        """`None` for `$LATEST`."""
        shown = version or self.latest
        revision = self.revision if version is None else shown.write_id
        latest = version is None
        return configuration.of(shown, region=call.region, revision=revision, latest=latest, qualified=qualified)


async def present(call: Call, function: str) -> Present:
    """Raises `Fault` where there is none."""
    try:
        versions = await call.access.versions(function)
    except NotFound:
        versions = []
    if not versions:
        raise missing(f"Function not found: {call.arn(function)}")
    try:
        alias = await call.access.alias(function, names.LATEST_ALIAS)
    except NotFound:
        alias = None
    return Present(versions, alias)


async def version_of(call: Call, here: Present, named: names.Named) -> Version | None:
    """`None` for `$LATEST`. Raises `Fault`."""
    if named.latest:
        return None
    number = named.number
    if number is None:
        try:
            alias = (await call.access.alias(named.function, named.qualifier)).value
        except (NotFound, Invalid):
            raise missing(f"Function not found: {call.arn(named.function, named.qualifier)}") from None
        number = int(shares.described(alias)[0])
    for version in here.versions:
        if version.number == number:
            return version
    raise missing(f"Function not found: {call.arn(named.function, named.qualifier)}")


class Functions:
    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def create(self, call: Call) -> Reply:
        document, asked = call.document(), call.read(Creating)
        name = names.parse(asked.function_name).function
        if "Code" in document:
            configuration.check_covered(calls.decoded(document["Code"], calls.Document), CODE)
        configuration.check_covered(document, CREATING)
        if await _exists(call.access, name):
            raise conflict(f"Function already exist: {name}")
        manifest = configuration.fresh(name, asked)
        here = await self._update(call, manifest, asked.code, before=None, expected=0)
        shown = here.described(here.latest if asked.publish else None, call, qualified=asked.publish)
        return Reply(shown, HTTPStatus.CREATED)

    async def update_code(self, call: Call) -> Reply:
        asked, function = call.read(UpdatingCode), call.named.function
        configuration.check_covered(call.document(), CODE)
        here = await present(call, function)
        _check_revision(asked.revision_id, here)
        if asked.dry_run:
            return Reply(here.described(None, call, qualified=False))
        here = await self._update(call, here.latest.manifest, asked, before=here, expected=int(here.revision))
        return Reply(here.described(here.latest if asked.publish else None, call, qualified=asked.publish))

    async def update_settings(self, call: Call) -> Reply:
        asked, function = call.read(UpdatingSettings), call.named.function
        configuration.check_covered(call.document(), SETTINGS)
        here = await present(call, function)
        _check_revision(asked.revision_id, here)
        manifest = configuration.changed(here.latest.manifest, asked)
        here = await self._update(call, manifest, None, before=here, expected=int(here.revision))
        return Reply(here.described(None, call, qualified=False))

    async def get(self, call: Call) -> Reply:
        return Reply({"Configuration": await _configuration(call), "Code": {"RepositoryType": "HotSwap"}})

    async def get_configuration(self, call: Call) -> Reply:
        return Reply(await _configuration(call))

    async def find(self, call: Call) -> Reply:
        """`$LATEST` of each, or all versions where `FunctionVersion` is `ALL`."""
        scope = call.query.get("FunctionVersion", "")
        if scope not in {"", "ALL"}:
            raise invalid(f'FunctionVersion is "{scope}"; it can only be ALL')
        functions = [function.name for function, _ in await call.access.functions()]
        shown, marker = pages.page(functions, str, call.query)
        found: list[configuration.Configuration] = []
        for name in shown:
            if await _exists(call.access, name):
                here = await present(call, name)
                numbered = here.versions if scope else []
                found += [here.described(it, call, qualified=bool(scope)) for it in (None, *numbered)]
        return Reply(_listed("Functions", found, marker))

    async def find_versions(self, call: Call) -> Reply:
        here = await present(call, call.named.function)
        entries: list[Version | None] = [None, *here.versions]
        shown, marker = pages.page(entries, lambda it: str(it.number) if it else "0", call.query)
        return Reply(_listed("Versions", [here.described(it, call) for it in shown], marker))

    async def publish(self, call: Call) -> Reply:
        """The number that `$LATEST` has already."""
        asked = call.read(PublishingVersion)
        configuration.check_covered(call.document(), PUBLISHING)
        here = await present(call, call.named.function)
        _check_revision(asked.revision_id, here)
        shown = here.described(here.latest, call)
        if asked.code_sha256 and asked.code_sha256 != shown.code_sha256:
            raise invalid(f"CodeSHA256 ({asked.code_sha256}) is different from current CodeSHA256 in $LATEST")
        return Reply(shown, HTTPStatus.CREATED)

    async def delete(self, call: Call) -> Reply:
        """One version of it, or all with their aliases."""
        named = call.named
        await present(call, named.function)
        if not named.qualifier:
            await call.access.remove_function(named.function, why=WHY)
        elif named.number is None:
            raise invalid(f"{named.qualifier} cannot be deleted by DeleteFunction: it is no number of a version")
        else:
            await call.access.unpublish(named.function, named.number, why=WHY)
        return Reply(status=HTTPStatus.NO_CONTENT)

    async def _update(
        self, call: Call, manifest: Manifest, code: Code | None, *, before: Present | None, expected: int
    ) -> Present:
        """Publishes it and has `$LATEST` be it; should it not start, it was never published."""
        function = manifest.function
        version = await self._published(call.access, manifest, code, before)
        known = {it.number for it in before.versions} if before else set()
        try:
            if not before or not before.alias or before.latest.number != version.number:
                await call.access.set_weights(
                    function, names.LATEST_ALIAS, {version.number: FULL_WEIGHT}, why=WHY, expected=expected
                )
        except HotswapError as error:
            if version.number not in known:
                with suppress(HotswapError):  # another update took the same code, and needs it
                    await call.access.unpublish(function, version.number, why="it did not become $LATEST")
            if isinstance(error, Outdated):
                raise conflict(
                    f"another update of {function} was faster", hint="read it again, then try again"
                ) from None
            raise
        return await present(call, function)

    async def _published(
        self, access: Access, manifest: Manifest, code: Code | None, before: Present | None
    ) -> Version:
        toml = manifests.write(manifest)
        if code is None:
            assert before, "settings are changed of what is there"
            latest = before.latest
            publication = Publication(manifest_toml=toml, sha256=latest.artifact, size=latest.size)
            return await access.publish(publication, self._artifacts.read(latest.artifact))
        if isinstance(code.zip_file, UnsetType) or not code.zip_file:
            raise invalid("Please provide a source for function code: ZipFile")
        with tempfile.TemporaryDirectory(prefix="hotswap-zip-") as room:
            packed = await asyncio.to_thread(zips.pack, code.zip_file, Path(room))
            publication = Publication(manifest_toml=toml, sha256=packed.sha256, size=packed.size)
            return await access.publish(publication, _chunks(packed))


async def _configuration(call: Call) -> configuration.Configuration:
    named = call.named
    here = await present(call, named.function)
    version = await version_of(call, here, named)
    return here.described(version, call, qualified=bool(named.qualifier))


async def _exists(access: Access, function: str) -> bool:
    try:
        return bool(await access.versions(function))
    except NotFound:
        return False


def _check_revision(asked: str | None, here: Present) -> None:
    if asked is not None and asked != here.revision:
        raise outdated(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


def _listed(name: str, items: list[configuration.Configuration], marker: str | None) -> dict[str, object]:
    return {name: items} | ({"NextMarker": marker} if marker else {})


async def _chunks(packed: zips.Packed) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(packed.path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
