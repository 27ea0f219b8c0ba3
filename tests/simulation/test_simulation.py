"""The deployment engine in worlds that break: what must hold holds in each of them. See `tests.simulation.world`."""

import os
import subprocess
import sys

import pytest

from tests.simulation.world import play

SEEDS = range(200)
"""A sample of what `scripts/simulate` plays."""
GROUP = 20
TELL_DIGESTS = "from tests.simulation.world import play\nfor seed in range(6): print(play(seed).digest)"


@pytest.mark.parametrize("first", SEEDS[::GROUP], ids=lambda first: f"seeds {first} to {first + GROUP - 1}")
def test_all_holds_whatever_breaks(first: int) -> None:
    for seed in range(first, first + GROUP):
        outcome = play(seed)
        assert not outcome.violations, "\n".join([f"scripts/simulate --seed {seed}", *outcome.history])


def test_the_same_seed_has_the_same_history_byte_for_byte() -> None:
    """In processes whose hashes differ, too."""
    told = [
        subprocess.run(
            [sys.executable, "-c", TELL_DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1] == [play(seed).digest for seed in range(6)]
    assert len(set(told[0])) == 6
