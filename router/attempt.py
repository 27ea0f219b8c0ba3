"""One endpoint's try at an invocation: connect, send, relay what comes back, and tell the balance how it went."""

from collections.abc import Callable
from functools import partial

from hotswap.metrics import Count
from router.balance import Load
from router.codec.responses import FINAL, SWITCHING_PROTOCOLS, Head
from router.counters import WELL
from router.download import Download, Written
from router.endpoints import Endpoints
from router.exchange import Exchange
from router.invocation import Invocation
from router.outcome import died, judge, late
from router.pool import ConnectFailed
from router.problems import Problem
from router.tunnel import tunnel
from router.upstream import Broken, Connection

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2."""


class SendAgain(Exception):
    """A connection that was kept alive had died unnoticed; nothing is lost by sending the request once more."""


class Cut(Exception):
    """The answer had begun and cannot be ended: the client's connection must end with it."""

    def __init__(self, outcome: Count) -> None:
        super().__init__(outcome.name)
        self.outcome = outcome


class Attempt:
    """One endpoint's try at an invocation; hands the endpoint back exactly once."""

    def __init__(
        self, invocation: Invocation, endpoints: Endpoints, load: Load, *, closing: Callable[[], bool]
    ) -> None:
        """`closing` tells, when the answer comes, whether it is the last on the client's connection."""
        self.ejected = False
        self._closing = closing
        self._invocation = invocation
        self._endpoints = endpoints
        self._load = load
        self._handed_back = False

    async def run(self) -> Written:
        """Raises `ConnectFailed`, `SendAgain`, `Cut` or `Problem`."""
        invocation = self._invocation
        try:
            connection = await self._connect()
            exchange = Exchange(connection)
            try:
                return await self._within_limit(exchange)
            finally:
                await invocation.upload.stop()
                if not exchange.ended:
                    connection.abort()
        except ConnectFailed:
            invocation.tried.add(self._load)
            self._failed()
            raise
        finally:
            if not self._handed_back:
                self._endpoints.release(self._load)

    async def _connect(self) -> Connection:
        return await self._endpoints.connect(self._load)

    async def _within_limit(self, exchange: Exchange) -> Written:
        invocation = self._invocation
        download = Download(invocation.request, exchange, invocation.limit, invocation.limits)
        try:
            async with invocation.limit.running():
                head, outcome = judge(await self._answer(exchange, download), invoke=invocation.target.invoke)
                if outcome > WELL:
                    self._endpoints.erred(self._load)
                if head.reports is not None:
                    invocation.pending.report(head.reports)
                counted = partial(invocation.count, outcome)
                if head.status == SWITCHING_PROTOCOLS:
                    invocation.limit.lift()
                    counted()
                    return await self._tunnel(exchange, head)
                close = self._closing() or invocation.upload.unfinished
                return await download.relay(head, invocation.answer_lines(), close=close, ending=counted)
        except TimeoutError:
            self._failed()
            problem = late(invocation.name, invocation.terms.timeout)
        except Broken as error:
            problem = self._broken(exchange, error)
        if download.began:
            raise Cut(problem.outcome or Count.DIED)
        raise problem

    async def _answer(self, exchange: Exchange, download: Download) -> Head:
        """The head of the final answer."""
        invocation = self._invocation
        sent = invocation.clock()
        exchange.connection.begin(exchange, headless=invocation.request.method == "HEAD", chunks=False)
        invocation.upload.start(exchange, invocation.request_head())
        while (head := await exchange.next_head()).status < FINAL:
            if head.status == SWITCHING_PROTOCOLS:
                break
            download.interim(head)
        now = invocation.clock()
        self._endpoints.answered(self._load, now, latency=now - sent)
        return head

    async def _tunnel(self, exchange: Exchange, head: Head) -> Written:
        invocation = self._invocation
        if invocation.upgrade is None:
            raise Broken("it changed the protocol, which nobody had asked for")
        try:
            return await tunnel(invocation.request, exchange, head, invocation.answer_lines())
        except Broken:
            raise Cut(Count.DIED) from None

    def _broken(self, exchange: Exchange, error: Broken) -> Problem:
        """What to answer; raises `SendAgain` instead if that is safe."""
        invocation = self._invocation
        connection = exchange.connection
        if invocation.upload.problem is not None:
            return invocation.upload.problem
        safe = invocation.request.method in IDEMPOTENT and invocation.upload.again
        if connection.reused and not connection.answered and safe:
            raise SendAgain(str(error))
        self._failed()
        return died(invocation.name, error)

    def _failed(self) -> None:
        if not self._handed_back:
            self._handed_back = True
            self.ejected = self._endpoints.failed(self._load, self._invocation.clock())
