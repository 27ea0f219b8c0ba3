"""One case played once, and what is to be said of it."""

from dataclasses import dataclass

from tests.conformance.cases import Case, Forwarded, Way, raw
from tests.conformance.client import Heard, converse
from tests.conformance.upstream import Script, ScriptedUpstream, Told
from tests.conformance.wire import Message, flaw

PREFIX = b" /fn/f/"
"""What HotSwap takes off a target, and a proxy that knows of no functions leaves there."""


@dataclass(frozen=True)
class Seen:
    """What came of a case, at both ends."""

    heard: Heard
    told: list[Told]

    @property
    def status(self) -> int:
        return self.heard.answers[0].status if self.heard.answers else 0

    @property
    def requests(self) -> list[Message]:
        return [request for told in self.told for request in told.requests]

    @property
    def forwarded(self) -> Forwarded:
        if self.requests:
            return "whole"
        return "part" if any(told.bytes and not told.probed for told in self.told) else "none"

    @property
    def cut(self) -> bool:
        """An answer had begun and was broken off."""
        return self.heard.ended and bool(self.heard.left) and not self.heard.answers

    @property
    def kept(self) -> bool:
        """The probe came on the connection that the request had come on."""
        return any(told.requests and told.probed for told in self.told)

    def __str__(self) -> str:
        if self.heard.silent:
            return f"no answer, {TOLD[self.forwarded]}"
        return _summary(self.status, self.forwarded, closes=self.heard.ended, cut=self.cut)


ALLOWED: dict[Forwarded, set[Forwarded]] = {"whole": {"whole"}, "part": {"part", "none"}, "none": {"none"}}
TOLD = {"whole": "forwarded", "part": "begun upstream", "none": "not forwarded"}


async def play(case: Case, way: Way, port: int, upstream: ScriptedUpstream, *, limit: float) -> Seen:
    """Sends the case to whatever listens on the port and goes to this upstream."""
    told = upstream.begin(Script.of(case, way))
    heard = await converse(port, raw(case.send), way, limit=limit)
    await upstream.settle()
    return Seen(heard, told)


def expected(case: Case) -> str:
    return _summary(case.status, case.forwarded, closes=case.closes, cut=case.cut)


def deviations(case: Case, seen: Seen) -> list[str]:
    """Where it is not as the case has it; empty if all is well."""
    return [*outcome(case, seen), *details(case, seen)]


def outcome(case: Case, seen: Seen) -> list[str]:
    """What of it is in the summary: the status, how the connection goes on, what was forwarded."""
    if seen.heard.silent:
        return ["no answer"]
    found: list[str] = []
    if seen.cut is not case.cut:
        found.append("cut" if seen.cut else "not cut")
    elif not case.cut and seen.status != case.status:
        found.append(f"status {seen.status}")
    if case.closes not in {seen.heard.ended, "either"}:
        found.append("closes" if seen.heard.ended else "stays open")
    if seen.forwarded not in ALLOWED[case.forwarded]:
        found.append(TOLD[seen.forwarded])
    return found


def details(case: Case, seen: Seen) -> list[str]:
    """What the two ends got, line by line."""
    return [*_at_the_client(case, seen), *_at_the_upstream(case, seen)]


def _summary(status: int, forwarded: Forwarded, *, closes: bool | str, cut: bool) -> str:
    end = "closes or not" if closes == "either" else "closes" if closes else "stays open"
    return f"{status or 'no status'}, {'cut' if cut else end}, {TOLD[forwarded]}"


def _at_the_client(case: Case, seen: Seen) -> list[str]:
    heard = seen.heard
    found: list[str] = []
    if len(heard.answers) > 1:
        found.append(f"{len(heard.answers)} answers")
    if heard.left and heard.answers:
        found.append(f"bytes after the answer: {heard.left[:60]!r}")
    if [it.status for it in heard.interim] != case.interim:
        found.append(f"interim {[it.status for it in heard.interim]}")
    return found + [it for answer in heard.answers[:1] for it in _answered(case, answer)]


def _answered(case: Case, answer: Message) -> list[str]:
    found = _lines(answer, case.gets, case.gets_not, "gets")
    if case.answer is not None and answer.body != raw(case.answer):
        found.append(f"gets the body {answer.body[:60]!r}")
    if not answer.start.startswith(b"HTTP/1.1 "):
        found.append(f"gets {answer.start!r}")
    return found


def _at_the_upstream(case: Case, seen: Seen) -> list[str]:
    found: list[str] = []
    if len(seen.requests) > 1:
        found.append(f"{len(seen.requests)} requests forwarded")
    if case.forwarded == "whole":
        found += [f"forwards {it}" for told in seen.told if (it := flaw(bytes(told.bytes)))]
    if case.keeps not in {None, seen.kept}:
        found.append("uses its connection again" if seen.kept else "drops its connection")
    return found + [it for request in seen.requests[:1] for it in _forwarded(case, request)]


def _forwarded(case: Case, request: Message) -> list[str]:
    found = _lines(request, case.sees, case.sees_not, "forwards")
    if case.body is not None and request.body != raw(case.body):
        found.append(f"forwards the body {request.body[:60]!r}")
    return found


def _lines(message: Message, wanted: list[str], unwanted: list[str], verb: str) -> list[str]:
    present = {message.start.replace(PREFIX, b" /", 1), *map(_folded, message.lines)}
    missing = [f"`{line}`" for line in wanted if _folded(raw(line)) not in present]
    found = [f"`{name}`" for name in unwanted if name in message.names]
    told = [f"{verb} no {' or '.join(missing)}"] if missing else []
    return [*told, f"{verb} {', '.join(found)}"] if found else told


def _folded(line: bytes) -> bytes:
    """The name of a field has no case; a start line is left as it is."""
    name, colon, value = line.partition(b":")
    return line if b" " in name else name.lower() + colon + value
