"""The model as REST shows it. What is stored is not shown as it stands: write ids and the engine's bookkeeping stay."""

from datetime import UTC, datetime

from controller import service, steps, verbs
from controller.logs import LogEntry
from hotswap.comparison import Comparison
from hotswap.deployment import AnyStep, Ask, Deployment, Event, Leader, Quarantine, Status
from hotswap.judge.verdict import Verdict
from hotswap.model import (
    Alias,
    Function,
    Manifest,
    Model,
    Node,
    Placement,
    Router,
    Sticky,
    Version,
    VersionNumber,
    WeightChange,
    Weights,
)
from hotswap.receipt import Receipt
from hotswap.requests import AnyRequest
from hotswap.store import Stored


class AliasDocument(Model, frozen=True, kw_only=True):
    function: str
    name: str
    weights: Weights
    sticky: Sticky | None
    last_good: VersionNumber | None
    owner: str
    """Id of the deployment that set these weights; empty when a person did."""
    without: dict[VersionNumber, list[str]]
    """Nodes on which a version does not run, since it failed there and nowhere else. Weights that a person sets bring
    them back."""
    history: list[WeightChange]


class AliasList(Model, frozen=True, kw_only=True):
    aliases: list[AliasDocument]


class FunctionDocument(Model, frozen=True, kw_only=True):
    name: str
    description: str
    placement: Placement
    created: datetime
    last_version: int
    aliases: list[AliasDocument]


class FunctionList(Model, frozen=True, kw_only=True):
    functions: list[FunctionDocument]


class VersionDocument(Model, frozen=True, kw_only=True):
    function: str
    number: VersionNumber
    artifact: str
    """sha256 of the archive, in hex."""
    size: int
    """Bytes of the archive."""
    manifest: Manifest
    published: datetime
    who: str


class UploadDocument(Model, frozen=True, kw_only=True):
    received: int
    """Bytes of the archive that are here."""
    version: int
    """The version of the function that has this archive, of which all is here then; 0 for none."""


class VersionList(Model, frozen=True, kw_only=True):
    versions: list[VersionDocument]


class DeploymentDocument(Model, frozen=True, kw_only=True):
    id: str
    function: str
    alias: str
    version: VersionNumber
    stable: VersionNumber | None
    """The version that had the traffic before."""
    strategy: str
    status: Status
    reason: str
    request: AnyRequest
    plan: list[AnyStep]
    way_back: list[AnyStep]
    steps: list[str]
    """The steps that count now, the plan or the way back, for people."""
    step: int
    """Index of the step that it is at; their number when all are done."""
    step_entered: datetime
    step_deadline: datetime | None
    created: datetime
    finished: datetime | None
    who: str
    verdicts: list[Verdict]
    asked: Ask | None
    comparison: Comparison | None
    """Of the versions of a test, when its time is over."""
    retry_of: str
    """Id of the deployment that is tried again."""
    next: list[str]
    """The commands that make sense now."""


class DeploymentList(Model, frozen=True, kw_only=True):
    deployments: list[DeploymentDocument]


class QuarantineDocument(Model, frozen=True, kw_only=True):
    """A version that failed: it is not deployed again without force."""

    function: str
    version: VersionNumber
    deployment: str
    why: str
    at: datetime


class Quarantines(Model, frozen=True, kw_only=True):
    versions: list[QuarantineDocument]


class EventDocument(Model, frozen=True, kw_only=True):
    number: int
    at: datetime
    kind: str
    text: str
    figures: dict[str, float]
    receipt: Receipt | None
    """Of the verdict that it tells of: all that it followed from."""
    revision: int
    """What a stream of events can be resumed after; events that came about together share it."""


class EventList(Model, frozen=True, kw_only=True):
    events: list[EventDocument]


class LogLineDocument(Model, frozen=True, kw_only=True):
    at: datetime
    node: str
    version: int
    instance: str
    request: str
    """Of the invocation that printed it; empty for none."""
    text: str
    platform: bool
    """It is the platform that tells this of the instance."""


class LogLines(Model, frozen=True, kw_only=True):
    lines: list[LogLineDocument]
    missing: list[str]
    """Nodes whose lines are not told, and why."""


class Missing(Model, frozen=True, kw_only=True):
    text: str


class NodeDocument(Model, frozen=True, kw_only=True):
    name: str
    address: str
    capacity: int
    labels: dict[str, str]
    guards: dict[str, str]
    platform: str
    """What packages have to fit, as in the names of wheels; empty where it is not known."""
    python: str
    boot: str


class NodeList(Model, frozen=True, kw_only=True):
    nodes: list[NodeDocument]


class RouterDocument(Model, frozen=True, kw_only=True):
    name: str
    address: str
    admin: str
    boot: str


class RouterList(Model, frozen=True, kw_only=True):
    routers: list[RouterDocument]


class LeaderDocument(Model, frozen=True, kw_only=True):
    controller: str
    address: str
    """Of its gRPC."""
    rest: str
    since: datetime


class PlatformDocument(Model, frozen=True, kw_only=True):
    leader: LeaderDocument | None
    nodes: list[NodeDocument]
    routers: list[RouterDocument]


def alias(of: Alias) -> AliasDocument:
    return AliasDocument(
        function=of.function,
        name=of.name,
        weights=of.weights,
        sticky=of.sticky,
        last_good=of.last_good,
        owner=of.owner,
        without=of.without,
        history=of.history,
    )


def function(of: Function, aliases: list[Alias]) -> FunctionDocument:
    return FunctionDocument(
        name=of.name,
        description=of.description,
        placement=of.placement,
        created=of.created,
        last_version=of.last_version,
        aliases=[alias(one) for one in aliases],
    )


def version(of: Version) -> VersionDocument:
    return VersionDocument(
        function=of.function,
        number=of.number,
        artifact=of.artifact,
        size=of.size,
        manifest=of.manifest,
        published=of.published,
        who=of.who,
    )


def deployment(of: Deployment) -> DeploymentDocument:
    return DeploymentDocument(
        id=of.id,
        function=of.function,
        alias=of.alias,
        version=of.version,
        stable=of.stable,
        strategy=type(of.request).__name__,
        status=of.status,
        reason=of.reason,
        request=of.request,
        plan=of.plan,
        way_back=of.way_back,
        steps=[steps.describe(step) for step in of.steps],
        step=len(of.steps) if of.status is Status.SUCCEEDED else of.progress.index,
        step_entered=of.progress.entered,
        step_deadline=None if of.status.terminal else of.progress.deadline,
        created=of.created,
        finished=of.finished,
        who=of.who,
        verdicts=of.verdicts,
        asked=of.asked,
        comparison=of.comparison,
        retry_of=of.retry_of,
        next=verbs.commands(of),
    )


def quarantined(of: Quarantine) -> QuarantineDocument:
    return QuarantineDocument(function=of.function, version=of.version, deployment=of.deployment, why=of.why, at=of.at)


def event(of: Stored[Event]) -> EventDocument:
    told = of.value
    return EventDocument(
        number=told.number,
        at=told.at,
        kind=told.kind,
        text=told.text,
        figures=told.figures,
        receipt=told.receipt,
        revision=of.mod_revision,
    )


def node(of: Node) -> NodeDocument:
    return NodeDocument(
        name=of.name,
        address=of.address,
        capacity=of.capacity,
        labels=of.labels,
        guards=of.guards,
        platform=of.platform,
        python=of.python,
        boot=of.boot,
    )


def log_line(of: LogEntry) -> LogLineDocument:
    return LogLineDocument(
        at=datetime.fromtimestamp(of.at, UTC),
        node=of.node,
        version=of.version,
        instance=of.instance,
        request=of.request,
        text=of.text,
        platform=of.platform,
    )


def router(of: Router) -> RouterDocument:
    return RouterDocument(name=of.name, address=of.address, admin=of.admin, boot=of.boot)


def leader(of: Leader) -> LeaderDocument:
    return LeaderDocument(controller=of.controller, address=of.address, rest=of.rest, since=of.since)


def platform(of: service.Platform) -> PlatformDocument:
    return PlatformDocument(
        leader=leader(of.leader) if of.leader else None,
        nodes=[node(one) for one in of.nodes],
        routers=[router(one) for one in of.routers],
    )
