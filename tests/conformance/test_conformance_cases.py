"""Every case of the tables, fed whole and byte by byte, through every lane, on real sockets."""

import asyncio

import pytest

from router.counters import Own
from tests.conditions import eventually
from tests.conformance.cases import WAYS, Listed, Way, listed
from tests.conformance.lenient import excuse
from tests.conformance.upstream import ScriptedUpstream
from tests.conformance.verdict import deviations, play
from tests.conformance.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER_LIMIT = 30.0
MALFORMED = [it for it in listed() if it.case.status in {400, 414, 431, 501, 505} and it.case.forwarded == "none"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("it", list(listed()), ids=lambda it: it.id)
async def test_the_case_has_its_verdict(
    request: pytest.FixtureRequest, router: Worker, upstream: ScriptedUpstream, it: Listed, way: Way
) -> None:
    if reason := excuse(router.lane, it.id):
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    seen = await play(it.case, way, router.port, upstream, limit=ANSWER_LIMIT)
    assert deviations(it.case, seen) == [], seen


async def test_a_bad_chunk_is_refused_while_the_body_is_waited_for(router: Worker, upstream: ScriptedUpstream) -> None:
    told = upstream.begin_plain()
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(b"POST /fn/f/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz")
    await eventually(lambda: any(b"xyz" in it.bytes for it in told))
    writer.write(b"\r\n0\n\r\n")
    async with asyncio.timeout(ANSWER_LIMIT):
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await upstream.settle()


@pytest.mark.parametrize("it", MALFORMED, ids=lambda it: f"P19-{it.id}")
async def test_a_malformed_request_is_counted_once_and_leaves_no_line_in_the_log(
    router: Worker, upstream: ScriptedUpstream, it: Listed
) -> None:
    if excuse(router.lane, it.id):
        pytest.skip("it is not refused as it should be")
    log, before = router.log.read_bytes(), router.own(Own.MALFORMED) + router.own(Own.REFUSED)
    await play(it.case, "whole", router.port, upstream, limit=ANSWER_LIMIT)
    assert router.own(Own.MALFORMED) + router.own(Own.REFUSED) == before + 1
    assert router.log.read_bytes() == log
