"""What came of an invocation, told after it by somebody else: a purchase, a complaint, a return.

    {"id": "order-4711", "stickyKey": "visitor-42", "metrics": {"conversion": 1, "revenue": 12.5}}

An outcome is of the user with a sticky key, or of the request with an id that a router made. Kept are the sums, by
alias, version and revision of the weights, in shards by the user's group: so that writers seldom meet, and so that an
outcome that is told again comes to the shard that remembers it. A shard remembers the last `MOST_SEEN`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec.structs import replace

from hotswap.errors import Refused
from hotswap.model import DEFAULT_ALIAS, Model, Record, VersionNumber
from hotswap.usage import MOST_NAMES, MOST_VALUE, Reported, ReportName, Usage, together
from hotswap.users import CELLS

SHARDS = 16
MOST_SEEN = 1_024
"""Outcomes that a shard remembers, to know one that is told again."""
SEEN_BYTES = 8
"""Of each."""
MOST_TOLD = 1_000
"""Outcomes at a time."""

Value = Annotated[float, msgspec.Meta(ge=-MOST_VALUE, le=MOST_VALUE)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Outcome(Model, frozen=True, kw_only=True):
    id: Text
    """Its own, by which it is known when it is told again."""
    sticky_key: Text | None = None
    """Of the user: what the alias is sticky by."""
    request_id: Text | None = None
    """`Hotswap-Request-Id` of the answer."""
    at: Moment | None = None
    """When the user was answered; by default now."""
    metrics: Annotated[dict[ReportName, Value], msgspec.Meta(min_length=1, max_length=MOST_NAMES)]


class Outcomes(Model, frozen=True, kw_only=True):
    """What somebody tells at a time."""

    alias: str = DEFAULT_ALIAS
    outcomes: Annotated[list[Outcome], msgspec.Meta(min_length=1, max_length=MOST_TOLD)]


class Taken(Model, frozen=True, kw_only=True):
    """What became of what was told."""

    counted: int
    repeated: int
    """Those that had been counted before."""


class KeptOutcomes(Record, frozen=True, kw_only=True):
    """One shard of what is known under one set of weights."""

    function: str
    alias: str
    revision: int
    """Of the weights."""
    shard: int
    versions: dict[VersionNumber, dict[str, Reported]] = {}
    seen: bytes = b""
    """Hashes of the last ids, the oldest first."""


@dataclass(frozen=True, slots=True)
class Attributed:
    """An outcome of which it is known where it belongs."""

    outcome: Outcome
    version: int
    revision: int
    cell: int

    @property
    def shard(self) -> int:
        """By the user's group."""
        return self.cell * SHARDS // CELLS


def added(kept: KeptOutcomes, told: Sequence[Attributed]) -> tuple[KeptOutcomes, int]:
    """With what is new of it, and how many that are. Raises `Refused` for more names than are kept."""
    seen = [kept.seen[at : at + SEEN_BYTES] for at in range(0, len(kept.seen), SEEN_BYTES)]
    known, versions, counted = set(seen), dict(kept.versions), 0
    for one in told:
        digest = hashlib.blake2b(one.outcome.id.encode(), digest_size=SEEN_BYTES).digest()
        if digest not in known:
            known.add(digest)
            seen.append(digest)
            versions[one.version] = _with(versions.get(one.version, {}), one)
            counted += 1
    return replace(kept, versions=versions, seen=b"".join(seen[-MOST_SEEN:])), counted


def usages(kept: Iterable[KeptOutcomes]) -> Mapping[tuple[int, int], Usage]:
    """By version and revision of the weights."""
    return together(
        {(version, one.revision): Usage(reported=reported) for version, reported in one.versions.items()}
        for one in kept
    )


def _with(reported: dict[str, Reported], one: Attributed) -> dict[str, Reported]:
    names = {*reported, *one.outcome.metrics}
    if len(names) > MOST_NAMES:
        raise Refused(
            f'outcome "{one.outcome.id}" reports {", ".join(sorted(one.outcome.metrics))} of version {one.version}: '
            f"that makes more than {MOST_NAMES} names",
            hint=f"these are known: {', '.join(sorted(reported))}",
        )
    new = {name: Reported.one(value, cell=one.cell) for name, value in one.outcome.metrics.items()}
    return {name: Reported.total(each[name] for each in (reported, new) if name in each) for name in sorted(names)}
