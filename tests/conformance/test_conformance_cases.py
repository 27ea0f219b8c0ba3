"""Every case of the tables, fed whole and byte by byte, through every lane, on real sockets."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.cases import WAYS, Listed, Way, listed
from tests.conformance.lenient import LENIENT
from tests.conformance.upstream import ScriptedUpstream, scripted_upstream
from tests.conformance.verdict import deviations, play
from tests.conformance.worker import LANES, Worker, worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER_LIMIT = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LANES)
async def router(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Worker]:
    async with worker(request.param, upstream.port, tmp_path_factory.mktemp("worker")) as made:
        yield made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("it", list(listed()), ids=lambda it: it.id)
async def test_the_case_has_its_verdict(
    request: pytest.FixtureRequest, router: Worker, upstream: ScriptedUpstream, it: Listed, way: Way
) -> None:
    if reason := LENIENT[router.lane].get(it.id):
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    seen = await play(it.case, way, router.port, upstream, limit=ANSWER_LIMIT)
    assert deviations(it.case, seen) == [], seen
