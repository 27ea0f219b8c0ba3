"""Whether the versions of a test get the traffic that their weights say. Pure.

Where they do not, something favours one of them (it loses invocations, or its users go away), and whatever is compared
is compared between different people. Sequential, so it may be looked at at any time: Lindon and Malek 2022,
"Anytime-valid inference for multinomial count data".
"""

from collections.abc import Mapping
from math import exp, inf, lgamma, log

from hotswap.model import VersionNumber, Weights
from hotswap.users import CELLS

CONCENTRATION = 100
"""How close to the weights a mismatch is thought to be, in units of a prior sample."""
ALARM = log(1000)
"""Evidence from which a winner is withheld: a clean split ever gets there once in a thousand tests."""


def thinned(users: Mapping[VersionNumber, float]) -> dict[VersionNumber, float]:
    """As many users as could be counted exactly with as little doubt: their number is an estimate (`hotswap.usage`).

    Of n users in m cells its variance is m·(eᵗ - t - 1), with t = n/m; so much is added to what chance does to a split.
    All versions are thinned alike, by the most.
    """
    fill = max(users.values(), default=0.0) / CELLS
    doubt = (exp(fill) - fill - 1) / fill if fill else 0.0
    return {version: count / (1 + doubt) for version, count in users.items()}


def mismatch(units: Mapping[VersionNumber, float], weights: Weights) -> float:
    """ln of the evidence that units came otherwise than by these weights.

    Of two versions it is the Beta-binomial Bayes factor, of more the Dirichlet-multinomial one. When the weights
    changed, the evidence of each time under one set of weights adds up.
    """
    total, of = sum(units.values()), sum(weights.get(version, 0) for version in units)
    evidence = lgamma(CONCENTRATION) - lgamma(CONCENTRATION + total)
    for version, count in units.items():
        share = weights.get(version, 0) / of if of else 0.0
        if share:
            prior = CONCENTRATION * share
            evidence += lgamma(prior + count) - lgamma(prior) - count * log(share)
        elif count:
            return inf
    return evidence
