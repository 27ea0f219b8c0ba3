"""What was seen of each case, as a table to read in a terminal."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.conformance.cases import Listed, Way
from tests.conformance.verdict import Seen, deviations, expected

HEADINGS = ("id", "way", "input", "expected", "seen", "ok")


@dataclass(frozen=True)
class Played:
    listed: Listed
    way: Way
    seen: Seen

    @property
    def deviations(self) -> list[str]:
        return deviations(self.listed.case, self.seen)


def lines(plays: Iterable[Played]) -> list[str]:
    cells = [HEADINGS, *map(_cells, plays)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cells(played: Played) -> tuple[str, ...]:
    case, found = played.listed.case, played.deviations
    ok = "no: " + "; ".join(found) if found else "yes"
    return (played.listed.id, played.way, played.listed.title, expected(case), str(played.seen), ok)
