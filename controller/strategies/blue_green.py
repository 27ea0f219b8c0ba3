"""BlueGreen: the new version is tested without traffic, takes all of it at once, and the old one stays warm beside it.

    0:00  green (v6) is started with 0 %                     Start 6
    0:05  its tests are run                                  Test 6
    0:10  green takes everything, and is watched             give v6 100 % · hold
    0:15  judged -> blue (v5) is kept for an hour            Keep 5
    1:15  blue is retired                                    Retire 5

`testDuration` is how long green stands before it is tested, and how long the tests may take: green takes over as soon
as they have passed, so that the times from 0:10 on are the latest. A rollback is one shift
for as long as blue is kept. A deployment that comes meanwhile ends the keeping.
"""

from controller.strategies.plan import Plan, State, give_all, latency_limit, limits, plan, start
from hotswap.deployment import AnyStep, Bake, Keep, Test
from hotswap.requests import BlueGreen


def steps(request: BlueGreen, state: State) -> Plan:
    config, green, blue = request.config, request.version, state.stable
    forth: list[AnyStep] = [
        start(state.version),
        Test(version=green, suite=config.tests, soak=config.test_duration, duration=config.test_duration),
        give_all(green, latency_limit=latency_limit(config)),
    ]
    if config.monitor_duration:
        forth.append(Bake(versions=[green], duration=config.monitor_duration, limits=limits(config)))
    if blue is not None and config.keep_blue and config.keep_blue_duration:
        forth.append(Keep(version=blue, duration=config.keep_blue_duration, versions=[green], limits=limits(config)))
    return plan(state, *forth)
