"""A deployment, its alias and a clock, without anything else: what `decide` says is done at once."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from controller import steps, strategies, traffic, transition
from controller.decide import decide
from controller.decision import (
    Act,
    Begin,
    Broke,
    Counted,
    Observation,
    Pending,
    Shows,
    Uncounted,
    Wait,
)
from hotswap import requests
from hotswap.deployment import Ask, Deployment, Shift, Status, Verb
from hotswap.judge.basis import Sum
from hotswap.metrics import Count, Tally
from hotswap.model import Alias, Kind, Manifest, Version, Weights
from hotswap.receipt import Receipt
from hotswap.usage import Usage

BEGIN = datetime(2025, 11, 23, 12, 0, tzinfo=UTC)
CREATED = 100
"""A revision after the deployment under test began; its alias is older."""
OLD = 50


NODES = tuple(f"n{number}" for number in range(1, 9))


def canary(policy: requests.OnInsufficientData = requests.OnInsufficientData.HOLD) -> requests.Canary:
    config = requests.CanaryConfig(on_insufficient_data=policy)
    return requests.Canary(function_name="f", version=6, config=config)


def deployment(
    request: requests.AnyRequest | None = None, *, stable: Weights | None = None, nodes: tuple[str, ...] = NODES
) -> Deployment:
    """At its first step; by default a canary 10, 50, 100 with ten minutes a phase."""
    request = request or canary()
    plan = strategies.plan(request, strategies.State(before(stable), version(request.version), nodes))
    return Deployment(
        id="d-1",
        request=request,
        status=Status.RUNNING,
        plan=list(plan.steps),
        way_back=list(plan.way_back),
        stable=plan.stable,
        on_failure=plan.on_failure,
        began_on=OLD,
        progress=steps.enter(list(plan.steps), 0, BEGIN, attempt=1),
        created=BEGIN,
    )


def version(number: int = 6) -> Version:
    manifest = Manifest(function="f", kind=Kind.HANDLER, entrypoint="app:handler")
    return Version(function="f", number=number, artifact="", size=1, manifest=manifest, published=BEGIN)


def before(stable: Weights | None) -> Alias | None:
    return Alias(function="f", name="production", weights=stable) if stable else None


def tally(*, invocations: int = 1000, errors: int = 0) -> Tally:
    counts = Tally.zero().counts
    counts[Count.OK], counts[Count.STATUS] = invocations - errors, errors
    return Tally(counts=counts)


GOOD, BAD, FEW = tally(), tally(errors=200), tally(invocations=3)


@dataclass
class World:
    """The alias and the clock around one deployment; `play` does what the decisions say."""

    deployment: Deployment
    alias: Alias | None
    revision: int = OLD
    now: datetime = BEGIN
    counted: Tally | Uncounted = GOOD
    """Of every version, but of the stable one, which is never bad by itself ..."""
    tallies: dict[int, Tally] = field(default_factory=dict)
    """... and of these."""
    usages: dict[int, Usage] = field(default_factory=dict)
    nodes: dict[int, dict[str, Sum]] = field(default_factory=dict)
    """By version, what it answered on each."""
    broken: set[type] = field(default_factory=set)
    """Kinds of steps that break."""
    stuck: set[type] = field(default_factory=set)
    """Kinds of steps whose effect never shows."""
    free: bool = False
    weights: list[Weights] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)

    def observation(self) -> Observation:
        step = steps.present(self.deployment)
        seen = Broke("it broke") if type(step) in self.broken else Pending() if type(step) in self.stuck else Shows()
        made = traffic.written(self.deployment, self.alias)
        return Observation(
            alias=self.alias,
            alias_revision=self.revision if self.alias else 0,
            watched=BEGIN,
            seen=seen if made or isinstance(seen, Broke) else Pending(),
            serving=frozenset({5}),
            counted=self.counts(),
            turn=self.free,
        )

    def counts(self) -> Counted | Uncounted:
        """All under the weights that stand now."""
        if isinstance(self.counted, Uncounted):
            return self.counted
        counted = dict.fromkeys(range(10), self.counted)
        if self.counted is BAD and self.deployment.stable is not None:
            counted[self.deployment.stable] = GOOD
        tallies = counted | self.tallies
        usages = {(version, self.revision): usage for version, usage in self.usages.items()}
        counts = {(version, self.revision): tally for version, tally in tallies.items()}
        return Counted(counts, self.now, usages, self.nodes)

    def turn(self) -> bool:
        """One decision carried out; false when nothing will happen any more without a person."""
        decision = decide(self.deployment, self.observation(), self.now)
        match decision:
            case Wait(until=None):
                return False
            case Wait() if self.deployment.status is Status.FROZEN:
                return False
            case Wait(until=until):
                assert until
                assert until > self.now
                self.now = until
            case Act(step=step):
                self.act(step)
            case Begin():
                raise AssertionError("its turn is the store's to give")
            case _:
                self.story.append(type(decision).__name__)
                self.deployment, events = transition.change(self.deployment, decision, self.now)
                self.receipts += [event.receipt for event in events if event.receipt]
        return not self.deployment.status.terminal

    def act(self, step: object) -> None:
        if isinstance(step, Shift):
            self.revision = max(self.revision, CREATED) + 1
            self.alias = Alias(
                function="f",
                name="production",
                weights=step.weights,
                sticky=self.alias.sticky if self.alias else None,
                step=steps.key(self.deployment),
                owner="d-1",
                without=step.without,
            )
            self.weights.append(step.weights)
        else:
            progress = replace(self.deployment.progress, effect=CREATED + 1)
            self.deployment = replace(self.deployment, progress=progress)

    def play(self) -> Status:
        for _ in range(200):
            if not self.turn():
                return self.deployment.status
        raise AssertionError(f"no end: {self.deployment.status} at {self.deployment.progress}")

    def play_until(self, kind: type, *, index: int = 0) -> None:
        """Until the deployment is at a step of that kind, at or after the index, whose effect was made."""
        for _ in range(200):
            here = isinstance(steps.present(self.deployment), kind) and self.deployment.progress.index >= index
            if here and traffic.written(self.deployment, self.alias):
                return
            assert self.turn()
        raise AssertionError("never there")

    def ask(self, verb: Verb, **more: Any) -> None:
        ask = Ask(verb=verb, who="ada", why="", at=self.now, **more)
        self.deployment, _ = transition.asked(self.deployment, ask)

    def edit(self, weights: Weights) -> None:
        assert self.alias
        self.revision = max(self.revision, CREATED) + 1
        self.alias = replace(self.alias, weights=weights)


def world(request: requests.AnyRequest | None = None, **options: object) -> World:
    """Version 5 has the traffic, version 6 is deployed."""
    weights = {5: 100}
    made = World(deployment(request, stable=weights), before(weights))
    for name, value in options.items():
        setattr(made, name, value)
    return made
