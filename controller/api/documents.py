"""The model as the messages of `hotswap.v1.Controller`: times in RFC 3339, documents in JSON. Translation only."""

from datetime import UTC, datetime

import msgspec

from controller import hooks, service, steps, verbs
from controller.logs import LogEntry, Missing
from hotswap.auth import Token
from hotswap.deployment import Deployment, Event, Quarantine, Status
from hotswap.hook import Undelivered
from hotswap.judge.verdict import Verdict
from hotswap.model import Alias, Function, Node, Router, Version, encode
from hotswap.rpc import controller_pb2 as pb


def moment(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""


def version(of: Version) -> pb.Version:
    return pb.Version(
        function=of.function,
        number=of.number,
        artifact=of.artifact,
        size=of.size,
        manifest_json=encode(of.manifest).decode(),
        published=moment(of.published),
        who=of.who,
    )


def alias(of: Alias, *, revision: int = 0) -> pb.Alias:
    return pb.Alias(
        function=of.function,
        name=of.name,
        weights=of.weights,
        last_good=of.last_good or 0,
        owner=of.owner,
        history=[
            pb.WeightChange(weights=change.weights, at=moment(change.at), who=change.who, why=change.why)
            for change in of.history
        ],
        revision=revision,
        sticky=of.sticky.by if of.sticky else "",
        without=[pb.LeftOut(version=version, nodes=nodes) for version, nodes in of.without.items()],
    )


def function(of: Function, aliases: list[Alias]) -> pb.Function:
    return pb.Function(
        name=of.name,
        description=of.description,
        created=moment(of.created),
        last_version=of.last_version,
        aliases=[alias(one) for one in aliases],
    )


def deployment(of: Deployment) -> pb.Deployment:
    return pb.Deployment(
        id=of.id,
        function=of.function,
        alias=of.alias,
        version=of.version,
        stable=of.stable or 0,
        strategy=type(of.request).__name__,
        status=of.status.value,
        reason=of.reason,
        steps=[steps.describe(step) for step in of.steps],
        step=len(of.steps) if of.status is Status.SUCCEEDED else of.progress.index,
        step_entered=moment(of.progress.entered),
        step_deadline="" if of.status.terminal else moment(of.progress.deadline),
        created=moment(of.created),
        finished=moment(of.finished),
        who=of.who,
        verdicts=[verdict(one) for one in of.verdicts],
        request_json=msgspec.json.encode(of.request).decode(),
        record_json=encode(of).decode(),
        next=verbs.commands(of),
    )


def verdict(of: Verdict) -> pb.Verdict:
    return pb.Verdict(
        outcome=of.outcome.value,
        step=of.step,
        at=moment(of.at),
        rule=of.rule,
        text=of.text,
        limit=of.limit,
        value=of.value,
        invocations=of.invocations,
        errors=of.errors,
        warnings=of.warnings,
    )


def event(of: Event) -> pb.Event:
    return pb.Event(
        number=of.number,
        at=moment(of.at),
        kind=of.kind,
        text=of.text,
        receipt_json=encode(of.receipt).decode() if of.receipt else "",
    )


def quarantined(of: Quarantine) -> pb.QuarantinedVersion:
    return pb.QuarantinedVersion(
        function=of.function, version=of.version, deployment=of.deployment, why=of.why, at=moment(of.at)
    )


def platform(of: service.Platform) -> pb.Platform:
    return pb.Platform(
        leader=of.leader.address if of.leader else "",
        nodes=[node(one) for one in of.nodes],
        routers=[router(one) for one in of.routers],
    )


def node(of: Node) -> pb.Node:
    return pb.Node(
        name=of.name,
        address=of.address,
        labels=of.labels,
        capacity=of.capacity,
        boot=of.boot,
        guards=of.guards,
        platform=of.platform,
        python=of.python,
    )


def log_entry(of: LogEntry | Missing) -> pb.LogEntry:
    if isinstance(of, Missing):
        return pb.LogEntry(missing=of.text)
    return pb.LogEntry(
        at=datetime.fromtimestamp(of.at, UTC).isoformat(timespec="milliseconds"),
        node=of.node,
        version=of.version,
        instance=of.instance,
        request=of.request,
        text=of.text,
        platform=of.platform,
    )


def router(of: Router) -> pb.Router:
    return pb.Router(name=of.name, address=of.address, admin=of.admin, boot=of.boot)


def token(of: Token) -> pb.Token:
    """Without its hash: whoever has that can look for the secret at leisure."""
    return pb.Token(
        id=of.id,
        name=of.name,
        role=of.role,
        functions=of.functions,
        created=moment(of.created),
        who=of.who,
        expires=moment(of.expires),
    )


def hook(of: hooks.Standing) -> pb.Hook:
    return pb.Hook(
        name=of.hook.name,
        url=of.hook.url,
        functions=of.hook.functions,
        statuses=[status.value for status in of.hook.statuses],
        created=moment(of.hook.created),
        who=of.hook.who,
        disabled=of.hook.disabled,
        delivered=of.deliveries.delivered,
        last_delivery=moment(of.deliveries.last),
        pending=of.pending,
        failures=of.deliveries.failures,
        error=of.deliveries.error,
        undelivered=of.undelivered,
    )


def undelivered(of: Undelivered) -> pb.UndeliveredNotice:
    return pb.UndeliveredNotice(
        id=of.notice.id,
        function=of.notice.function,
        alias=of.notice.alias,
        version=of.notice.version,
        status=of.notice.status.value,
        at=moment(of.notice.at),
        given_up=moment(of.at),
        error=of.error,
    )
