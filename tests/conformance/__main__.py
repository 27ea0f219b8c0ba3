"""Plays every case through every lane, and prints what was expected and what was seen.

    scripts/conformance [ID ...]          all cases, or those whose id begins so

It is in order if each case is as the tables have it, but for those that `lenient.py` names.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance.cases import WAYS, Listed, listed
from tests.conformance.lenient import LENIENT
from tests.conformance.report import Played, lines
from tests.conformance.upstream import scripted_upstream
from tests.conformance.verdict import play
from tests.conformance.worker import LANES, worker

ANSWER_LIMIT = 10.0
"""Seconds until there is no answer."""


async def main() -> int:
    options = argparse.ArgumentParser(prog="scripts/conformance", description="Plays the conformance cases.")
    options.add_argument("ids", nargs="*", metavar="ID", help="only cases whose id begins so")
    asked = options.parse_args()
    chosen = [it for it in listed() if not asked.ids or it.id.startswith(tuple(asked.ids))]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for lane in LANES:
            plays = await _played(lane, chosen, Path(folder))
            wrong = [it for it in plays if bool(it.deviations) != (it.listed.id in LENIENT[lane])]
            print(f"{lane} lane", *lines(plays), "", sep="\n")
            print(f"{len(plays)} plays of {len(chosen)} cases: {len(wrong)} not as they should be")
            failed += len(wrong)
    return 1 if failed else 0


async def _played(lane: str, chosen: list[Listed], folder: Path) -> list[Played]:
    async with scripted_upstream() as upstream, worker(lane, upstream.port, folder) as router:
        return [
            Played(it, way, await play(it.case, way, router.port, upstream, limit=ANSWER_LIMIT))
            for it in chosen
            for way in WAYS
        ]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
