"""From what a watch tells to what changes in the table.

What does not parse, or cannot be routed by, is told in the log and left out: the last good entry stays. A whole list
removes what it does not have, and of the rest only what is news is an update: a router that began with the table on its
disk has nearly nothing to do for it. A list whose revision is below what the table has comes from a store that went
back: it holds, whatever its revisions; but if it is empty, that store has lost its data, and the table is kept.
"""

import logging
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from hotswap.errors import Invalid
from hotswap.model import Alias, Endpoint, Record, Version
from hotswap.store import ROOT, Broken, Changes, Gone, Stored
from router.protection import endpoint_name
from router.table import (
    AliasEntry,
    AnyEntry,
    EndpointEntry,
    Removed,
    Revisions,
    Subject,
    Table,
    Update,
    VersionEntry,
    alias_entry,
    endpoint_entry,
    version_entry,
)

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Following(Generic[R]):
    """How one subject gets into the table; `read` raises `Invalid`."""

    subject: Subject
    read: Callable[[R, int], AnyEntry]
    revision: Callable[[Revisions], int]

    def update(self, changes: Changes[R], table: Table) -> Update:
        back = changes.whole and changes.revision < self.revision(table.revisions)
        latest = {_key(change): change for change in changes.changes}
        withdrawn = {_key(change) for change in changes.changes if _is_withdrawn(change)}
        entries: list[AnyEntry] = []
        removed: list[Removed] = []
        for key, change in latest.items():
            ends = key in withdrawn
            function, name = key
            known = table.entry(self.subject, function, name)
            match change:
                case Stored() if not ends:
                    news = known is None or back or change.mod_revision > known.revision
                    if news and (entry := self._entry(change, key)):
                        entries.append(entry)
                case Stored() | Gone() if known:
                    removed.append(Removed(self.subject, function, name, change.mod_revision, ends))
                case Broken(error=error):
                    log.warning("what stands in the store cannot be read; what was known before holds: %s", error)
        if back and not entries:
            log.error("the store has gone back and has no %s; those that were known are kept", self.subject)
            entries = [msgspec.structs.replace(entry, revision=0) for entry in self._present(table)]
        elif changes.whole:
            removed += self._missing(table, latest.keys(), changes.revision)
        return self._made(entries, removed, changes.revision, forced=back)

    def _entry(self, stored: Stored[R], key: tuple[str, str]) -> AnyEntry | None:
        try:
            entry = self.read(stored.value, stored.mod_revision)
        except Invalid as error:
            log.warning("%s cannot be used; what was known before holds: %s", stored.key, error)
            return None
        if (entry.function, _name(entry)) != key:
            log.warning("%s holds something that belongs elsewhere; what was known before holds", stored.key)
            return None
        return entry

    def _present(self, table: Table) -> Iterator[AnyEntry]:
        return (entry for function in table.functions.values() for entry in function.entries(self.subject))

    def _missing(self, table: Table, named: Set[tuple[str, str]], revision: int) -> Iterator[Removed]:
        for entry in self._present(table):
            if (entry.function, _name(entry)) not in named:
                yield Removed(self.subject, entry.function, _name(entry), revision)

    def _made(self, entries: list[AnyEntry], removed: list[Removed], revision: int, *, forced: bool) -> Update:
        update = Update(removed=removed, revisions=Revisions(**{self.subject: revision}), forced=forced)
        return msgspec.structs.replace(update, **{self.subject: entries})


ALIASES: Following[Alias] = Following(
    "aliases", lambda value, revision: alias_entry(value, revision=revision), lambda revisions: revisions.aliases
)
VERSIONS: Following[Version] = Following(
    "versions", lambda value, revision: version_entry(value, revision=revision), lambda revisions: revisions.versions
)
ENDPOINTS: Following[Endpoint] = Following(
    "endpoints", lambda value, revision: endpoint_entry(value, revision=revision), lambda revisions: revisions.endpoints
)


def _is_withdrawn(change: Stored[R] | Gone | Broken) -> bool:
    return isinstance(change, Stored) and isinstance(change.value, Endpoint) and change.value.withdrawn


def _key(change: Stored[R] | Gone | Broken) -> tuple[str, str]:
    """Function, and the name in it."""
    if isinstance(change, Stored):
        function, _, name = change.key.removeprefix(ROOT).partition("/")[2].partition("/")
        return function, name
    return change.parts[0], "/".join(change.parts[1:])


def _name(entry: AnyEntry) -> str:
    """As in the key, after the function."""
    match entry:
        case EndpointEntry():
            return endpoint_name(entry)
        case AliasEntry(name=name):
            return name
        case VersionEntry(number=number):
            return str(number)
