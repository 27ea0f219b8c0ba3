"""Throws what is almost HTTP at the codec, millions of times, and holds what comes out against a second opinion.

    scripts/fuzz [--inputs N] [--seed S] [--jobs N]

Nothing may be raised but the codec's own refusals. What is refused or read must not depend on where the bytes were cut.
A head that was let pass must say to whoever gets it what it said to the codec: it is read again by llhttp, which the
codec does not use, and by a plain reader of lines.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from random import Random

import httptools

from router.codec.body import LAST_CHUNK, BadBody, Chunked, StillFramed, framed
from router.codec.requests import Fields, Line, RequestReader
from router.codec.responses import BadResponse, Head, read_head
from router.forwarding import Peer
from router.problems import Problem
from router.target import Target
from tests import almost_http

CHUNK = 20_000
"""Inputs that a process is given at a time."""
PATIENCE = 600.0
"""Seconds for one of these."""
SHOWN = 5
PEER = Peer("192.0.2.1")


@dataclass
class Report:
    inputs: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        self.inputs += other.inputs
        self.verdicts += other.verdicts
        self.failures += other.failures


def try_request(data: bytes, random: Random) -> str:
    seen = _read_request(data)
    cut = random.randrange(len(data) + 1)
    _agree(seen, _read_request_in_two(data, cut), f"cut at {cut}")
    for later in (_spoiled(data, random), data):
        reader = _reader_of_alike(later, random)
        _agree(_read_request(later), _read_request(later, reader), f"{later!r} after heads like it")
    if isinstance(seen, tuple):
        line_read, fields_read = seen
        if isinstance(line_read.target, Target):
            _check_forwarded(line_read, fields_read)
        return "read"
    return seen or "not whole"


def _read_request(data: bytes, reader: RequestReader | None = None) -> tuple[Line, Fields] | str | None:
    try:
        return (reader or RequestReader(PEER)).read(data)
    except Problem:
        return "refused"


def _reader_of_alike(data: bytes, random: Random) -> RequestReader:
    """That has read heads with other values, and knows which of them change."""
    reader = RequestReader(PEER)
    for _ in range(3):
        head, end, _ = data.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        others = [told.partition(b":")[0] + b": %x" % random.getrandbits(20) for told in fields]
        mixed = [random.choice(pair) for pair in zip(fields, others, strict=True)]
        with suppress(Problem):
            reader.read(b"\r\n".join((line, *mixed)) + end)
    return reader


def _spoiled(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(almost_http.SPECIAL_BYTES) + data[at + random.randrange(2) :]


def _read_request_in_two(data: bytes, cut: int) -> tuple[Line, Fields] | str | None:
    """As a connection does: what is not whole is read again with what came since."""
    reader = RequestReader(PEER)
    try:
        if data[:cut] and (first := reader.read(data[:cut])) is not None:
            return first
        return reader.read(data)
    except Problem:  # with the status of what is wrong first, which is another one where a part is all that is there
        return "refused"


def _check_forwarded(line: Line, read: Fields) -> None:
    head = line.start + read.lines + b"\r\n\r\n"
    told = _plainly(head)
    lengths = [value for name, value in told if name == b"content-length"]
    codings = [value for name, value in told if name == b"transfer-encoding"]
    assert len([name for name, _ in told if name == b"host"]) == 1, head
    assert lengths == ([] if read.length is None else [b"%d" % read.length]), head
    assert codings == ([b"chunked"] if read.chunked else []), head
    assert not (lengths and codings), head
    forbidden = {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        b"proxy-connection",
        b"forwarded",
    }
    assert not forbidden & {name for name, _ in told}, head
    assert all(b"_" not in name or name.replace(b"_", b"-") not in LOOK_ALIKES for name, _ in told), head
    second = SecondOpinion(b"GET / HTTP/1.1" + read.lines + b"\r\n\r\n")  # it has a closed list of methods
    assert second.whole, head
    assert second.fields == told, (head, second.fields)


LOOK_ALIKES = {b"content-length", b"transfer-encoding", b"host", b"x-forwarded-for", b"connection"}


def _plainly(head: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a head by nothing but splitting; there must be no other control character in it."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert not any((byte < 32 and byte != 9) or byte == 127 for line in lines for byte in line), head
    parts = [line.partition(b":") for line in lines[1:]]
    assert all(colon and name and name == name.strip() for name, colon, _ in parts), head
    return [(name.lower(), value.strip(b" \t")) for name, _, value in parts]


class SecondOpinion:
    """What llhttp reads of a head."""

    def __init__(self, head: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.whole = False
        try:
            httptools.HttpRequestParser(self).feed_data(head)
        except httptools.HttpParserUpgrade:
            self.whole = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.whole = True


def try_response(data: bytes, random: Random) -> str:
    try:
        head = read_head(data)
    except BadResponse as error:
        return str(error)
    _check_told(head)
    return "read"


def _check_told(head: Head) -> None:
    """The client reads the status and the length that the codec read, and nothing that frames a body otherwise."""
    told = _plainly(head.start + head.lines + b"\r\n\r\n")
    names = [name for name, _ in told]
    lengths = [value for name, value in told if name == b"content-length"]
    assert b"transfer-encoding" not in names, head
    assert b"connection" not in names, head
    assert len(lengths) <= 1, head
    assert not lengths or int(lengths[0]) == head.length, head
    assert head.start.split(b" ")[1] == b"%d" % head.status, head


def try_body(data: bytes, random: Random) -> str:
    whole = _read_body(data, [len(data)])
    _agree(whole, _read_body(data, _cuts(data, random)), "in pieces")
    _agree(whole, _read_body(data, range(1, len(data) + 1)), "byte by byte")
    if not isinstance(whole, tuple):
        return whole
    read, rest, done = whole
    passed = _read_body(data, _cuts(data, random), StillFramed())
    assert isinstance(passed, tuple), passed
    assert (len(passed[1]), passed[2]) == (len(rest), done), passed
    _agree((read, b"", done), _read_body(passed[0], [len(passed[0])]), "passed on")
    if done:
        again = _read_body(framed(read) + LAST_CHUNK + rest, [len(framed(read) + LAST_CHUNK + rest)])
        assert again == whole, again
    return "read" if done else "not whole"


def _cuts(data: bytes, random: Random) -> Sequence[int]:
    return sorted({random.randrange(len(data) + 1) for _ in range(3)} | {len(data)})


def _read_body(data: bytes, ends: Sequence[int], reader: Chunked | None = None) -> tuple[bytes, bytes, bool] | str:
    """The body, what comes after it, and whether it is done."""
    reader, read, begin = reader or Chunked(), b"", 0
    try:
        for end in ends:
            if reader.done:
                break
            piece, rest = reader.read(data[begin:end])
            read, begin = read + piece, end - len(rest) if reader.done else end
    except BadBody as error:
        return str(error)
    return read, data[begin:] if reader.done else b"", reader.done


def _agree(whole: object, cut: object, how: str) -> None:
    assert whole == cut, f"{how}: {cut} and not {whole}"


Attempt = Callable[[bytes, Random], str]
"""Gives the verdict. Raises whatever must not be."""
CASES: dict[str, tuple[Callable[[Random], bytes], Attempt]] = {
    "request": (almost_http.request, try_request),
    "response": (almost_http.response, try_response),
    "body": (almost_http.body, try_body),
}


def tried(part: tuple[int, int, int]) -> Report:
    """`part` is the seed, the number of the part, and how many inputs."""
    seed, number, inputs = part
    random, report = Random(f"{seed}/{number}"), Report(inputs)
    for name in random.choices(list(CASES), k=inputs):
        make, attempt = CASES[name]
        data = make(random)
        try:
            verdict = attempt(data, random)
        except Exception as error:  # whatever it is, it is a finding
            verdict = "failed"
            report.failures.append(f"{name} {data!r}: {type(error).__name__}: {error}")
        report.verdicts[f"{name}: {verdict}"] += 1
    return report


def reports(inputs: int, *, seed: int, jobs: int) -> Iterator[Report]:
    parts = [(seed, number, min(CHUNK, inputs - begin)) for number, begin in enumerate(range(0, inputs, CHUNK))]
    with get_context("spawn").Pool(jobs) as pool:
        outcomes = pool.imap_unordered(tried, parts)
        for _ in parts:
            yield outcomes.next(timeout=PATIENCE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Fuzzes the router's codec.")
    parser.add_argument("--inputs", type=int, default=10_000_000, metavar="N", help="how many (ten million)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, other inputs (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (one a core)")
    options = parser.parse_args()
    total, began = Report(), time.monotonic()
    for report in reports(options.inputs, seed=options.seed, jobs=options.jobs):
        total.add(report)
        for failure in report.failures[:SHOWN]:
            print(failure, flush=True)
    for verdict, count in sorted(total.verdicts.items()):
        print(f"{count:>10}  {verdict}")
    print(f"{total.inputs} inputs in {time.monotonic() - began:.0f} s: {len(total.failures)} failures")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
