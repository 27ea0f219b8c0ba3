"""What versions may be compared by: the names of the guide, and what a test declares beside them.

{"kind": "mean", "direction": "higher"}                                        of a user: revenue
{"kind": "ratio", "of": "clicks", "per": "views", "direction": "higher"}
{"kind": "quantile", "of": "responseTime", "quantile": 0.99, "direction": "lower"}
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from hotswap.errors import Invalid
from hotswap.model import Model
from hotswap.usage import ReportName

RESPONSE_TIME = "responseTime"
"""What quantiles may be of, beside what is reported."""


class Direction(StrEnum):
    LOWER = "lower"
    """The lower the better."""
    HIGHER = "higher"


class Statistic(StrEnum):
    SHARE = "share"
    """The number of users who report more than 0, however often, by the number of users."""
    MEAN = "mean"
    """The sum of what is reported by the number of users: who reports nothing counts as 0."""
    RATIO = "ratio"
    """The sum of what is reported by the sum of something else, or by the number of invocations."""
    QUANTILE = "quantile"
    """The value that a share of all that is reported does not exceed."""


class Metric(Model, frozen=True, kw_only=True):
    kind: Statistic
    direction: Direction
    of: ReportName | None = None
    """What is reported; by default under the metric's own name."""
    per: ReportName | None = None
    """Of a ratio; by default invocations."""
    quantile: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    title: str = ""
    matters: Annotated[float, msgspec.Meta(ge=0)] = 0.02
    """The smallest difference that matters, as a share of the first version's value."""


def check(name: str, metric: Metric, *, where: str) -> None:
    """Raises `Invalid` for what does not fit to its kind."""
    if (metric.kind is Statistic.QUANTILE) != (metric.quantile is not None):
        raise Invalid(
            f'{where} declares "{name}" as {metric.kind} with quantile {metric.quantile}',
            hint='a quantile says which, and nothing else does: {"kind": "quantile", "quantile": 0.99, …}',
        )
    if metric.per is not None and metric.kind is not Statistic.RATIO:
        raise Invalid(f'{where} declares "{name}" as {metric.kind} with per', hint='that is for {"kind": "ratio", …}')
    if metric.of == RESPONSE_TIME and metric.kind is not Statistic.QUANTILE:
        raise Invalid(
            f'{where} declares "{name}" as {metric.kind} of {RESPONSE_TIME}',
            hint=f'its mean is "{RESPONSE_TIME}" itself, which needs no declaration',
        )
