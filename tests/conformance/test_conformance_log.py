"""P19: what a malformed request leaves in the log: one line for who asks for such lines, and no traceback."""

import asyncio
import logging

import pytest

from hotswap.settings import RouterLimits
from tests.conformance.upstream import ScriptedUpstream
from tests.conformance.worker import LANES, worker_within

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.parametrize("lane", LANES)]

ANSWER_LIMIT = 30.0


MALFORMED = {
    "head": (b"GET /fn/f/ HTTP/1.1\r\nHost : a\r\n\r\n", b"400"),
    "coding": (b"POST /fn/f/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
    "chunk": (b"POST /fn/f/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n", b"400"),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_leaves_one_line_for_debugging(
    upstream: ScriptedUpstream, lane: str, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    request, status = MALFORMED[case]
    async with worker_within(lane, upstream.port, RouterLimits()) as port:
        with caplog.at_level(logging.DEBUG, logger="router"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            async with asyncio.timeout(ANSWER_LIMIT):
                assert (await reader.read(-1)).startswith(b"HTTP/1.1 %b " % status)
            writer.close()
    (line,) = [it for it in caplog.records if it.name.startswith("router")]
    assert line.levelno == logging.DEBUG
    assert line.getMessage().startswith("a request is refused: ")
    assert line.exc_info is None
