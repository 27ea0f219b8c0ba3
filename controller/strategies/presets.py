"""The phases of a canary by name: the guide's presets, and the deployment configurations of AWS CodeDeploy.

CodeDeploy's names are read by their grammar, with or without `CodeDeployDefault.` and `Lambda` or `ECS` before them:

    Canary10Percent5Minutes        10 % for five minutes, then all
    Linear10PercentEvery1Minute    10 % more every minute
    AllAtOnce                      all

As with CodeDeploy, such a deployment is complete as soon as all traffic has moved; the guide's own presets hold and
judge the last phase too.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

from hotswap.errors import Invalid
from hotswap.model import FULL_WEIGHT

STANDARD_DURATION = timedelta(minutes=10)
AGGRESSIVE_DURATION = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Phase:
    percent: int
    """Of the traffic that the new version takes."""
    duration: timedelta
    """How long it is held before it is judged; zero: not at all."""


def _phases(duration: timedelta, *increments: int) -> tuple[Phase, ...]:
    return tuple(Phase(percent, duration) for percent in increments)


STANDARD = _phases(STANDARD_DURATION, 10, 50, 100)
PRESETS = {
    "standard": STANDARD,
    "conservative": _phases(STANDARD_DURATION, 5, 10, 25, 50, 100),
    "aggressive": _phases(AGGRESSIVE_DURATION, 25, 100),
}

CODE_DEPLOY = re.compile(
    r"(?:CodeDeployDefault\.)?(?:Lambda|ECS)?"
    r"(?:Canary(?P<canary>[1-9][0-9]?)Percent(?P<hold>[1-9][0-9]{0,3})Minutes?"
    r"|Linear(?P<linear>[1-9][0-9]?)PercentEvery(?P<every>[1-9][0-9]{0,3})Minutes?"
    r"|(?P<all>AllAtOnce))"
)
CODE_DEPLOY_FORMS = "Canary10Percent5Minutes, Linear10PercentEvery1Minute, LambdaAllAtOnce"
ALL = Phase(FULL_WEIGHT, timedelta(0))


def named(name: str) -> tuple[Phase, ...]:
    """Raises `Invalid` that tells the names there are."""
    if preset := PRESETS.get(name.lower()):
        return preset
    found = CODE_DEPLOY.fullmatch(name)
    if not found:
        raise Invalid(
            f'there is no preset "{name}"',
            hint=f"use {', '.join(PRESETS)}, or a name of CodeDeploy's such as {CODE_DEPLOY_FORMS}",
        )
    if found["canary"]:
        return (Phase(int(found["canary"]), timedelta(minutes=int(found["hold"]))), ALL)
    if found["linear"]:
        growth = int(found["linear"])
        return (*_phases(timedelta(minutes=int(found["every"])), *range(growth, FULL_WEIGHT, growth)), ALL)
    return (ALL,)
