"""One invocation in the express lane: picked for, sent, answered, counted; by callbacks, with no task of its own.

Here is how it is answered; `router.sending` has how it gets to an instance.
"""

import logging
import math
from http import HTTPStatus

from hotswap.metrics import Count
from router.codec.body import LAST_CHUNK
from router.codec.responses import NOT_MODIFIED, SWITCHING_PROTOCOLS, Head
from router.counters import WELL, Own
from router.fields import END, answer_end, date_line, upgrade_lines
from router.outcome import died, judge, late
from router.problems import Problem
from router.reading import Ahead
from router.sending import Sending
from router.upstream import Broken

log = logging.getLogger(__name__)


class Relay(Sending):
    _answering = False
    _frames = False
    """Its body is put into chunks here."""
    _last = False
    _outcome: int = 0
    """One of `Count`; this is `OK`."""
    _to_client: Ahead | None = None
    _sides = 2
    """Of a tunnel, those that have not ended."""
    _since: float | None = None
    """Since when the client is waited for."""

    def cancel(self) -> None:
        """The client is gone."""
        self._leave()
        self._count(Count.CLIENT_ERROR, self._lane.clock())

    def overdue(self) -> None:
        self._failed()
        self._leave()
        self._fail(late(self.name, self._destination.timeout))

    def wait_for_client(self, now: float, *, waits: bool) -> None:
        """From now on, or no longer: a slow sender or reader is not a slow function."""
        if waits and self._since is None:
            self._since = now
        elif not waits and self._since is not None:
            since, self._since = self._since, None
            self._waited += now - since
            self.deadline += now - max(since, self._sent)

    def pause(self) -> None:
        """The client takes no more of the answer for now."""
        self._to_client = None
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def wanted(self) -> int:
        if self._to_client is None:
            self._to_client = self._client.ahead()
        return self._to_client.size()

    def interim(self, head: Head) -> None:
        """Not 100, which the router sends by itself, and not to HTTP/1.0, which has none."""
        if head.status != HTTPStatus.CONTINUE and self._line.minor:
            self._client.write(b"%b%b\r\n\r\n" % (head.start, head.lines))

    def head(self, head: Head, piece: bytes, *, ended: bool) -> None:
        now = self._lane.clock()
        load = self._load
        assert load is not None
        if ended:
            self._load = None
            self._endpoints.done(load, now, latency=now - self._sent)
        else:
            self._endpoints.answered(load, now, latency=now - self._sent)
        if head.status == SWITCHING_PROTOCOLS:
            self._change_protocol(head, piece, now)
            return
        self._last = last = self._client.last
        ends = END
        if last or not (head.usual and self._line.usual):
            head, ends = self._decide(head)
            if self._outcome > WELL:
                self._endpoints.erred(load)
        data = b"".join((head.start, head.lines, self._destination.answer_lines, self._id, ends))
        if ended and not self._frames:
            self._connection = None
            self._count(self._outcome, now)
            self._client.finish(data, piece, last=self._last, now=now)
        else:
            self._answering = True
            self._tell(data, piece, ended=ended)

    def body(self, piece: bytes, *, ended: bool) -> None:
        if ended and self.tunnels:
            self._client.write_eof()
            self._end_side()
        else:
            self._tell(b"", piece, ended=ended)

    def client_ended(self) -> None:
        """Its side of the tunnel."""
        if self._connection is not None:
            self._connection.write_eof()
        self._end_side()

    def broken(self, error: Broken) -> None:
        connection = self._connection
        assert connection is not None
        if self.tunnels:
            self._leave()
            self._client.cut()
            return
        safe = self._line.idempotent and self._whole and not self._resent and not self._streamed
        if safe and connection.reused and not connection.answered and self._lane.budget.spend():
            self._lane.counting.own(Own.RETRIES)
            self._resent = True
            self._leave()
            self._try(self._lane.clock())
            return
        self._failed()
        self._leave()
        self._fail(died(self.name, error))

    def _change_protocol(self, head: Head, piece: bytes, now: float) -> None:
        asked = self._fields.upgrade
        if asked is None:
            self.broken(Broken("it changed the protocol, which nobody had asked for"))
            return
        self._count(self._outcome, now)
        self.tunnels, self._answering, self.deadline = True, True, math.inf
        date = b"" if head.dated else date_line()
        ends = date + upgrade_lines(head.upgrade or asked) + END
        self._client.write(b"".join((head.start, head.lines, self._destination.answer_lines, self._id, ends)), piece)
        self._client.begin_tunnel()

    def _end_side(self) -> None:
        """Each side of a tunnel ends by itself; it is over with both."""
        self._sides -= 1
        if self._sides:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        load, self._load = self._load, None
        if load is not None:
            self._endpoints.release(load)
        self._client.close()

    def _decide(self, head: Head) -> tuple[Head, bytes]:
        """How an answer is told that is not the usual one: its head, and what ends that."""
        head, self._outcome = judge(head, invoke=self._target.invoke)
        if head.reports is not None and self._row is not None:
            self._lane.counting.report(self._row, self.cell, head.reports)
        line = self._line
        undelimited = head.length is None and not line.headless and head.status != NOT_MODIFIED
        chunked = undelimited and line.minor == 1
        self._frames = chunked and not head.chunked  # what comes in chunks is passed on in them
        self._last = self._last or (undelimited and not chunked)
        version = b"\r\nX-Amz-Executed-Version: %d" % self._destination.version if self._target.invoke else b""
        return head, version + answer_end(dated=head.dated, chunked=chunked, last=self._last, minor=line.minor)

    def _tell(self, head: bytes, piece: bytes, *, ended: bool) -> None:
        tail = b""
        if self._frames:
            if piece:
                head, tail = b"%b%x\r\n" % (head, len(piece)), b"\r\n"
            if ended:
                tail += LAST_CHUNK
        if ended:
            now = self._lane.clock()
            self._connection = None
            load, self._load = self._load, None
            if load is not None:
                self._endpoints.release(load)
            self._count(self._outcome, now)
            self._client.finish(head, piece, tail, last=self._last, now=now)
        else:
            self._client.write(head, piece, tail)
            if self._to_client is not None:
                self._to_client.written(len(piece))

    def _fail(self, problem: Problem) -> None:
        if problem.outcome is None and self._row is None:
            self._lane.counting.own(Own.REFUSED)
        self._count(problem.outcome or Count.PLATFORM, self._lane.clock())
        if self._answering:
            log.debug("an answer is cut off: %s", problem)
            self._client.cut()
        else:
            self._client.refuse(problem)
