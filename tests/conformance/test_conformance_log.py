"""P19: what a malformed request leaves in the log: one line for who asks for such lines, and no traceback."""

import asyncio
import logging

import pytest

from hotswap.settings import RouterLimits
from tests.conformance.upstream import ScriptedUpstream
from tests.conformance.worker import LANES, worker_within

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.parametrize("lane", LANES)]

ANSWER_LIMIT = 30.0


async def test_a_malformed_request_leaves_one_line_for_debugging(
    upstream: ScriptedUpstream, lane: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker_within(lane, upstream.port, RouterLimits()) as port:
        with caplog.at_level(logging.DEBUG, logger="router"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /fn/f/ HTTP/1.1\r\nHost : a\r\n\r\n")
            async with asyncio.timeout(ANSWER_LIMIT):
                assert (await reader.read(-1)).startswith(b"HTTP/1.1 400 ")
            writer.close()
    (line,) = [it for it in caplog.records if it.name.startswith("router")]
    assert line.levelno == logging.DEBUG
    assert line.getMessage().startswith("a request is not HTTP: ")
    assert line.exc_info is None
