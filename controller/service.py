"""The operations of the platform, as people ask for them. What an interface adds is only its translation.

Any controller takes them. A new deployment and a verb are written by compare-and-swap, and the leader's engine sees
them; only weights that are set by hand need the leader itself, since versions may have to be started for them.
A refusal says why, and gives the command that would work.
"""

import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

from controller import beginning, quarantine, record, steps, strategies, transition, verbs
from controller.alias import with_all
from controller.means import Clock
from controller.publishing import Publishing
from hotswap.deployment import Active, Ask, Deployment, Event, Keep, Leader, Progress, Quarantine, Status, Verb
from hotswap.errors import Conflict, NotFound, Outdated, Refused
from hotswap.model import FULL_WEIGHT, Alias, Function, Node, Router, Version, check_alias_name, check_function_name
from hotswap.requests import AllAtOnce, AnyRequest, OnConflict
from hotswap.store import Store, Stored, Transaction

TRIES = 8
"""How often a write is tried again that somebody else was faster with."""
QUEUE_LIMIT = timedelta(hours=24)
"""How long a deployment waits for its alias."""


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
        self.found = publishing.found

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

    async def meant(self, function: str, qualifier: str) -> set[int] | None:
        """The versions: all (`None`) for an empty qualifier, those with weight for an alias."""
        if not qualifier:
            await self._function(function)
            return None
        if qualifier.isdigit():
            return {(await self.version(function, int(qualifier))).number}
        alias = (await self.alias(function, qualifier)).value
        return {version for version, weight in alias.weights.items() if weight}

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

    async def deploy(self, request: AnyRequest, *, who: str, retry_of: str = "", first_step: int = 1) -> Deployment:
        """Begins it, or has it wait where another one runs and the request allows that.

        `first_step` counts from 1: steps of the plan before it are left out, but for what starts versions.
        """
        check_alias_name(request.alias)
        for _ in range(TRIES):
            on = await beginning.ground(self._store, request)
            await quarantine.refuse(self._store, request)
            asked = self._asked(request, who=who, retry_of=retry_of)
            try:
                active = await self._store.active.get(request.function_name, request.alias)
                if active is None:
                    return await self._begin(beginning.planned(asked, on, asked.created, first_step=first_step), on)
                return await self._wait_for(active.value.deployment, asked, on)
            except Conflict:
                continue
        raise Conflict(f'alias "{request.alias}" of "{request.function_name}" is changed by many', hint="try again")

    async def retry(self, name: str, *, from_step: int | None, force: bool, who: str, why: str) -> Deployment:
        """Deploys again what a deployment that came to nothing was to deploy; one that is held goes on from a step."""
        deployment = (await self.stored_deployment(name)).value
        if not deployment.status.terminal:
            return await self.ask(name, Verb.RETRY, step=from_step, who=who, why=why)
        verbs.refuse(deployment, Verb.RETRY)
        again = replace(deployment.request, force=force, reason=why or deployment.request.reason)
        return await self.deploy(again, who=who, retry_of=name, first_step=from_step or 1)

    async def undo(self, function: str, name: str, *, to_version: int | None, who: str, why: str) -> Deployment:
        """Gives an alias all at once to an earlier version: to the one before this, if none is named."""
        alias = (await self.alias(function, name)).value
        target = to_version or _earlier(alias)
        reason = why or f"undo to version {target}"
        return await self.deploy(AllAtOnce(function_name=function, version=target, alias=name, reason=reason), who=who)

    async def ask(
        self,
        name: str,
        verb: Verb,
        *,
        who: str,
        why: str,
        full: bool = False,
        winner: int | None = None,
        adopt: bool = False,
        step: int | None = None,
        expected: int | None = None,
    ) -> Deployment:
        """Has the engine do it; asking again for the same changes nothing. What each says more: see `Ask`.

        `expected` is the revision at which the record must stand; raises `Outdated` where it does not.
        """
        ask = Ask(verb=verb, who=who, why=why, at=self._clock(), full=full, winner=winner, adopt=adopt, step=step)
        for _ in range(TRIES):
            stored = await self.stored_deployment(name)
            deployment = stored.value
            if expected is not None and stored.mod_revision != expected:
                raise Outdated(
                    f"deployment {name} stands at revision {stored.mod_revision} now",
                    hint=f"read it again: `hotswap status {name}`",
                )
            if verbs.is_so_already(deployment, ask):
                return deployment
            try:
                if ask.verb is Verb.ROLLBACK and deployment.status is Status.SUCCEEDED:
                    return await self._reopen(stored, ask)
                if ask.verb is Verb.RETRY and deployment.status.terminal:
                    raise Refused(f"deployment {name} has just ended", hint=f"try it again: `hotswap retry {name}`")
                verbs.refuse(deployment, ask.verb)
                await self._check(deployment, ask)
                return await self._write(stored, *transition.asked(deployment, ask))
            except Conflict:
                continue
        raise Conflict(f"deployment {name} changes too fast to be asked", hint="try again")

    async def quarantined(self, function: str = "") -> list[Quarantine]:
        """Versions that failed; of one function, or of all."""
        found = await self._store.quarantine.list(function) if function else await self._store.quarantine.list()
        return [stored.value for stored in found]

    async def release(self, function: str, version: int) -> Quarantine:
        """Lets a version be deployed again without force."""
        stored = await self._store.quarantine.get(check_function_name(function), version)
        if stored is None:
            raise NotFound(
                f'version {version} of "{function}" is not in quarantine', hint="see `hotswap quarantine list`"
            )
        await self._store.transaction().delete(stored).commit()
        return stored.value

    async def refuse_while_running(self, function: str, alias: str, *, insist: str = "") -> None:
        """`insist` is the option by which that can be done all the same, where there is one."""
        if active := await self._store.active.get(function, alias):
            raise _taken(active.value.deployment, function, alias, insist=insist)

    def _asked(self, request: AnyRequest, *, who: str, retry_of: str) -> Deployment:
        """The record before it has a plan."""
        now = self._clock()
        return Deployment(
            id=self._new_id(),
            request=request,
            status=Status.QUEUED,
            plan=[],
            way_back=[],
            progress=Progress(entered=now, deadline=now + QUEUE_LIMIT),
            retry_of=retry_of,
            created=now,
            who=who,
        )

    async def _begin(self, begun: tuple[Deployment, list[Event]], on: beginning.Ground) -> Deployment:
        await beginning.take(self._store.transaction(), None, *begun, on).commit()
        return begun[0]

    async def _wait_for(self, running: str, asked: Deployment, on: beginning.Ground) -> Deployment:
        """Has it wait for the one that runs: that one is let run, aborted, or kept from keeping its old version."""
        request = asked.request
        strategies.plan(request, strategies.State(on.alias.value if on.alias else None, on.version, on.nodes))
        stored = await self.stored_deployment(running)
        if stored.value.status.terminal:
            raise Conflict(f"deployment {running} has just ended", hint="try again")
        ask = _makes_room(stored.value, asked)
        if ask is None and request.on_conflict is not OnConflict.QUEUE:
            insist = f"--on-conflict {OnConflict.QUEUE}` or `--on-conflict {OnConflict.SUPERSEDE}"
            raise _taken(running, request.function_name, request.alias, insist=insist)
        queued, events = transition.queued(asked, asked.created)
        transaction = record.put(self._store.transaction(), None, queued, events)
        if ask and not verbs.is_so_already(stored.value, ask):
            record.put(transaction, stored, *transition.asked(stored.value, ask))
        else:
            transaction.require(stored)
        if request.on_conflict is OnConflict.SUPERSEDE:
            await self._clear_the_line(transaction, asked)
        await transaction.commit()
        return queued

    async def _clear_the_line(self, transaction: Transaction, asked: Deployment) -> None:
        """Those that wait already are superseded too."""
        for stored in await self._store.deployments.list():
            waiting = stored.value
            same = (waiting.function, waiting.alias) == (asked.function, asked.alias)
            if same and waiting.status is Status.QUEUED:
                record.put(transaction, stored, *transition.asked(waiting, _superseded(asked)))

    async def _check(self, deployment: Deployment, ask: Ask) -> None:
        """What a verb says more must fit to the deployment. Raises `Invalid` or `Refused`."""
        verbs.check(deployment, ask)
        if ask.adopt:
            alias = await self._store.aliases.get(deployment.function, deployment.alias)
            verbs.check_adopted(deployment, alias.value if alias else None)

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


def _taken(running: str, function: str, alias: str, *, insist: str) -> Refused:
    ways = [
        f"follow it with `hotswap status {running}`",
        f"end it with `hotswap abort {running}`",
        *([f"add `{insist}`"] if insist else []),
    ]
    return Refused(
        f'deployment {running} runs on alias "{alias}" of "{function}"',
        hint=f"{', '.join(ways[:-1])}, or {ways[-1]}",
    )


def _makes_room(running: Deployment, asked: Deployment) -> Ask | None:
    """What is asked of the one that runs, so that the new one can begin; `None`: nothing."""
    if asked.request.on_conflict is OnConflict.SUPERSEDE and not steps.goes_back(running.status):
        return _superseded(asked)
    keeps = running.status is Status.RUNNING and isinstance(steps.present(running), Keep)
    if not keeps:
        return None
    return Ask(verb=Verb.PROMOTE, who=asked.who, why=f"{asked.id} is to begin", at=asked.created)


def _superseded(asked: Deployment) -> Ask:
    return Ask(verb=Verb.ABORT, who=asked.who, why=f"superseded by {asked.id}", at=asked.created)


def _earlier(alias: Alias) -> int:
    """The version that had all of the traffic before the present weights."""
    whole = [version for change in alias.history if (version := with_all(change.weights))]
    others = [version for version in whole if alias.weights.get(version) != FULL_WEIGHT]
    if others:
        return others[-1]
    raise Refused(
        f'alias "{alias.name}" of "{alias.function}" remembers no version before this one',
        hint=f"name one: `hotswap undo {alias.function}:{alias.name} --to-version VERSION`",
    )


def _changed_since(deployment: Deployment, alias: Alias | None) -> str:
    by = f"deployment {alias.owner}" if alias and alias.owner else "hand"
    return f'alias "{deployment.alias}" of "{deployment.function}" was changed by {by} since {deployment.id} ended'


def _way_to(deployment: Deployment, alias: Stored[Alias] | None) -> str:
    if alias and alias.value.owner:
        return f"roll that one back: `hotswap rollback {alias.value.owner}`"
    return f"set the weights: `hotswap alias set {deployment.function}:{deployment.alias} {deployment.stable}=100`"
