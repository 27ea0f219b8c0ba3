"""Plays every case through every lane, and prints what was expected and what was seen.

    scripts/conformance [ID ...]          all cases, or those whose id begins so
    scripts/conformance --peers           through nginx, HAProxy, Envoy and Traefik too; writes docs/conformance.md

It is in order if each case is as the tables have it, but for those that `lenient.py` names.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance.cases import WAYS, Listed, Way, listed
from tests.conformance.elsewhere import ELSEWHERE
from tests.conformance.lenient import excuse
from tests.conformance.page import OURS, Column, page
from tests.conformance.peers import PEERS, Peer, running
from tests.conformance.report import Played, lines
from tests.conformance.upstream import ScriptedUpstream, scripted_upstream
from tests.conformance.verdict import play
from tests.conformance.worker import LANES, worker

ANSWER_LIMIT = 10.0
PEER_LIMIT = 3.0
"""Seconds until there is no answer."""
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


async def main() -> int:
    options = argparse.ArgumentParser(prog="scripts/conformance", description="Plays the conformance cases.")
    options.add_argument("ids", nargs="*", metavar="ID", help="only cases whose id begins so")
    options.add_argument("--peers", action="store_true", help="through other proxies too; writes docs/conformance.md")
    asked = options.parse_args()
    if asked.peers and asked.ids:
        options.error("the page is written of all cases: --peers takes no ID")
    chosen = [it for it in listed() if not asked.ids or it.id.startswith(tuple(asked.ids))]
    with tempfile.TemporaryDirectory() as folder:
        by_lane = {lane: await _through_lane(lane, chosen, Path(folder)) for lane in LANES}
        if asked.peers:
            PAGE.write_text(await _compared(list(by_lane.values())[-1], Path(folder)))
            print(f"{PAGE} is written")
    return 1 if any(_wrong(lane, plays) for lane, plays in by_lane.items()) else 0


async def _through_lane(lane: str, chosen: list[Listed], folder: Path) -> list[Played]:
    async with scripted_upstream() as upstream, worker(lane, upstream.port, folder) as router:
        plays = await _played(chosen, WAYS, router.port, upstream, limit=ANSWER_LIMIT)
    print(f"{lane} lane", *lines(plays), "", sep="\n")
    print(f"{len(plays)} plays of {len(chosen)} cases: {len(_wrong(lane, plays))} not as they should be\n")
    return plays


def _wrong(lane: str, plays: list[Played]) -> list[Played]:
    return [it for it in plays if bool(it.deviations) != bool(excuse(lane, it.listed.id))]


async def _compared(ours: list[Played], folder: Path) -> str:
    """The page: what came of each case in the lane that most requests take, and through each proxy that there is."""
    columns = [Column(OURS, "", {it.listed.id: it.seen for it in ours if it.way == "whole"})]
    for peer in PEERS:
        if peer.path is not None:
            columns.append(await _through_peer(peer, folder))
    missing = [peer.name for peer in PEERS if peer.path is None]
    return page(columns, missing, ELSEWHERE)


async def _through_peer(peer: Peer, folder: Path) -> Column:
    chosen = [it for it in listed() if not it.case.ours]
    async with scripted_upstream() as upstream, running(peer, upstream.port, folder) as port:
        await upstream.settle()
        plays = await _played(chosen, ("whole",), port, upstream, limit=PEER_LIMIT)
    print(f"{peer.name} {peer.version()}", *lines(plays), "", sep="\n")
    return Column(peer.name, peer.version(), {it.listed.id: it.seen for it in plays})


async def _played(
    chosen: list[Listed], ways: tuple[Way, ...], port: int, upstream: ScriptedUpstream, *, limit: float
) -> list[Played]:
    return [Played(it, way, await play(it.case, way, port, upstream, limit=limit)) for it in chosen for way in ways]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
