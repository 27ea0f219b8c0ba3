"""ABTesting: versions share the traffic, each user staying with one, until a person names the winner.

    0:00   production -> v1 (50 %) + v2 (50 %), users tied to versions      Start 1, Start 2 · give 50/50 · hold
    24:00  compared; a person promotes v2 -> v2 (100 %), v1 is retired      await the promotion · give v2 100 %

The challengers, all but the version that has the traffic now, are judged by the limits while the test runs and while
it waits for its winner. What is shifted at the end is planned when the winner is known.
"""

import re

from controller.strategies.plan import Plan, State, latency_limit, limits, start, way_back
from hotswap.deployment import AnyStep, AwaitPromotion, Bake, Shift, Start
from hotswap.errors import Invalid, Refused
from hotswap.judge.measures import MEASURES
from hotswap.metric import check
from hotswap.model import FULL_WEIGHT, Sticky, Weights, check_weights
from hotswap.requests import ABTesting, ABTestingConfig

STICKY_BY = re.compile(r"client|(?:header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Header and cookie names are tokens (RFC 9110 section 5.6.2)."""


def steps(request: ABTesting, state: State) -> Plan:
    split, config = _split(request, state), request.config
    versions = sorted(split)
    challengers = [version for version in versions if version != state.stable]
    before = state.alias.sticky if state.alias else None
    _check_metrics(config)
    test: tuple[AnyStep, ...] = (
        *(start(state.version) if version == request.version else Start(version=version) for version in versions),
        Shift(weights=split, latency_limit=latency_limit(config), sticky=_sticky(config, before)),
        Bake(versions=challengers, duration=config.test_duration, limits=limits(config)),
        AwaitPromotion(
            versions=versions,
            judged=challengers,
            limits=limits(config),
            limit=config.promotion_limit,
            weights=split,
            metrics=config.metrics_to_compare,
            declared=config.metrics,
            primary=config.primary_metrics,
            planned=config.planned_units,
            automatic=not config.manual_promotion,
            before=before,
        ),
    )
    gone = [version for version in {*versions, *state.others} if version != state.stable]
    return Plan(test, way_back(state.stable, gone, sticky=before), state.stable)


def _split(request: ABTesting, state: State) -> Weights:
    a = request.config.version_a or state.stable
    b = request.config.version_b or request.version
    if a is None:
        raise Refused(
            f'alias "{request.alias}" of "{request.function_name}" has no version to test version {b} against',
            hint=f"deploy one first: `hotswap deploy {request.function_name} VERSION`; or name it: config.versionA",
        )
    if a == b:
        raise Invalid(f"config.versionA and config.versionB are both {a}", hint="a test compares different versions")
    split = request.config.traffic_split or {a: FULL_WEIGHT - FULL_WEIGHT // 2, b: FULL_WEIGHT // 2}
    check_weights(split, where="config.trafficSplit")
    named = {version: weight for version, weight in split.items() if weight}
    for version, field in ((a, "versionA"), (b, "versionB"), (request.version, "version")):
        if version not in named:
            raise Invalid(
                f"config.trafficSplit gives no traffic to {field} {version}",
                hint=f'for example {{"{a}": 50, "{b}": 50}}',
            )
    return named


def _check_metrics(config: ABTestingConfig) -> None:
    for name, metric in config.metrics.items():
        check(name, metric, where="config.metrics")
    for name in config.metrics_to_compare:
        if name not in MEASURES and name not in config.metrics:
            raise Invalid(
                f'config.metricsToCompare names "{name}", which is none of {", ".join(MEASURES)} and is not declared',
                hint=f'declare it: config.metrics {{"{name}": {{"kind": "mean", "direction": "higher"}}}}',
            )
    for name in config.primary_metrics:
        if name not in config.metrics_to_compare:
            raise Invalid(
                f'config.primaryMetrics names "{name}", which is not compared',
                hint="name it in config.metricsToCompare too",
            )


def _sticky(config: ABTestingConfig, before: Sticky | None) -> Sticky:
    if config.sticky is None:
        return before or Sticky(by="client")
    if not STICKY_BY.fullmatch(config.sticky):
        raise Invalid(f'config.sticky is "{config.sticky}"', hint="use header:NAME, cookie:NAME or client")
    return Sticky(by=config.sticky)
