"""A steady load of real pictures on the router, and what became of each of them.

The pace does not follow the answers: an invocation begins when its time has come, however long others take.
"""

import asyncio
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path

import aiohttp

JPEG = b"\xff\xd8\xff"
"""The first bytes of a thumbnail."""
ANSWER_LIMIT = 15.0
"""Seconds."""
TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


class Outcome(Enum):
    GOOD = "good"
    FUNCTION = "failed by the function"
    """The function answered, and its answer was an error."""
    PLATFORM = "failed by the platform"
    """Everything else: no answer, an answer of the router's own, an answer that is no thumbnail."""


@dataclass(frozen=True, slots=True)
class Invocation:
    at: float
    """Wall-clock time of its start."""
    seconds: float
    version: int
    """0 when no version answered."""
    outcome: Outcome
    text: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    content: bytes
    headers: dict[str, str]


def pictures(folder: Path) -> list[Picture]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in TYPES)
    return [Picture(path.read_bytes(), {"content-type": TYPES[path.suffix]}) for path in paths]


def mixed(pictures: Sequence[Picture], chance: random.Random) -> Iterator[Picture]:
    """Each as often as the others, in an order that no split of the traffic keeps time with."""
    while True:
        yield from chance.sample(pictures, len(pictures))


@dataclass
class Load:
    url: str
    pictures: Iterator[Picture]
    rate: float
    """Invocations a second."""
    done: list[Invocation] = field(default_factory=list)

    async def run(self, until: asyncio.Event) -> None:
        """Returns when the event is set and every invocation has its answer."""
        loop = asyncio.get_running_loop()
        begin, count = loop.time(), 0
        connector = aiohttp.TCPConnector(limit=0)
        limit = aiohttp.ClientTimeout(total=ANSWER_LIMIT)
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session, asyncio.TaskGroup() as tasks:
            while not until.is_set():
                tasks.create_task(self._invoke(session, next(self.pictures)))
                count += 1
                await asyncio.sleep(max(0.0, begin + count / self.rate - loop.time()))

    async def _invoke(self, session: aiohttp.ClientSession, picture: Picture) -> None:
        at, begin = time.time(), time.perf_counter()
        version = 0
        try:
            async with session.post(self.url, data=picture.content, headers=picture.headers) as answer:
                version = int(answer.headers.get("Hotswap-Version", "0"))
                body = await answer.read()
                outcome, text = judged(answer.status, answer.headers.get("content-type", ""), body)
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome, text = Outcome.PLATFORM, f"{type(error).__name__}: {error}"
        self.done.append(Invocation(at, time.perf_counter() - begin, version, outcome, text))

    def since(self, at: float) -> list[Invocation]:
        """Those that ended after this wall-clock time."""
        return self.done[bisect_left(self.done, at, key=lambda it: it.at + it.seconds) :]


def judged(status: int, content_type: str, body: bytes) -> tuple[Outcome, str]:
    if status == 200 and body.startswith(JPEG):
        return Outcome.GOOD, ""
    text = f"{status}: {body[:200].decode(errors='replace')}"
    own = status == 500 and b"errorType" in body and "problem+json" not in content_type
    return (Outcome.FUNCTION if own else Outcome.PLATFORM), text


@dataclass(frozen=True, slots=True)
class Summary:
    count: int
    shares: dict[int, float]
    """Percent by version, of those that a version answered."""
    failed: dict[Outcome, int]
    p50: float
    p99: float
    """Seconds."""


def summary(invocations: Sequence[Invocation]) -> Summary:
    versions = Counter(it.version for it in invocations if it.version)
    outcomes = Counter(it.outcome for it in invocations)
    durations = sorted(it.seconds for it in invocations)
    return Summary(
        count=len(invocations),
        shares={version: 100 * count / versions.total() for version, count in sorted(versions.items())},
        failed={outcome: outcomes[outcome] for outcome in (Outcome.FUNCTION, Outcome.PLATFORM)},
        p50=quantile(durations, 0.50),
        p99=quantile(durations, 0.99),
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    return next(islice(ordered, int(q * len(ordered)), None), 0.0)
