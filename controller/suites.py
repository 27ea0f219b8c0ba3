"""The tests of a version that has no traffic yet: it is invoked by name, through a router, as its users will.

An invocation that names its version counts for no alias, so the tests show in nobody's figures. They change nothing: a
controller that dies in the middle of them is followed by one that runs them again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp
import msgspec

from controller.means import TestsFailed
from hotswap.deployment import Deployment, Test
from hotswap.errors import Unavailable
from hotswap.fitting import misfit
from hotswap.judge.wording import percent
from hotswap.model import Kind, Version
from hotswap.store import Store
from hotswap.suite import Check, Hook, Load, Report, Suite

MARGIN = 5.0
"""Seconds over what a router gives an invocation, from waiting for an instance to its answer; then it is the router
that hangs."""
TRIES = 2
"""A connection that was kept alive may have died unnoticed."""
PIECE = 65_536
MOST_SHOWN = 200
"""Characters of a bad answer that are told."""
MOST_READ = 1024 * 1024
"""Bytes of an answer that are looked at, of as many answers as are under way at a time."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    error: str
    """How the function failed, in AWS Lambda's word; empty when it did not."""
    body: bytes

    @property
    def failed(self) -> bool:
        """It is no answer such as every version must be able to give to its sample payload."""
        return bool(self.error) or not 200 <= self.status < 300

    @property
    def is_error(self) -> bool:
        """As the routers count it: a 4xx is none."""
        return bool(self.error) or self.status >= 500

    def __str__(self) -> str:
        shown = self.body[:MOST_SHOWN].decode("utf-8", "replace")
        return f"{self.status} {shown}" if shown else str(self.status)


@dataclass(frozen=True, slots=True)
class Trial:
    """One version, at one router."""

    version: Version
    router: str
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """The sample payload is a handler's whole event, as AWS Lambda's invoke hands it over."""
        function, number = self.version.function, self.version.number
        if self.version.manifest.kind is Kind.HANDLER:
            return f"http://{self.router}/2015-03-31/functions/{function}/invocations?Qualifier={number}"
        return f"http://{self.router}/fn/{function}:{number}/"

    @property
    def payload(self) -> bytes | None:
        sample = self.version.manifest.sample_payload
        return None if isinstance(sample, msgspec.UnsetType) else bytes(sample)

    async def invoke(self, payload: bytes) -> Reply:
        """Raises `Unavailable` when it is the router that does not answer, or that does not know the version."""
        for left in reversed(range(TRIES)):
            try:
                return await self._invoke(payload)
            except aiohttp.ServerDisconnectedError as error:
                if not left:
                    raise self._away(error) from error
            except (aiohttp.ClientError, TimeoutError) as error:
                raise self._away(error or "too late") from error
        raise AssertionError("unreachable")

    async def _invoke(self, payload: bytes) -> Reply:
        manifest = self.version.manifest
        limit = (manifest.start_timeout + manifest.timeout).total_seconds() + MARGIN
        async with self.session.post(
            self.url,
            data=payload,
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=limit),
            allow_redirects=False,
        ) as answer:
            if answer.status == 404 and "Hotswap-Version" not in answer.headers:
                raise self._away(f"it does not know version {self.version.number}")
            body, broke = await _read(answer)
            return Reply(answer.status, broke or answer.headers.get("X-Amz-Function-Error", ""), body)

    def _away(self, why: object) -> Unavailable:
        return Unavailable(f"the router at {self.router} does not answer: {why}")


async def _read(answer: aiohttp.ClientResponse) -> tuple[bytes, str]:
    """The first `MOST_READ` bytes of the body, which is read to its end, and how it failed to come there."""
    body = bytearray()
    try:
        async for piece in answer.content.iter_chunked(PIECE):
            body += piece[: MOST_READ - len(body)]
    except aiohttp.ClientPayloadError:
        return bytes(body), "BrokenOff"
    return bytes(body), ""


class Suites:
    """See `controller.means.Testing`."""

    def __init__(self, *, store: Store, session: aiohttp.ClientSession) -> None:
        self._store = store
        self._session = session

    async def tested(self, deployment: Deployment, step: Test) -> str:
        version = await self._store.versions.get(deployment.function, step.version)
        if version is None:
            raise TestsFailed(f'there is no version {step.version} of "{deployment.function}"')
        report = await self._report(version.value, step.suite, deployment)
        if not report.passed:
            raise TestsFailed(f"the tests of version {step.version} failed: {report.text}")
        return f"the tests of version {step.version} passed: {report.text}"

    async def _report(self, version: Version, suite: Suite, deployment: Deployment) -> Report:
        """By the first router that answers."""
        away: Unavailable | None = None
        for router in await self._store.routers.list():
            trial = Trial(version, router.value.address, self._session)
            try:
                return Report(checks=[check async for check in run(trial, suite, deployment)])
            except Unavailable as error:
                away = error
        raise away or Unavailable("there is no router to test the version through")


@asynccontextmanager
async def suites(*, store: Store) -> AsyncIterator[Suites]:
    """With connections of their own, as many as a suite asks for: the load of one deployment must not hold up the
    counts by which another is guarded. A version's cookies are not sent on."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Suites(store=store, session=session)


async def run(trial: Trial, suite: Suite, deployment: Deployment) -> AsyncIterator[Check]:
    """In the order in which they tell most; what follows a failure is not run."""
    checks: list[Callable[[], Awaitable[Check]]] = [partial(smoke, trial)] if suite.smoke else []
    if suite.schema:
        checks.append(partial(schema, trial))
    if suite.load:
        checks.append(partial(load, trial, suite.load))
    checks += [partial(hook, trial, one, deployment) for one in suite.hooks]
    for check in checks:
        done = await check()
        yield done
        if not done.passed:
            return


async def smoke(trial: Trial) -> Check:
    if trial.payload is None:
        return _skipped("smoke", "hotswap.toml has no sample_payload")
    reply = await trial.invoke(trial.payload)
    text = f"the sample payload was answered with {reply}" if reply.failed else "the sample payload was answered"
    return Check(name="smoke", passed=not reply.failed, text=text)


async def schema(trial: Trial) -> Check:
    """The input schema was checked against the sample payload when the version was published."""
    wanted = trial.version.manifest.schemas.output
    if isinstance(wanted, msgspec.UnsetType):
        return _skipped("schema", "hotswap.toml has no schema of answers")
    if trial.payload is None:
        return _skipped("schema", "hotswap.toml has no sample_payload")
    reply = await trial.invoke(trial.payload)
    if len(reply.body) == MOST_READ:
        return Check(name="schema", passed=False, text=f"the answer is too long to be checked, over {MOST_READ} bytes")
    try:
        msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, RecursionError):
        wrong: str | None = f"it is no JSON: {reply}"
    else:
        wrong = await misfit(bytes(wanted), reply.body)
    text = f"the answer does not fit its schema: {wrong}" if wrong else "the answer fits its schema"
    return Check(name="schema", passed=wrong is None, text=text)


async def load(trial: Trial, wanted: Load) -> Check:
    payload = trial.payload
    if payload is None:
        return _skipped("load", "hotswap.toml has no sample_payload")
    failed, first = 0, ""
    left = iter(range(wanted.requests))

    async def caller() -> None:
        nonlocal failed, first
        for _ in left:
            reply = await trial.invoke(payload)
            if reply.is_error:
                failed, first = failed + 1, first or str(reply)

    callers = [asyncio.create_task(caller(), name="load") for _ in range(min(wanted.concurrency, wanted.requests))]
    try:
        await asyncio.gather(*callers)
    finally:
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    text = f"{failed} of {wanted.requests} invocations failed"
    if failed:
        text += f", {percent(wanted.max_error_rate)} may; the first was answered with {first}"
    return Check(name="load", passed=failed <= wanted.max_error_rate * wanted.requests, text=text)


async def hook(trial: Trial, wanted: Hook, deployment: Deployment) -> Check:
    about = {
        "deployment": deployment.id,
        "function": deployment.function,
        "alias": deployment.alias,
        "version": trial.version.number,
        "invoke": trial.url,
    }
    body = None if wanted.method == "GET" else about
    limit = aiohttp.ClientTimeout(total=wanted.timeout.total_seconds())
    try:
        async with trial.session.request(
            wanted.method, wanted.url, json=body, headers=wanted.headers, timeout=limit, allow_redirects=False
        ) as answer:
            said = (await answer.content.read(MOST_SHOWN)).decode("utf-8", "replace")
            passed, told = 200 <= answer.status < 300, f"{answer.status} {said}".strip()
    except (aiohttp.ClientError, TimeoutError) as error:
        passed, told = False, f"no answer: {error or 'too late'}"
    return Check(name="hook", passed=passed, text=f"{wanted.url} answered {told}")


def _skipped(name: str, why: str) -> Check:
    return Check(name=name, passed=True, skipped=True, text=f"skipped, {why}")
