"""How a verdict tells its figures."""

from hotswap.metrics import Tally


def percent(rate: float) -> str:
    return f"{rate * 100:.3g} %"


def share(count: int, tally: Tally) -> str:
    return f"{percent(count / tally.invocations)} ({count} of {tally.invocations})"


def plural(invocations: int) -> str:
    return f"{invocations} invocation{'' if invocations == 1 else 's'}"
