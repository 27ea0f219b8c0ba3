"""Builders of what a router knows: entries, updates, tables."""

from router.table import AliasEntry, EndpointEntry, Removed, Revisions, Subject, Table, Update, VersionEntry


def alias(weights: dict[int, int], *, revision: int = 1, function: str = "fn", name: str = "production") -> AliasEntry:
    return AliasEntry(function=function, name=name, revision=revision, weights=weights)


def version(number: int, *, revision: int = 1, function: str = "fn") -> VersionEntry:
    return VersionEntry(function=function, number=number, revision=revision)


def endpoint(
    instance: str,
    *,
    of: int = 1,
    revision: int = 1,
    function: str = "fn",
    port: int = 9000,
    concurrency: int = 4,
    standby: bool = False,
) -> EndpointEntry:
    return EndpointEntry(
        function=function,
        version=of,
        instance=instance,
        revision=revision,
        address=f"127.0.0.1:{port}",
        concurrency=concurrency,
        standby=standby,
    )


def removed(subject: Subject, name: str, *, revision: int, function: str = "fn") -> Removed:
    return Removed(subject, function, name, revision)


def table(*entries: AliasEntry | VersionEntry | EndpointEntry) -> Table:
    return Table().apply(update(*entries))


def update(
    *entries: AliasEntry | VersionEntry | EndpointEntry,
    removed: list[Removed] | None = None,
    revisions: Revisions | None = None,
    forced: bool = False,
) -> Update:
    return Update(
        aliases=[entry for entry in entries if isinstance(entry, AliasEntry)],
        versions=[entry for entry in entries if isinstance(entry, VersionEntry)],
        endpoints=[entry for entry in entries if isinstance(entry, EndpointEntry)],
        removed=removed or [],
        revisions=revisions or Revisions(),
        forced=forced,
    )
