"""The short form of `scripts/bench swaps`: what it shows at length holds at every change of the code."""

from benchmarks import swaps


async def test_swaps_under_load_fail_no_invocation_and_the_shares_are_the_weights() -> None:
    result = await swaps.run(count=4, seconds=3, rounds=5)
    assert swaps.good(result), result
