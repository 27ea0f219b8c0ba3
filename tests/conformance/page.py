"""`docs/conformance.md`: what HotSwap does with each case, and what other proxies do with it, as seen in one run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.conformance.cases import TABLES, Case, Listed, Row, rows
from tests.conformance.verdict import Seen, details, deviations, outcome

OURS = "HotSwap"
HEADINGS = {"framing.toml": "Framing", "syntax.toml": "Syntax and target", "proxying.toml": "Proxying"}
INTRODUCTION = """\
# How strict the router is about HTTP

Each case below is a test: `tests/conformance` has its bytes and the verdict, and plays it whole and byte by byte,
between a client and an upstream that record what they get. `scripts/conformance` prints what comes of each;
`scripts/conformance --peers` sends the same bytes, whole, to other proxies too, and writes this page of what was seen.

The others are plain reverse proxies with their defaults, but for what makes nginx keep its connections to the upstream.
Some of them can be told to be stricter. Cases about functions are not sent to them.

A cell tells the status that the client got. `→`: the upstream got the whole request; `⇢`: the beginning of it; neither:
nothing. `✕`: the connection was closed after the answer; `cut`: in the middle of it; `no answer`: neither an answer nor
an end within 3 s. What is **bold** is not the verdict that HotSwap is held to; behind it stands what else differed.
"""


@dataclass(frozen=True)
class Column:
    """One proxy, and what was seen of each case that it was sent, by id."""

    name: str
    version: str
    seen: Mapping[str, Seen]


def page(columns: list[Column], missing: Iterable[str], elsewhere: Iterable[str]) -> str:
    """The first column is HotSwap's. `missing` could not be had; rows `elsewhere` are not in the tables."""
    parts = [INTRODUCTION, *_summary(columns, list(missing))]
    for table in TABLES:
        parts.append(f"\n## {HEADINGS[table]}\n")
        for row in rows(table):
            parts += _row(row, columns)
    parts.append(
        f"\n## Not compared\n\n{', '.join(elsewhere)} are, wholly or in part, about time, about processes or about "
        "more than one request. `tests/conformance/elsewhere.py` says on which tests they stand.\n"
    )
    return "\n".join(parts)


def cell(case: Case, seen: Seen | None) -> str:
    if seen is None:
        return ""
    text = _what_came(seen)
    differing = f"**{text}**" if outcome(case, seen) else text
    return "; ".join([differing, *(it.replace("|", "\\|") for it in details(case, seen))])


def _what_came(seen: Seen) -> str:
    arrow = {"whole": "→ ", "part": "⇢ ", "none": ""}[seen.forwarded]
    if seen.heard.silent:
        return f"{arrow}no answer"
    if seen.cut:
        return f"{arrow}cut"
    return f"{arrow}{seen.status or 'nothing'}{' ✕' if seen.heard.ended else ''}"


def _summary(columns: list[Column], missing: list[str]) -> Iterator[str]:
    yield "| | version | cases | the verdict | takes what is to be refused | refuses what is to be taken | else |"
    yield "|---|---|---|---|---|---|---|"
    verdicts = {it.id: it.case for table in TABLES for row in rows(table) for it in row.listed()}
    for column in columns:
        kinds = [_kind(verdicts[name], seen) for name, seen in column.seen.items()]
        counts = [str(kinds.count(kind)) for kind in ("same", "takes", "refuses", "other")]
        yield f"| {column.name} | {column.version} | {len(kinds)} | {' | '.join(counts)} |"
    if missing:
        yield f"\nNot installed, so left out: {', '.join(missing)}."


def _kind(case: Case, seen: Seen) -> str:
    if not deviations(case, seen):
        return "same"
    if case.status >= 400 and case.forwarded != "whole":
        return "takes" if seen.forwarded == "whole" or 200 <= seen.status < 400 else "other"
    return "refuses" if seen.status >= 400 and case.status < 400 else "other"


def _row(row: Row, columns: list[Column]) -> Iterator[str]:
    yield f"### {row.id} {_first_upper(row.title)}\n\n{row.rfc}. {row.why}\n"
    yield f"| | {' | '.join(column.name for column in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for listed in row.listed():
        cells = [cell(listed.case, column.seen.get(listed.id)) for column in columns]
        yield f"| {_escaped(listed)} | {' | '.join(cells)} |"
    yield ""


def _escaped(listed: Listed) -> str:
    return listed.title.replace("|", "\\|").replace("*", "\\*")


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
