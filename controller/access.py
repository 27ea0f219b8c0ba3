"""The operations as one caller may use them: what every interface calls, and the one place where rights are checked
and the audit log is written.

An interface finds out who calls, makes an `Access` for them, and translates. What an operation does is `service`'s,
`weights`' and `tokens`'.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from controller.api.leader import LeaderWeights
from controller.artifacts import Artifacts
from controller.comparing import Comparing
from controller.figures import FigureBook
from controller.hooks import Hooks, Standing
from controller.logs import LogBook, LogEntry, LogsWanted, Missing
from controller.outcomes import OutcomeBook
from controller.publishing import Found, Publication
from controller.removing import Removing
from controller.service import Platform, Service, Update
from controller.tokens import Tokens
from controller.webhook import Answer
from hotswap import manifest
from hotswap.auth import EVERY_FUNCTION, Bearer, Caller, Operation, Role, Token
from hotswap.comparison import Comparison
from hotswap.deployment import Deployment, Event, Quarantine, Verb
from hotswap.errors import Forbidden, HotswapError
from hotswap.figures import Figures
from hotswap.hook import Hook, Undelivered
from hotswap.model import Alias, Function, Version, Weights
from hotswap.outcomes import Outcomes, Taken
from hotswap.requests import AnyRequest
from hotswap.store import Stored

audit = logging.getLogger("audit")

VERBS = {verb: Operation[verb.name] for verb in Verb}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where the operations are."""

    service: Service
    artifacts: Artifacts
    tokens: Tokens
    hooks: Hooks
    weights: LeaderWeights
    comparing: Comparing
    outcomes: OutcomeBook
    figures: FigureBook
    logs: LogBook
    removing: Removing


class Access:
    """Every method raises `Forbidden` for what the caller may not."""

    def __init__(self, caller: Caller, parts: Parts) -> None:
        self.caller = caller
        self._service = parts.service
        self._artifacts = parts.artifacts
        self._tokens = parts.tokens
        self._hooks = parts.hooks
        self._weights = parts.weights
        self._comparing = parts.comparing
        self._outcomes = parts.outcomes
        self._figures = parts.figures
        self._logs = parts.logs
        self._removing = parts.removing

    async def functions(self) -> list[tuple[Function, list[Alias]]]:
        """Those that the caller may touch."""
        self.caller.require(Operation.LIST_FUNCTIONS)
        return [found for found in await self._service.functions() if self.caller.touches(found[0].name)]

    async def function(self, name: str) -> tuple[Function, list[Alias]]:
        self.caller.require(Operation.LIST_FUNCTIONS, name)
        return await self._service.function(name)

    async def versions(self, function: str) -> list[Version]:
        self.caller.require(Operation.LIST_VERSIONS, function)
        return await self._service.versions(function)

    async def version(self, function: str, number: int) -> Version:
        self.caller.require(Operation.GET_VERSION, function)
        return await self._service.version(function, number)

    async def artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """By its digest, which several functions may share: for callers that may touch all of them."""
        self.caller.require(Operation.FETCH_ARTIFACT, EVERY_FUNCTION)
        async for content in self._artifacts.read(sha256, offset=offset):
            yield content

    async def aliases(self, function: str) -> list[Alias]:
        self.caller.require(Operation.LIST_ALIASES, function)
        return await self._service.aliases(function)

    async def alias(self, function: str, name: str) -> Stored[Alias]:
        self.caller.require(Operation.GET_ALIAS, function)
        return await self._service.alias(function, name)

    async def figures(self, function: str) -> Figures:
        self.caller.require(Operation.GET_FIGURES, function)
        return await self._figures.of(function)

    async def logs(self, wanted: LogsWanted) -> AsyncGenerator[LogEntry | Missing, None]:
        self.caller.require(Operation.READ_LOGS, wanted.function)
        return self._logs.read(wanted, await self._service.meant(wanted.function, wanted.qualifier))

    async def platform(self) -> Platform:
        self.caller.require(Operation.GET_PLATFORM)
        return await self._service.platform()

    async def deployment(self, name: str) -> Stored[Deployment]:
        return await self._deployment(name, Operation.GET_DEPLOYMENT)

    async def compare(self, name: str) -> Comparison:
        return await self._comparing.compare((await self._deployment(name, Operation.COMPARE)).value)

    async def events(self, name: str) -> list[Stored[Event]]:
        await self._deployment(name, Operation.WATCH_DEPLOYMENT)
        return await self._service.events(name)

    async def deployments(self, *, function: str = "", running: bool = False, limit: int = 0) -> list[Deployment]:
        """The newest first, of the functions that the caller may touch; `limit` 0 for all."""
        self.caller.require(Operation.LIST_DEPLOYMENTS, function or None)
        found = await self._service.deployments(function=function, running=running)
        chosen = [deployment for deployment in found if self.caller.touches(deployment.function)]
        return chosen[:limit] if limit else chosen

    async def watch(self, name: str, *, after: int = 0, since: int = 0) -> AsyncGenerator[Update, None]:
        await self._deployment(name, Operation.WATCH_DEPLOYMENT)
        async with aclosing(self._service.watch(name, after=after, since=since)) as updates:
            async for update in updates:
                yield update

    async def publish(self, publication: Publication, chunks: AsyncIterable[bytes]) -> Version:
        function = manifest.parse(publication.manifest_toml).function
        with self._audited(Operation.PUBLISH, function):
            self.caller.require(Operation.PUBLISH, function)
            return await self._service.publish(replace(publication, who=self.caller.who), chunks)

    async def found(self, function: str, sha256: str) -> Found:
        """Is asked before publishing: so who may not publish is refused, and noted, as if they had tried to."""
        try:
            self.caller.require(Operation.PUBLISH, function)
        except Forbidden:
            with self._audited(Operation.PUBLISH, function):
                raise
        return await self._service.found(function, sha256)

    async def upload(self, function: str, chunks: AsyncIterable[bytes], *, sha256: str, size: int, offset: int) -> Path:
        """Takes in an archive that will be published, and gives the file that it is in."""
        self.caller.require(Operation.PUBLISH, function)
        return await self._artifacts.upload(function, chunks, sha256=sha256, size=size, offset=offset)

    async def set_weights(
        self,
        function: str,
        name: str,
        weights: Weights,
        *,
        why: str,
        override: bool = False,
        expected: int | None = None,
        passed_on: bool = False,
    ) -> Stored[Alias]:
        """Here or at the leader, in the caller's own name."""
        with self._audited(Operation.SET_ALIAS, f"{function}:{name}", why=why):
            self.caller.require(Operation.SET_ALIAS, function)
            return await self._weights.set(
                function,
                name,
                weights,
                caller=self.caller,
                why=why,
                override=override,
                expected=expected,
                passed_on=passed_on,
            )

    async def remove_alias(self, function: str, name: str, *, why: str) -> Alias:
        with self._audited(Operation.REMOVE_ALIAS, f"{function}:{name}", why=why):
            self.caller.require(Operation.REMOVE_ALIAS, function)
            return await self._removing.alias(function, name)

    async def unpublish(self, function: str, number: int, *, why: str) -> Version:
        with self._audited(Operation.UNPUBLISH, f"{function} version {number}", why=why):
            self.caller.require(Operation.UNPUBLISH, function)
            return await self._removing.version(function, number)

    async def remove_function(self, function: str, *, why: str) -> list[Version]:
        """With all of its aliases and versions."""
        with self._audited(Operation.UNPUBLISH, f"{function} all versions", why=why):
            self.caller.require(Operation.UNPUBLISH, function)
            self.caller.require(Operation.REMOVE_ALIAS, function)
            return await self._removing.function(function)

    def check_invoke(self, function: str) -> None:
        """No operation of the controller's, which hands it to a router; it does something, as deploying does."""
        self.caller.require_role(Role.DEPLOYER, function, what="Invoke")

    async def deploy(self, request: AnyRequest) -> Deployment:
        subject = f"{request.function_name}:{request.alias} version {request.version}"
        with self._audited(Operation.DEPLOY, subject, why=request.reason):
            self.caller.require(Operation.DEPLOY, request.function_name)
            return await self._service.deploy(request, who=self.caller.who)

    async def ask(
        self,
        name: str,
        verb: Verb,
        *,
        why: str,
        full: bool = False,
        winner: int | None = None,
        adopt: bool = False,
        expected: int | None = None,
    ) -> Deployment:
        with self._audited(VERBS[verb], name, why=why):
            await self._deployment(name, VERBS[verb])
            return await self._service.ask(
                name, verb, who=self.caller.who, why=why, full=full, winner=winner, adopt=adopt, expected=expected
            )

    async def retry(self, name: str, *, from_step: int | None, force: bool, why: str) -> Deployment:
        with self._audited(Operation.RETRY, name, why=why):
            await self._deployment(name, Operation.RETRY)
            return await self._service.retry(name, from_step=from_step, force=force, who=self.caller.who, why=why)

    async def undo(self, function: str, name: str, *, to_version: int | None, why: str) -> Deployment:
        with self._audited(Operation.UNDO, f"{function}:{name}", why=why):
            self.caller.require(Operation.UNDO, function)
            return await self._service.undo(function, name, to_version=to_version, who=self.caller.who, why=why)

    async def quarantined(self, function: str = "") -> list[Quarantine]:
        """Of the functions that the caller may touch."""
        self.caller.require(Operation.LIST_QUARANTINE, function or None)
        return [one for one in await self._service.quarantined(function) if self.caller.touches(one.function)]

    async def release(self, function: str, version: int) -> Quarantine:
        with self._audited(Operation.RELEASE, f"{function} version {version}"):
            self.caller.require(Operation.RELEASE, function)
            return await self._service.release(function, version)

    async def report_outcomes(self, function: str, told: Outcomes) -> Taken:
        """Not in the audit log: it decides nothing, and comes as often as users do."""
        self.caller.require(Operation.REPORT_OUTCOMES, function)
        return await self._outcomes.take(function, told)

    async def add_hook(self, name: str, url: str, *, functions: list[str], statuses: list[str]) -> Hook:
        with self._audited(Operation.ADD_HOOK, name):
            self.caller.require(Operation.ADD_HOOK)
            return await self._hooks.add(name, url, functions=functions, statuses=statuses, who=self.caller.who)

    async def hooks(self) -> list[Standing]:
        self.caller.require(Operation.LIST_HOOKS)
        return await self._hooks.standings()

    async def undelivered(self, name: str) -> list[Undelivered]:
        self.caller.require(Operation.LIST_UNDELIVERED)
        return await self._hooks.undelivered(name)

    async def remove_hook(self, name: str) -> None:
        with self._audited(Operation.REMOVE_HOOK, name):
            self.caller.require(Operation.REMOVE_HOOK)
            await self._hooks.remove(name)

    async def test_hook(self, name: str) -> Answer:
        with self._audited(Operation.TEST_HOOK, name):
            self.caller.require(Operation.TEST_HOOK)
            return await self._hooks.test(name)

    async def create_token(
        self, *, name: str, role: Role, functions: list[str], lasts: timedelta | None, why: str
    ) -> tuple[Token, Bearer]:
        subject = f"{name} {role}" + (f" of {', '.join(functions)}" if functions else "")
        with self._audited(Operation.CREATE_TOKEN, subject, why=why) as outcome:
            self.caller.require(Operation.CREATE_TOKEN)
            token, bearer = await self._tokens.create(
                name=name, role=role, functions=functions, lasts=lasts, who=self.caller.who
            )
            outcome.append(token.id)
            return token, bearer

    async def tokens(self) -> list[Token]:
        self.caller.require(Operation.LIST_TOKENS)
        return await self._tokens.list()

    async def revoke_token(self, token_id: str, *, why: str) -> Token:
        with self._audited(Operation.REVOKE_TOKEN, token_id, why=why):
            self.caller.require(Operation.REVOKE_TOKEN)
            return await self._tokens.revoke(token_id)

    async def _deployment(self, name: str, operation: Operation) -> Stored[Deployment]:
        self.caller.require(operation)
        stored = await self._service.stored_deployment(name)
        self.caller.require(operation, stored.value.function)
        return stored

    @contextmanager
    def _audited(self, operation: Operation, subject: str, *, why: str = "") -> Iterator[list[str]]:
        """One line for what was done, or what kept it from being done. What is yielded takes more to tell of it."""
        outcome = ["done"]
        try:
            yield outcome
        except BaseException as error:
            said = error.message if isinstance(error, HotswapError) else ""
            outcome = [type(error).__name__, *filter(None, [said])]
            raise
        finally:
            told = {"subject": subject, "who": self.caller.who, "token": self.caller.token, "why": why}
            fields = {**told, "outcome": ": ".join(outcome)}
            line = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items())
            audit.info("audit: %s %s", operation.method, line)
