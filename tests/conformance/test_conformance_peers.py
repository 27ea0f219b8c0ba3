"""The proxies that HotSwap is compared with are set up so that they forward; what is not installed is left out."""

from pathlib import Path

import pytest

from tests.conformance.cases import listed
from tests.conformance.peers import PEERS, Peer, running
from tests.conformance.upstream import scripted_upstream
from tests.conformance.verdict import deviations, play

ANSWER_LIMIT = 30.0


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
async def test_a_sound_request_goes_through(peer: Peer, tmp_path: Path) -> None:
    if peer.path is None:
        pytest.skip(f"{peer.name} is not installed")
    (case,) = (it.case for it in listed() if it.id == "F13-length")
    async with scripted_upstream() as upstream, running(peer, upstream.port, tmp_path) as port:
        await upstream.settle()
        seen = await play(case, "bytes", port, upstream, limit=ANSWER_LIMIT)
    assert deviations(case, seen) == []
    assert peer.version()[0].isdigit()
