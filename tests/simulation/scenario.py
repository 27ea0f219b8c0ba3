"""What a seed stands for: how large the world is, what its versions are like, what people do and what breaks, and when.

All of it is drawn before the world begins. A new verb of people's or a new fault is one more class here, one more line
in its table of weights, and its method in `people` or `faults`.
"""

from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from hotswap.deployment import Verb
from hotswap.requests import (
    ABTesting,
    ABTestingConfig,
    AllAtOnce,
    AnyRequest,
    BlueGreen,
    BlueGreenConfig,
    Canary,
    CanaryConfig,
    OnConflict,
    OnInsufficientData,
    Rolling,
    RollingConfig,
)
from tests.simulation.network import Weather
from tests.simulation.versions import Nature, drawn

FUNCTION_NAMES = ("resize", "thumbs")
OVERRIDES = 0.4
"""How often a person insists on weights while a deployment runs."""
FORCES = 0.3
"""How often on a version that failed."""
ROLLS_BACK = 0.7
ALIASES = ("production", "production", "production", "staging")


@dataclass(frozen=True, slots=True)
class Deploy:
    request: AnyRequest


@dataclass(frozen=True, slots=True)
class Ask:
    """Of the newest deployment of the function."""

    function: str
    verb: Verb


@dataclass(frozen=True, slots=True)
class SetWeights:
    function: str
    alias: str
    weights: dict[int, int]
    override: bool


@dataclass(frozen=True, slots=True)
class Edit:
    """Past the controller, straight in the store; without weights the alias is deleted."""

    function: str
    alias: str
    weights: dict[int, int]


Act = Deploy | Ask | SetWeights | Edit


@dataclass(frozen=True, slots=True)
class LeaderDies:
    """At one of the next points at which it can."""

    points: int
    back_after: float


@dataclass(frozen=True, slots=True)
class LeaderIsCutOff:
    seconds: float


@dataclass(frozen=True, slots=True)
class LeaderIsBlind:
    """Its lease ends and it does not notice: it goes on as if it led."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NodeDies:
    number: int
    back_after: float


@dataclass(frozen=True, slots=True)
class AgentDies:
    number: int
    back_after: float


@dataclass(frozen=True, slots=True)
class NodeIsCutOff:
    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RouterDies:
    number: int
    back_after: float


@dataclass(frozen=True, slots=True)
class RouterIsCutOff:
    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class NodeJoins:
    pass


Fault = (
    LeaderDies
    | LeaderIsCutOff
    | LeaderIsBlind
    | NodeDies
    | AgentDies
    | NodeIsCutOff
    | RouterDies
    | RouterIsCutOff
    | NodeJoins
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    clocks: list[float]
    """Of each controller: how many seconds its clock is ahead."""
    nodes: int
    routers: int
    rates: dict[str, float]
    natures: dict[tuple[str, int], Nature]
    weather: Weather
    acts: list[tuple[float, Act]]
    faults: list[tuple[float, Fault]]
    lag: float
    """Seconds that a router may take to apply what it was told."""
    storm: float
    """Seconds for which things break; then all that is left has time to end."""
    decides: bool
    """Whether a person decides about what is held, when the storm is over."""


def scenario(random: Random) -> Scenario:
    functions = FUNCTION_NAMES[: random.choices([1, 2], weights=[3, 1])[0]]
    storm = random.choice([30.0, 60.0, 120.0, 240.0])
    natures = {(function, 1): Nature(start=0.5) for function in functions}
    natures |= {(function, number): drawn(random, until=storm) for function in functions for number in range(2, 6)}
    return Scenario(
        clocks=[random.choice([0.0, 0.0, 0.7, -0.7, 12.0]) for _ in range(random.choice([2, 2, 3]))],
        nodes=random.choice([1, 2, 3]),
        routers=random.choice([1, 1, 2]),
        rates={function: random.choice([0.5, 20.0, 100.0]) for function in functions},
        natures=natures,
        weather=_weather(random),
        acts=_acts(random, functions, storm),
        faults=_faults(random, storm),
        lag=random.choice([0.005, 0.05, 1.0]),
        storm=storm,
        decides=random.random() < 0.9,
    )


def _weather(random: Random) -> Weather:
    rough = random.choice([0.0, 0.01, 0.05])
    return Weather(
        slow=rough * 2,
        lost=rough * random.random(),
        late=rough * random.random(),
        unanswered=rough * random.random() * 2,
        repeated=rough,
    )


def _acts(random: Random, functions: tuple[str, ...], storm: float) -> list[tuple[float, Act]]:
    acts: list[tuple[float, Act]] = [
        (0.0, Deploy(AllAtOnce(function_name=function, version=1))) for function in functions
    ]
    for function in functions:
        for version in range(2, 6):
            acts.append((random.uniform(5.0, storm), Deploy(_request(random, function, version))))
        for _ in range(random.choice([0, 0, 1, 3, 6])):
            acts.append((random.uniform(5.0, storm), _intervention(random, function)))
    return sorted(acts, key=lambda entry: entry[0])


def _request(random: Random, function: str, version: int) -> AnyRequest:
    request = random.choices([_at_once, _canary, _blue_green, _rolling, _test], weights=[2, 5, 2, 3, 2])[0]
    conflict = random.choice([OnConflict.REJECT, OnConflict.REJECT, OnConflict.QUEUE, OnConflict.SUPERSEDE])
    where = {"alias": random.choice(ALIASES), "on_conflict": conflict, "force": random.random() < FORCES}
    return request(random, function_name=function, version=version, **where)


def _seconds(random: Random) -> timedelta:
    return timedelta(seconds=random.choice([0, 2, 5, 12, 30]))


def _judged(random: Random) -> dict[str, Any]:
    return {
        "on_insufficient_data": random.choice(list(OnInsufficientData)),
        "min_invocations": random.choice([1, 20]),
        "rollback_on_success_rate": random.choice([None, 0.9]),
    }


def _at_once(random: Random, **where: Any) -> AnyRequest:
    return AllAtOnce(**where)


def _blue_green(random: Random, **where: Any) -> AnyRequest:
    config = BlueGreenConfig(
        test_duration=_seconds(random),
        monitor_duration=_seconds(random),
        keep_blue_duration=_seconds(random),
        **_judged(random),
    )
    return BlueGreen(config=config, **where)


def _rolling(random: Random, **where: Any) -> AnyRequest:
    config = RollingConfig(
        batch_size=random.choice([25, 34, 50, 100]),
        batch_duration=_seconds(random),
        min_healthy=random.choice([None, 0, 50]),
        rollback_on_failure=random.random() < ROLLS_BACK,
        **_judged(random),
    )
    return Rolling(config=config, **where)


def _test(random: Random, **where: Any) -> AnyRequest:
    config = ABTestingConfig(
        test_duration=_seconds(random),
        promotion_limit=timedelta(hours=1),
        manual_promotion=random.random() < ROLLS_BACK,
        **_judged(random),
    )
    return ABTesting(config=config, **where)


def _canary(random: Random, **where: Any) -> AnyRequest:
    config = CanaryConfig(
        canary_increments=random.choice([[100], [50], [10, 50], [5, 25, 75]]),
        canary_duration=_seconds(random),
        **_judged(random),
    )
    return Canary(config=config, **where)


def _intervention(random: Random, function: str) -> Act:
    kind = random.choices(["ask", "set", "edit"], weights=[5, 4, 2])[0]
    if kind == "ask":
        return Ask(function, random.choice(list(Verb)))
    alias, one, other = random.choice(ALIASES), random.randint(1, 5), random.randint(1, 5)
    share = random.choice([50, 90, 100])
    weights = {one: 100} if one == other or share == 100 else {one: share, other: 100 - share}
    if kind == "edit" and random.random() < 0.2:
        weights = {}
    if kind == "set":
        return SetWeights(function, alias, weights, random.random() < OVERRIDES)
    return Edit(function, alias, weights)


def _faults(random: Random, storm: float) -> list[tuple[float, Fault]]:
    """Some of any kind; or no leader lives for long."""
    if random.random() < 0.15:
        faults = [LeaderDies(random.randint(1, 6), 0.5) for _ in range(20)]
        return [(storm * number / len(faults), fault) for number, fault in enumerate(faults, 1)]
    times = sorted(random.uniform(1.0, storm) for _ in range(random.choice([0, 1, 2, 3, 5, 8])))
    return [(when, _fault(random)) for when in times]


def _fault(random: Random) -> Fault:
    seconds = random.choice([1.0, 6.0, 15.0, 40.0])
    number = random.randrange(3)
    kinds: dict[type[Fault], int] = {
        LeaderDies: 10,
        LeaderIsCutOff: 3,
        LeaderIsBlind: 4,
        NodeDies: 2,
        AgentDies: 2,
        NodeIsCutOff: 1,
        RouterDies: 2,
        RouterIsCutOff: 1,
        NodeJoins: 1,
    }
    kind = random.choices(list(kinds), weights=list(kinds.values()))[0]
    if kind is LeaderDies:
        return LeaderDies(random.randint(1, 16), seconds)
    if kind is LeaderIsCutOff:
        return LeaderIsCutOff(seconds)
    if kind is LeaderIsBlind:
        return LeaderIsBlind(seconds)
    if kind is NodeJoins:
        return NodeJoins()
    return kind(number, seconds)  # type: ignore[call-arg]
