"""The beta function and its regularised incomplete integral, in logarithms and accurate in both tails. Pure.

The judge compares probabilities such as 10^-4000 at samples of millions of invocations. Two things make that go wrong
if it is written down as in a textbook. Powers underflow: so everything here is a logarithm. And terms of the size
10^8 cancel to a few units: so what is common to gamma functions and powers is taken out first (Loader, "Fast and
accurate computation of binomial probabilities", 2000), and what is left is small.

`a` and `b` are at least 1/2 here, as a sample with Jeffreys' prior has them. SciPy, the oracle of the tests, would be
more than 100 MB in production for three functions.
"""

from math import exp, inf, lgamma, log, log1p, pi, sqrt

STIRLING_FROM = 10.0
"""Where the series for Stirling's error is exact to a double; below it the logarithm of gamma is small itself."""
TINY = 1e-300
"""Stands for a denominator of zero in Lentz's method."""
CONVERGED = 1e-15
"""Relative change of the continued fraction that counts as none."""
CLOSE = 0.1
"""Relative distance below which a deviance is summed as a series."""


def log_beta(a: float, b: float) -> float:
    """ln B(a, b)."""
    n = a + b
    powers = a * _log_share(a, b) + b * _log_share(b, a)
    return powers + 0.5 * log(2 * pi * n / a / b) + _stirling_error(a) + _stirling_error(b) - _stirling_error(n)


def log_density(a: float, b: float, x: float) -> float:
    """ln [x^a (1 - x)^b / B(a, b)] for 0 < x < 1."""
    return _log_density(a, b, x, 1 - x)


def log_betainc(a: float, b: float, x: float) -> float:
    """ln I_x(a, b): the probability that a Beta(a, b) is at most x."""
    if x <= 0:
        return -inf
    return _log_integral(a, b, x, 1 - x) if x < 1 else 0.0


def log_betaincc(a: float, b: float, x: float) -> float:
    """ln [1 - I_x(a, b)], accurate where I_x is close to 1."""
    if x >= 1:
        return -inf
    return _log_integral(b, a, 1 - x, x) if x > 0 else 0.0


def _log_integral(a: float, b: float, x: float, y: float) -> float:
    """ln I_x(a, b), y = 1 - x. The fraction converges fast on the left of the mean; right of it, the other tail's."""
    if x < (a + 1) / (a + b + 2):
        return _log_tail(a, b, x, y)
    return _log_one_less(_log_tail(b, a, y, x))


def _log_tail(a: float, b: float, x: float, y: float) -> float:
    return _log_density(a, b, x, y) + log(_fraction(a, b, x, y))


def _log_one_less(tail: float) -> float:
    """ln (1 - e^tail). Rounding may lift a tail that is all but everything to 1."""
    return log1p(-exp(tail)) if tail < 0 else -inf


def _fraction(a: float, b: float, x: float, y: float) -> float:
    """A continued fraction of I_x(a, b) over its density, by the modified Lentz method.

    The fraction: DiDonato and Morris, "Algorithm 708", 1992, equation 9, which takes how far x is from the mean as one
    number and not as a difference of large ones. The method: Thompson and Barnett 1986. It takes about
    sqrt(max(a, b)) steps at the mean and few far from it.
    """
    off = (a + b) * y - b if a > b else a - (a + b) * x
    f = c = _nonzero(a * (off + 1) / (a + 1))
    d = 0.0
    for m in range(1, 200 + int(20 * sqrt(max(a, b)))):
        s = a + 2 * m - 1
        w = m * (b - m) * x
        over = (a + m - 1) * (a + b + m - 1) * w * x / (s * s)
        under = m + w / s + (a + m) * (off + 1 + m * (1 + y)) / (s + 2)
        d = 1 / _nonzero(under + over * d)
        c = _nonzero(under + over / c)
        f *= c * d
        if abs(c * d - 1) < CONVERGED:
            return 1 / f
    raise ArithmeticError(f"the incomplete beta function of a={a!r}, b={b!r} at {x!r} does not converge")


def _nonzero(value: float) -> float:
    return value if abs(value) > TINY else TINY


def _log_density(a: float, b: float, x: float, y: float) -> float:
    """By how far x is from the share a/n: both deviances are 0 where they are equal, and never cancel."""
    n = a + b
    deviance = _deviance(a, n * x) + _deviance(b, n * y)
    return 0.5 * log(a / n * b / (2 * pi)) - deviance + _stirling_error(n) - _stirling_error(a) - _stirling_error(b)


def _deviance(seen: float, expected: float) -> float:
    """seen·ln(seen/expected) + expected - seen, which is never negative."""
    off = seen - expected
    if abs(off) >= CLOSE * (seen + expected):
        return seen * log(seen / expected) - off
    ratio = off / (seen + expected)
    total, term, k = off * ratio, 2 * seen * ratio, 1
    while True:
        term *= ratio * ratio
        k += 2
        longer = total + term / k
        if longer == total:
            return total
        total = longer


def _log_share(a: float, b: float) -> float:
    """ln [a / (a + b)]."""
    return log1p(-b / (a + b)) if b < a else log(a / (a + b))


def _stirling_error(z: float) -> float:
    """ln Γ(z) less Stirling's [(z - 1/2)·ln z - z + ln(2π)/2]; DLMF 5.11.1."""
    if z < STIRLING_FROM:
        return lgamma(z) - ((z - 0.5) * log(z) - z + 0.5 * log(2 * pi))
    s = 1 / (z * z)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * 691 / 360360))))) / z
