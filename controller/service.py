"""The operations of the platform, as people ask for them. What an interface adds is only its translation.

Any controller takes them. A new deployment and a verb are written by compare-and-swap, and the leader's engine sees
them; only weights that are set by hand need the leader itself, since versions may have to be started for them.
A refusal says why, and gives the command that would work.
"""

import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from controller import record, steps, strategies, transition
from controller.publishing import Publishing
from controller.watcher import Clock
from hotswap.deployment import Active, Ask, Deployment, Event, Leader, Status, Verb
from hotswap.errors import Conflict, NotFound, Outdated, Refused
from hotswap.model import FULL_WEIGHT, Alias, Function, Node, Router, Version, check_alias_name, check_function_name
from hotswap.requests import AnyRequest
from hotswap.store import Store, Stored

TRIES = 8
"""How often a write is tried again that somebody else was faster with."""


@dataclass(frozen=True, slots=True)
class Update:
    deployment: Deployment
    told: list[Stored[Event]]

    @property
    def events(self) -> list[Event]:
        return [stored.value for stored in self.told]


@dataclass(frozen=True, slots=True)
class Platform:
    leader: Leader | None
    nodes: list[Node]
    routers: list[Router]


def new_id() -> str:
    return f"d-{secrets.token_hex(4)}"


class Service:
    def __init__(
        self, *, store: Store, publishing: Publishing, clock: Clock, new_id: Callable[[], str] = new_id
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self.publish = publishing.publish

    async def functions(self) -> list[tuple[Function, list[Alias]]]:
        aliases = [stored.value for stored in await self._store.aliases.list()]
        functions = [stored.value for stored in await self._store.functions.list()]
        return [(it, [alias for alias in aliases if alias.function == it.name]) for it in functions]

    async def function(self, name: str) -> tuple[Function, list[Alias]]:
        return await self._function(name), await self.aliases(name)

    async def versions(self, function: str) -> list[Version]:
        await self._function(function)
        return sorted(
            (stored.value for stored in await self._store.versions.list(function)), key=lambda version: version.number
        )

    async def version(self, function: str, number: int) -> Version:
        stored = await self._store.versions.get(check_function_name(function), number)
        if stored:
            return stored.value
        numbers = ", ".join(str(version.number) for version in await self.versions(function))
        raise NotFound(f'there is no version {number} of "{function}"', hint=f"its versions are: {numbers}")

    async def aliases(self, function: str) -> list[Alias]:
        await self._function(function)
        return [stored.value for stored in await self._store.aliases.list(function)]

    async def alias(self, function: str, name: str) -> Stored[Alias]:
        await self._function(function)
        stored = await self._store.aliases.get(function, check_alias_name(name))
        if stored is None:
            raise NotFound(
                f'"{function}" has no alias "{name}"',
                hint=f"`hotswap deploy {function} VERSION --alias {name}` makes it",
            )
        return stored

    async def platform(self) -> Platform:
        leaders = await self._store.leader.list()
        return Platform(
            leader=leaders[0].value if leaders else None,
            nodes=[stored.value for stored in await self._store.nodes.list()],
            routers=[stored.value for stored in await self._store.routers.list()],
        )

    async def deployment(self, name: str) -> Deployment:
        return (await self.stored_deployment(name)).value

    async def stored_deployment(self, name: str) -> Stored[Deployment]:
        stored = await self._store.deployments.get(name)
        if stored is None:
            raise NotFound(f"there is no deployment {name}", hint="see `hotswap list deployments`")
        return stored

    async def events(self, name: str) -> list[Stored[Event]]:
        await self.stored_deployment(name)
        return await self._store.events.list(name)

    async def deployments(self, *, function: str = "", running: bool = False, limit: int = 0) -> list[Deployment]:
        """The newest first; `limit` 0 for all."""
        found = [stored.value for stored in await self._store.deployments.list()]
        chosen = [
            it
            for it in sorted(found, key=lambda it: it.created, reverse=True)
            if (not function or it.function == function) and not (running and it.status.terminal)
        ]
        return chosen[:limit] if limit else chosen

    async def watch(self, name: str, *, after: int = 0, since: int = 0) -> AsyncGenerator[Update, None]:
        """The deployment with the events after that number and that revision, then at each change, until it has ended.

        Every change of a deployment comes with an event, so that its events tell when to look.
        """
        await self.stored_deployment(name)
        async with self._store.events.watch(name) as batches:
            async for batch in batches:
                new = [it for it in batch.changes if isinstance(it, Stored) and it.value.number > after]
                deployment = await self.deployment(name)
                after = max((it.value.number for it in new), default=after)
                yield Update(deployment, [it for it in new if it.mod_revision > since])
                if deployment.status.terminal and after >= deployment.events:
                    return

    async def deploy(self, request: AnyRequest, *, who: str) -> Deployment:
        version = await self.version(request.function_name, request.version)
        check_alias_name(request.alias)
        for _ in range(TRIES):
            await self.refuse_while_running(request.function_name, request.alias)
            alias = await self._store.aliases.get(request.function_name, request.alias)
            try:
                return await self._begin(request, version, alias, who=who)
            except Conflict:
                continue
        raise Conflict(f'alias "{request.alias}" of "{request.function_name}" is changed by many', hint="try again")

    async def ask(self, name: str, verb: Verb, *, who: str, why: str, expected: int | None = None) -> Deployment:
        """Has the engine roll back, abort or promote; asking again for the same changes nothing.

        `expected` is the revision at which the record must stand; raises `Outdated` where it does not.
        """
        ask = Ask(verb=verb, who=who, why=why, at=self._clock())
        for _ in range(TRIES):
            stored = await self.stored_deployment(name)
            deployment = stored.value
            if expected is not None and stored.mod_revision != expected:
                raise Outdated(
                    f"deployment {name} stands at revision {stored.mod_revision} now",
                    hint=f"read it again: `hotswap status {name}`",
                )
            if _is_so_already(deployment, verb):
                return deployment
            try:
                if verb is Verb.ROLLBACK and deployment.status is Status.SUCCEEDED:
                    return await self._reopen(stored, ask)
                _refuse_verb(deployment, verb)
                return await self._write(stored, *transition.asked(deployment, ask))
            except Conflict:
                continue
        raise Conflict(f"deployment {name} changes too fast to be asked", hint="try again")

    async def refuse_while_running(self, function: str, alias: str) -> None:
        active = await self._store.active.get(function, alias)
        if active is None:
            return
        name = active.value.deployment
        raise Refused(
            f'deployment {name} runs on alias "{alias}" of "{function}"',
            hint=f"follow it with `hotswap status {name}`, or end it with `hotswap abort {name}`",
        )

    async def _begin(
        self, request: AnyRequest, version: Version, alias: Stored[Alias] | None, *, who: str
    ) -> Deployment:
        state = strategies.State(alias.value if alias else None, version)
        if alias and alias.value.weights.get(version.number) == FULL_WEIGHT:
            raise Refused(
                f'alias "{request.alias}" of "{version.function}" gives version {version.number} all traffic already',
                hint=f"see `hotswap alias get {version.function}:{request.alias}`",
            )
        plan = strategies.plan(request, state)
        now = self._clock()
        begun = Deployment(
            id=self._new_id(),
            request=request,
            status=Status.RUNNING,
            plan=list(plan.steps),
            way_back=list(plan.way_back),
            stable=plan.stable,
            progress=steps.enter(list(plan.steps), 0, now, attempt=1),
            created=now,
            who=who,
        )
        deployment, events = transition.begun(begun, now)
        active = Active(function=request.function_name, alias=request.alias, deployment=deployment.id)
        transaction = record.put(self._store.transaction(), None, deployment, events).create(active)
        if alias:
            transaction.require(alias)
        else:
            transaction.require_absent(Alias, request.function_name, request.alias)
        await transaction.commit()
        return deployment

    async def _reopen(self, stored: Stored[Deployment], ask: Ask) -> Deployment:
        """A deployment that has succeeded is rolled back, if the alias still is as it left it."""
        deployment = stored.value
        await self.refuse_while_running(deployment.function, deployment.alias)
        alias = await self._store.aliases.get(deployment.function, deployment.alias)
        if alias is None or alias.value.owner != deployment.id:
            raise Refused(_changed_since(deployment, alias.value if alias else None), hint=_way_to(deployment, alias))
        if not deployment.way_back:
            raise Refused(
                f'deployment {deployment.id} was the first on alias "{deployment.alias}": it has nothing to go back to',
                hint=f"deploy another version: `hotswap deploy {deployment.function} VERSION`",
            )
        after, events = transition.reopened(deployment, ask)
        active = Active(function=deployment.function, alias=deployment.alias, deployment=deployment.id)
        await record.put(self._store.transaction(), stored, after, events).create(active).require(alias).commit()
        return after

    async def _write(self, stored: Stored[Deployment], after: Deployment, events: list[Event]) -> Deployment:
        await record.put(self._store.transaction(), stored, after, events).commit()
        return after

    async def _function(self, name: str) -> Function:
        stored = await self._store.functions.get(check_function_name(name))
        if stored is None:
            raise NotFound(f'there is no function "{name}"', hint="see `hotswap functions`, or publish it")
        return stored.value


def commands(deployment: Deployment) -> list[str]:
    """What makes sense to ask of it now."""
    name = deployment.id
    match deployment.status:
        case Status.RUNNING:
            verbs = ["rollback", "abort"] if deployment.way_back else ["abort"]
        case Status.HELD:
            verbs = ["promote", "rollback", "abort"]
        case Status.FROZEN:
            verbs = ["rollback", "abort"]
        case Status.SUCCEEDED if deployment.way_back:
            verbs = ["rollback"]
        case _:
            verbs = []
    return [f"hotswap {verb} {name}" for verb in verbs]


def _is_so_already(deployment: Deployment, verb: Verb) -> bool:
    """What is asked for was asked, or has come about."""
    if deployment.asked and deployment.asked.verb is verb and not deployment.status.terminal:
        return True
    match verb:
        case Verb.ROLLBACK:
            return deployment.status in {Status.ROLLING_BACK, Status.ROLLED_BACK}
        case Verb.ABORT:
            return deployment.status is Status.ABORTED
        case Verb.PROMOTE:
            return False


def _refuse_verb(deployment: Deployment, verb: Verb) -> None:
    allowed = {
        Verb.ROLLBACK: {Status.RUNNING, Status.HELD, Status.FROZEN},
        Verb.ABORT: {Status.RUNNING, Status.HELD, Status.FROZEN},
        Verb.PROMOTE: {Status.HELD},
    }[verb]
    if deployment.status in allowed:
        return
    possible = commands(deployment) or [f"hotswap status {deployment.id}"]
    raise Refused(
        f"deployment {deployment.id} is {deployment.status}: there is nothing to {verb}",
        hint="what works now: " + ", ".join(f"`{command}`" for command in possible),
    )


def _changed_since(deployment: Deployment, alias: Alias | None) -> str:
    by = f"deployment {alias.owner}" if alias and alias.owner else "hand"
    return f'alias "{deployment.alias}" of "{deployment.function}" was changed by {by} since {deployment.id} ended'


def _way_to(deployment: Deployment, alias: Stored[Alias] | None) -> str:
    if alias and alias.value.owner:
        return f"roll that one back: `hotswap rollback {alias.value.owner}`"
    return f"set the weights: `hotswap alias set {deployment.function}:{deployment.alias} {deployment.stable}=100`"
