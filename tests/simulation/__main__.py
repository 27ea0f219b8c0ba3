"""Plays the worlds of many seeds, and shows the history of the first ones that fail.

scripts/simulate                      20,000 seeds, on all cores
scripts/simulate --first 500 --seeds 100 --jobs 1
scripts/simulate --seed 4711          one seed, with its history whether it fails or not
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing import get_context

from tests.simulation.world import Outcome, judged, play

SHOWN = 3
"""Failing seeds whose history is shown; of the others the seed and what was violated."""
EVERY = 5.0
"""Seconds between two lines of progress."""
AT_ONCE = 20
"""Seeds that a process is given at a time ..."""
CHUNKS = 25
"""... and how often, before another takes its place: what dies in a world without clearing up stays in memory."""

PATIENCE = 600.0
"""Seconds without an outcome that are too many."""


def main() -> int:
    options = _options()
    if options.seed is not None:
        outcome = play(options.seed)
        print("\n".join(outcome.history))
        print(_line(outcome))
        return 1 if outcome.violations else 0
    seeds = range(options.first, options.first + options.seeds)
    return _report(_played(seeds, options.jobs), len(seeds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Plays worlds of the deployment engine.")
    parser.add_argument("--seeds", type=int, default=20_000, metavar="N", help="how many seeds (20000)")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first of them (0)")
    parser.add_argument("--seed", type=int, metavar="S", help="only this one, with its history")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (one a core)")
    return parser.parse_args()


def _played(seeds: range, jobs: int) -> Iterator[Outcome]:
    """In the order of the seeds. Raises `TimeoutError` when nothing comes any more: a process was killed."""
    with get_context("spawn").Pool(jobs, maxtasksperchild=CHUNKS) as pool:
        chunks = [seeds[begin : begin + AT_ONCE] for begin in range(0, len(seeds), AT_ONCE)]
        outcomes = pool.imap(judged, chunks)
        for _ in chunks:
            yield from outcomes.next(timeout=PATIENCE)


def _report(outcomes: Iterable[Outcome], total: int) -> int:
    begun = told = time.monotonic()
    failed: list[Outcome] = []
    ended: Counter[str] = Counter()
    revisions, seconds = 0, 0.0
    for played, outcome in enumerate(outcomes, 1):
        ended.update(outcome.deployments)
        revisions, seconds = revisions + outcome.revisions, seconds + outcome.seconds
        if outcome.violations:
            failed.append(outcome)
            print("\n".join(outcome.history) if len(failed) <= SHOWN else "", _line(outcome), sep="\n", flush=True)
        if (now := time.monotonic()) - told >= EVERY or played == total:
            told = now
            rate = played / (now - begun)
            print(f"{played} of {total} seeds, {rate:.1f} a second, {len(failed)} failed", file=sys.stderr, flush=True)
    print(
        f"{total} seeds, {sum(ended.values())} deployments ({_told(ended)}), {revisions} revisions, "
        f"{seconds / 3600:.0f} h of their time in {time.monotonic() - begun:.0f} s of ours: {len(failed)} failed"
    )
    for outcome in failed:
        print(_line(outcome))
    return 1 if failed else 0


def _told(ended: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in ended.most_common())


def _line(outcome: Outcome) -> str:
    return f"seed {outcome.seed}: {'; '.join(outcome.violations) or 'all holds'}"


if __name__ == "__main__":
    sys.exit(main())
