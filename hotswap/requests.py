"""What a person asks for: one request type per strategy, in the guide's JSON as it stands there.

    {"functionName": "image-processor", "version": 6, "strategy": "Canary", "config": {"canaryPercentage": 10}}

The field `strategy` selects the type; `config` holds what only that strategy knows. Presets and the names of
CodeDeploy's deployment configurations are resolved in `controller.strategies`.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import msgspec

from hotswap.metric import Metric
from hotswap.model import DEFAULT_ALIAS, Model, VersionNumber, Weights, decode
from hotswap.suite import Suite
from hotswap.usage import ReportName

Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
WholePercent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[float, msgspec.Meta(gt=0)]
Ratio = Annotated[float, msgspec.Meta(ge=1)]


class OnInsufficientData(StrEnum):
    """What becomes of a phase whose sample says neither yes nor no."""

    HOLD = "hold"
    ADVANCE = "advance"
    ROLLBACK = "rollback"


class OnSharedIncident(StrEnum):
    """What becomes of a version that fails while the stable one beside it fails likewise: the fault is elsewhere."""

    HOLD = "hold"
    ROLLBACK = "rollback"


class OnFailure(StrEnum):
    """What becomes of a deployment whose version fails."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    """Stop where it is, for a person to decide."""


class OnConflict(StrEnum):
    """What becomes of a deployment whose alias has another one running."""

    REJECT = "reject"
    QUEUE = "queue"
    """Wait until the alias is free, behind those that wait already."""
    SUPERSEDE = "supersede"
    """Have the others aborted, and begin when the alias is back."""


class Limits(Model, frozen=True, kw_only=True):
    """The guide's rollback thresholds, judged at the end of each phase."""

    rollback_on_error_rate: Rate | None = 0.05
    rollback_on_latency_p99: Milliseconds | None = None
    rollback_on_success_rate: Rate | None = None
    rollback_on_error_ratio: Ratio | None = 2
    """How many times as often as the stable version beside it the new one may fail."""
    on_shared_incident: OnSharedIncident = OnSharedIncident.ROLLBACK
    warn_on_cold_start_rate: Rate | None = 0.5
    min_invocations: Annotated[int, msgspec.Meta(ge=1)] = 20
    """A phase with fewer than this has told nothing."""
    on_insufficient_data: OnInsufficientData = OnInsufficientData.HOLD


class AllAtOnceConfig(Model, frozen=True, kw_only=True):
    pass


class CanaryConfig(Limits, frozen=True, kw_only=True):
    canary_percentage: WholePercent | None = None
    """The first increment, when `canary_increments` is absent; 50 follows as in the guide, where it is more."""
    canary_duration: timedelta | None = None
    """How long each phase holds (PT10M)."""
    canary_increments: Annotated[list[WholePercent], msgspec.Meta(min_length=1)] | None = None
    preset: str | None = None
    """`standard`, `conservative`, `aggressive`, or a name of CodeDeploy's such as `Canary10Percent5Minutes`."""
    harm_budget: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many invocations of the new version may fail: its weight follows from that, in place of increments."""
    skip_analysis: bool = False
    """For what cannot wait: no phases and no verdicts, as All-At-Once; the rest of the configuration stays unused."""


class SwitchType(StrEnum):
    INSTANT = "Instant"


class BlueGreenConfig(Limits, frozen=True, kw_only=True):
    test_duration: timedelta = timedelta(minutes=5)
    """How long green stands without traffic before it is tested, and how long its tests may take."""
    tests: Suite = Suite()
    switch_type: SwitchType = SwitchType.INSTANT
    monitor_duration: timedelta = timedelta(minutes=5)
    """How long green has all traffic before it is judged."""
    keep_blue: bool = True
    keep_blue_duration: timedelta = timedelta(hours=1)


class RollingConfig(Limits, frozen=True, kw_only=True):
    batch_size: Percent = 25
    """Percent of the nodes that change at a time."""
    batch_nodes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many nodes change at a time, in place of a percentage."""
    batch_duration: timedelta = timedelta(minutes=5)
    min_healthy: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None
    """Percent of the nodes that must serve the function before another batch begins; by default all but one batch."""
    rollback_on_failure: bool = True


class ABTestingConfig(Limits, frozen=True, kw_only=True):
    version_a: VersionNumber | None = None
    """By default the version that has the traffic."""
    version_b: VersionNumber | None = None
    """By default the version that is deployed."""
    traffic_split: Weights | None = None
    """By default even between A and B; may name more versions than these two."""
    sticky: str | None = None
    """`header:NAME`, `cookie:NAME` or `client`: by what a user stays with a version. By default as the alias has it,
    else by the client's address."""
    test_duration: timedelta = timedelta(hours=24)
    promotion_limit: timedelta = timedelta(days=7)
    """How long the end of the test waits for a person; then the alias goes back."""
    manual_promotion: bool = True
    metrics_to_compare: list[str] = msgspec.field(default_factory=lambda: ["responseTime", "errorRate"])
    metrics: dict[ReportName, Metric] = {}
    """Those of them that are none of the guide's: `responseTime`, `errorRate`, `conversionRate`, `userEngagement`."""
    primary_metrics: list[str] = []
    """Of these the winner must win one; of all that are compared, where none is named."""
    planned_units: Annotated[int, msgspec.Meta(ge=200)] = 10_000
    """How many users of two versions together the intervals are narrowest for."""


class Request(Model, frozen=True, kw_only=True, tag_field="strategy"):
    function_name: str
    version: VersionNumber
    alias: str = DEFAULT_ALIAS
    reason: str = ""
    on_conflict: OnConflict = OnConflict.REJECT
    force: bool = False
    """Deploy the version though it is in quarantine."""


class AllAtOnce(Request, frozen=True, kw_only=True, tag="AllAtOnce"):
    config: AllAtOnceConfig = AllAtOnceConfig()


class Canary(Request, frozen=True, kw_only=True, tag="Canary"):
    config: CanaryConfig = CanaryConfig()


class BlueGreen(Request, frozen=True, kw_only=True, tag="BlueGreen"):
    config: BlueGreenConfig = BlueGreenConfig()


class Rolling(Request, frozen=True, kw_only=True, tag="Rolling"):
    config: RollingConfig = RollingConfig()


class ABTesting(Request, frozen=True, kw_only=True, tag="ABTesting"):
    config: ABTestingConfig = ABTestingConfig()


AnyRequest = AllAtOnce | Canary | BlueGreen | Rolling | ABTesting

STRATEGIES: dict[str, type[AnyRequest]] = {
    "AllAtOnce": AllAtOnce,
    "Canary": Canary,
    "BlueGreen": BlueGreen,
    "Rolling": Rolling,
    "ABTesting": ABTesting,
}


def parse(data: bytes | str, *, where: str = "deployment request") -> AnyRequest:
    """A request from the guide's JSON; raises `Invalid` with the field that is wrong."""
    return decode(data, AnyRequest, where=where)  # type: ignore[arg-type]
