"""What the router knows of the platform: aliases, versions and endpoints, compiled by function; immutable.

A table is made from the one before it by an `Update`: all that one batch of the store changed, whole revisions only.
Nothing here does input or output, so that the same code serves the parent (which keeps the table on disk and brings a
new worker up to date) and the workers (which route by it).

Entries are smaller than the records they come from: a router needs neither the environment of a version (which may
hold secrets, and would end up on its disk) nor the history of an alias. They are in no cycle, so the garbage collector
need not look at them (`gc=False`): a hundred thousand of them would be a pause that invocations feel.

Two rules keep a table good whatever arrives:

- An entry is replaced, and removed, only by a greater `mod_revision`, so that a late message never takes it back. Only
  an update that is `forced` is above this: the store itself went back (restored from a backup, or another one).
- What does not parse is not in an update at all, so the last good entry stays.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from sys import intern
from typing import Literal, Protocol, TypeVar

import msgspec
from msgspec.structs import force_setattr

from hotswap.errors import Invalid
from hotswap.model import Alias, Endpoint, Kind, Manifest, Sticky, Version, check_weights
from router.shards import Shards

Subject = Literal["aliases", "endpoints", "versions"]

VERSION = re.compile(r"[0-9]{1,9}")
DEFAULT_TIMEOUT = 30.0
DEFAULT_START_TIMEOUT = 30.0
DEFAULT_MAX_BODY = 6 * 1024 * 1024
"""The manifest's own defaults, for a version whose record could not be read."""
MISSING_SHOWN = 50
"""Names that are told at most in the answer for one that does not exist."""


class AliasEntry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True, gc=False):
    function: str
    name: str
    revision: int
    weights: dict[int, int]
    sticky: Sticky | None = None
    latency_limit: float | None = None
    """Seconds."""
    last_good: int | None = None


class VersionEntry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True, gc=False):
    function: str
    number: int
    revision: int = 0
    kind: Kind = Kind.HTTP
    timeout: float = DEFAULT_TIMEOUT
    start_timeout: float = DEFAULT_START_TIMEOUT
    max_body: int = DEFAULT_MAX_BODY


class EndpointEntry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True, gc=False):
    function: str
    version: int
    instance: str
    revision: int
    address: str
    concurrency: int
    node: str = ""
    standby: bool = False

    def __post_init__(self) -> None:
        """What many have in common is one string."""
        force_setattr(self, "function", intern(self.function))
        force_setattr(self, "node", intern(self.node))


AnyEntry = AliasEntry | VersionEntry | EndpointEntry


class Removed(msgspec.Struct, frozen=True, array_like=True):
    subject: Subject
    function: str
    name: str
    """Of the alias; of the version in digits; of the endpoint as `version/instance`."""
    revision: int
    withdrawn: bool = False
    """Of an endpoint: its agent has said so. Otherwise it has only vanished, and may serve on."""


class Revisions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in the store up to these revisions is in the table; 0 when nothing was ever read."""

    aliases: int = 0
    endpoints: int = 0
    versions: int = 0


class FunctionTable(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    name: str
    aliases: Mapping[str, AliasEntry] = {}
    versions: Mapping[int, VersionEntry] = {}
    endpoints: Mapping[int, Mapping[str, EndpointEntry]] = {}
    """By version, then by instance; a version that has none is not in it."""

    @property
    def empty(self) -> bool:
        return not (self.aliases or self.versions or self.endpoints)

    @property
    def weighted(self) -> set[int]:
        """The versions that some alias gives weight to."""
        return {number for alias in self.aliases.values() for number, weight in alias.weights.items() if weight}

    @property
    def known_versions(self) -> set[int]:
        return {*self.versions, *self.endpoints, *self.weighted}

    def entries(self, subject: Subject) -> Iterable[AnyEntry]:
        match subject:
            case "aliases":
                return self.aliases.values()
            case "versions":
                return self.versions.values()
            case "endpoints":
                return chain.from_iterable(instances.values() for instances in self.endpoints.values())

    def terms(self, number: int) -> VersionEntry:
        """The version's limits; the defaults when only its endpoints or its weight are known."""
        return self.versions.get(number) or VersionEntry(function=self.name, number=number)


class Update(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one batch changes; or a whole table, when it is applied to an empty one."""

    packed: dict[str, msgspec.Raw] = {}
    """Whole functions by name, each a `FunctionTable`: all of a table that is put into an empty one."""
    aliases: list[AliasEntry] = []
    versions: list[VersionEntry] = []
    endpoints: list[EndpointEntry] = []
    removed: list[Removed] = []
    revisions: Revisions = Revisions()
    forced: bool = False

    @property
    def functions(self) -> set[str]:
        """The functions that it touches."""
        changed = {entry.function for entry in (*self.entries, *self.removed)}
        return changed.union(self.packed)

    @property
    def entries(self) -> list[AnyEntry]:
        return [*self.aliases, *self.versions, *self.endpoints]


class Revised(Protocol):
    @property
    def revision(self) -> int: ...


K = TypeVar("K")
E = TypeVar("E", bound=Revised)


@dataclass(frozen=True, slots=True)
class Missing:
    """What a qualifier names and the table does not have."""

    what: Literal["function", "alias", "version"]
    name: str
    exists: list[str]
    """What could be named in its place."""

    def __str__(self) -> str:
        known = ", ".join(self.exists) or "none"
        return f'there is no {self.what} "{self.name}"; there is: {known}'


@dataclass(frozen=True, slots=True)
class Table:
    functions: Shards[FunctionTable] = field(default_factory=lambda: Shards(FunctionTable))
    revisions: Revisions = field(default_factory=Revisions)

    def apply(self, update: Update) -> "Table":
        """The next table; functions that the update does not touch are shared with this one."""
        functions = self.functions.changed(update.packed) if update.packed else self.functions
        drafts: dict[str, _Draft] = {}

        def draft(name: str) -> _Draft:
            found = drafts.get(name)
            if found is None:
                before = functions.get(name) or FunctionTable(name)
                found = drafts[name] = _Draft(before, forced=update.forced)
            return found

        for removed in update.removed:
            draft(removed.function).remove(removed)
        for alias in update.aliases:
            draft(alias.function).put_alias(alias)
        for version in update.versions:
            draft(version.function).put_version(version)
        for endpoint in update.endpoints:
            draft(endpoint.function).put_endpoint(endpoint)
        made = {name: draft.done() for name, draft in drafts.items()}
        functions = functions.changed({name: None if it.empty else it for name, it in made.items()})
        return Table(functions, _later(self.revisions, update.revisions, forced=update.forced))

    def whole(self) -> Update:
        """The update that makes this table from an empty one."""
        return Update(packed=self.functions.packed(), revisions=self.revisions)

    def entry(self, subject: Subject, function: str, name: str) -> AnyEntry | None:
        """What the key names; `name` is as in `Removed`."""
        known = self.functions.get(function)
        if known is None:
            return None
        match subject:
            case "aliases":
                return known.aliases.get(name)
            case "versions":
                return known.versions.get(int(name)) if VERSION.fullmatch(name) else None
            case "endpoints":
                version, _, instance = name.partition("/")
                return known.endpoints.get(int(version), {}).get(instance) if VERSION.fullmatch(version) else None

    def find(self, function: str, qualifier: str) -> AliasEntry | VersionEntry | Missing:
        """`qualifier` is an alias, or the number of a version in digits."""
        known = self.functions.get(function)
        if known is None:
            return Missing("function", function, sorted(self.functions)[:MISSING_SHOWN])
        if VERSION.fullmatch(qualifier):
            number = int(qualifier)
            if number in known.versions or number in known.endpoints:
                return known.terms(number)
            exists = sorted(known.versions)[-MISSING_SHOWN:]
            return Missing("version", f"{function}:{number}", [f"{function}:{it}" for it in exists])
        names = sorted(known.aliases)[:MISSING_SHOWN]
        return known.aliases.get(qualifier) or Missing(
            "alias", f"{function}:{qualifier}", [f"{function}:{it}" for it in names]
        )


def alias_entry(alias: Alias, *, revision: int) -> AliasEntry:
    """Raises `Invalid` for weights that no split can be made of."""
    check_weights(alias.weights, where=f'alias "{alias.name}" of "{alias.function}"')
    return AliasEntry(
        function=alias.function,
        name=alias.name,
        revision=revision,
        weights=alias.weights,
        sticky=alias.sticky,
        latency_limit=None if alias.latency_limit is None else alias.latency_limit.total_seconds(),
        last_good=alias.last_good,
    )


def version_entry(version: Version, *, revision: int) -> VersionEntry:
    manifest: Manifest = version.manifest
    return VersionEntry(
        function=version.function,
        number=version.number,
        revision=revision,
        kind=manifest.kind,
        timeout=manifest.timeout.total_seconds(),
        start_timeout=manifest.start_timeout.total_seconds(),
        max_body=manifest.max_body,
    )


def endpoint_entry(endpoint: Endpoint, *, revision: int) -> EndpointEntry:
    """Raises `Invalid` for an address that cannot be connected to."""
    host, colon, port = endpoint.address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) <= 65_535 and endpoint.concurrency > 0):
        raise Invalid(f'endpoint "{endpoint.instance}" of "{endpoint.function}" cannot be used: "{endpoint.address}"')
    return EndpointEntry(
        function=endpoint.function,
        version=endpoint.version,
        instance=endpoint.instance,
        revision=revision,
        address=endpoint.address,
        concurrency=endpoint.concurrency,
        node=endpoint.node,
        standby=endpoint.standby,
    )


class _Draft:
    """A function's next table, while it is made; what it began with is not touched."""

    def __init__(self, before: FunctionTable, *, forced: bool) -> None:
        self._name = before.name
        self._aliases = dict(before.aliases)
        self._versions = dict(before.versions)
        self._endpoints = {(it.version, it.instance): it for some in before.endpoints.values() for it in some.values()}
        self._forced = forced

    def put_alias(self, entry: AliasEntry) -> None:
        self._replace(self._aliases, entry.name, entry)

    def put_version(self, entry: VersionEntry) -> None:
        self._replace(self._versions, entry.number, entry)

    def put_endpoint(self, entry: EndpointEntry) -> None:
        self._replace(self._endpoints, (entry.version, entry.instance), entry)

    def remove(self, removed: Removed) -> None:
        match removed.subject:
            case "aliases":
                self._drop(self._aliases, removed.name, removed)
            case "versions":
                self._drop(self._versions, int(removed.name), removed)
            case "endpoints":
                version, _, instance = removed.name.partition("/")
                self._drop(self._endpoints, (int(version), instance), removed)

    def done(self) -> FunctionTable:
        endpoints: dict[int, dict[str, EndpointEntry]] = {}
        for entry in self._endpoints.values():
            endpoints.setdefault(entry.version, {})[entry.instance] = entry
        return FunctionTable(self._name, self._aliases, self._versions, endpoints)

    def _replace(self, entries: dict[K, E], key: K, entry: E) -> None:
        known = entries.get(key)
        if known is None or self._forced or entry.revision > known.revision:
            entries[key] = entry

    def _drop(self, entries: dict[K, E], key: K, removed: Removed) -> None:
        known = entries.get(key)
        if known and (self._forced or removed.revision > known.revision):
            del entries[key]


def _later(known: Revisions, told: Revisions, *, forced: bool) -> Revisions:
    if forced:
        return Revisions(
            aliases=told.aliases or known.aliases,
            endpoints=told.endpoints or known.endpoints,
            versions=told.versions or known.versions,
        )
    return Revisions(
        aliases=max(known.aliases, told.aliases),
        endpoints=max(known.endpoints, told.endpoints),
        versions=max(known.versions, told.versions),
    )
