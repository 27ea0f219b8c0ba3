"""A version that fails half of the time is taken back on the evidence of a few errors: `scripts/bench detection`."""

from benchmarks import detection
from hotswap.judge.guard import LEAST_BAD


async def test_a_version_that_fails_half_of_the_time_is_taken_back_by_the_guard_each_time() -> None:
    for run in await detection.measure(2):  # which raises unless it is rolled back
        assert run.errors >= LEAST_BAD
        assert run.failed >= run.errors
