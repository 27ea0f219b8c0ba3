"""How long an instance takes from the decision to start it to its first answer.

Forked from the zygote, as agents do; as a new interpreter (`hotswap agent --no-zygote`); and, where they can be
installed, functions-framework and AWS's awslambdaric behind a small runtime API. In turn, round by round; told are
medians. Of ours the parts: *spawn* until there is a process that is written down, *import* and *init* as the runtime
tells them, *ready* until the agent knows, *first* until the first invocation is answered. Artifacts are unpacked
already. *woken* is an instance that sleeps, from the connection that wakes it; *after another* one that follows on
another at once, so that no process was forked ahead for it. Where numpy is installed: a function
that has it vendored, from the zygote of its packages (*numpy*) and from the platform's (*numpy, platform*).
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from aiohttp import ClientSession

from agent import packages
from agent.cgroups import Groups, detect
from agent.incidents import Incidents
from agent.instance import Instance
from agent.launcher import Launcher
from agent.output import Outputs
from agent.readiness import INVOCATION_PATH
from agent.records import Records
from agent.spawn import Spawned, Spawner
from agent.standby import Standby
from agent.zygotes import Zygotes
from benchmarks.coldstart import functions, peers
from hotswap.archive import PACKAGES
from hotswap.model import Kind, Manifest, Version

ROUNDS, QUICK = 40, 10
PAUSE = 0.5
"""Seconds before each start, in which a process is forked ahead."""
HEAVY = "numpy"
NODE = "n"
Parts = dict[str, float]
"""Milliseconds."""


class Timed(Spawner):
    """Notes how long each spawn took."""

    seconds = 0.0

    async def spawn(self, version: Version, code: Path, standby: Standby | None) -> Spawned:
        begun = perf_counter()
        try:
            return await super().spawn(version, code, standby)
        finally:
            self.seconds = perf_counter() - begun


class Ours:
    def __init__(
        self,
        room: Path,
        session: ClientSession,
        groups: Groups,
        zygotes: Zygotes | None,
        *,
        code: str = functions.LAMBDA,
    ) -> None:
        self._session = session
        self._code = functions.write(room / "code", code)
        records = Records(room / "instances")
        self._spawner = Timed(
            node=NODE,
            host="127.0.0.1",
            state_dir=room,
            records=records,
            outputs=Outputs(room / "logs"),
            groups=groups,
            zygotes=zygotes,
        )
        self._launcher = Launcher(self._spawner, session, records, Incidents())
        manifest = Manifest(function="f", kind=Kind.HANDLER, entrypoint="app:handler")
        self._version = Version(
            function="f", number=1, artifact="a", size=0, manifest=manifest, published=datetime.now(UTC)
        )

    def bring(self, sets: Path) -> None:
        """numpy, as it is vendored."""
        functions.vendor(HEAVY, self._code / PACKAGES)
        packages.share(self._code, sets)

    async def once(self) -> Parts:
        await asyncio.sleep(PAUSE)
        return await self._once()

    async def after_another(self) -> Parts:
        await asyncio.sleep(PAUSE)
        other = await self._launcher.start(self._version, self._code, warming=lambda: None)
        try:
            return await self._once()
        finally:
            await self._launcher.stop(other)

    async def _once(self) -> Parts:
        begun = perf_counter()
        instance = await self._launcher.start(self._version, self._code, warming=lambda: None)
        ready = perf_counter()
        await self._ask(instance.address)
        first = perf_counter()
        await self._launcher.stop(instance)
        return self._parts(instance, ready=ready - begun, first=first - begun)

    async def woken(self) -> Parts:
        await asyncio.sleep(PAUSE)
        standby = self._launcher.standby(self._version)
        begun = perf_counter()
        asking = asyncio.create_task(self._ask(standby.address))
        await standby.called()
        instance = await self._launcher.wake(standby, self._code)
        ready = perf_counter()
        standby.close()
        await asking
        first = perf_counter()
        await self._launcher.stop(instance)
        return self._parts(instance, ready=ready - begun, first=first - begun)

    async def _ask(self, address: str) -> None:
        async with self._session.post(f"http://{address}{INVOCATION_PATH}", json={}) as answer:
            assert await answer.json() == {}

    def _parts(self, instance: Instance, *, ready: float, first: float) -> Parts:
        return {
            "spawn": self._spawner.seconds * 1000,
            "import": instance.figures["import_ms"],
            "init": instance.figures["init_ms"],
            "ready": ready * 1000,
            "first": first * 1000,
            "memory": instance.figures["memory"] / (1 << 20),
        }


@asynccontextmanager
async def forking(room: Path, groups: Groups, *, preload: Sequence[str]) -> AsyncIterator[Zygotes]:
    zygotes = Zygotes(groups, preload=preload, most=1, bytecode=room / "bytecode")
    await zygotes.platform.warm()
    try:
        yield zygotes
    finally:
        await zygotes.close()


async def settled(one: Ours, zygotes: Zygotes) -> None:
    """Its packages have a zygote, which the first instance begins."""
    await one.once()
    for zygote in zygotes:
        await zygote.warm()


async def measured(rounds: int, room: Path) -> dict[str, Parts]:
    found: defaultdict[str, list[Parts]] = defaultdict(list)
    groups = Groups(detect(), room)
    async with (
        ClientSession() as session,
        forking(room, groups, preload=()) as platform,
        forking(room, groups, preload=[HEAVY]) as preloading,
    ):
        ours = {
            "zygote": Ours(room / "zygote", session, groups, platform),
            "exec": Ours(room / "exec", session, groups, None),
        }
        if functions.installed(HEAVY):
            for name, zygotes in ((HEAVY, preloading), (f"{HEAVY}, platform", platform)):
                ours[name] = Ours(room / name, session, groups, zygotes, code=functions.HEAVY)
                ours[name].bring(room / "sets")
            await settled(ours[HEAVY], preloading)
        framework = functions.write(room / "framework", functions.FRAMEWORK)
        runtime = functions.write(room / "lambda", functions.LAMBDA)
        for _ in range(rounds):
            for name, one in ours.items():
                found[name].append(await one.once())
            found["woken"].append(await ours["zygote"].woken())
            found["after another"].append(await ours["zygote"].after_another())
            if peers.installed("functions-framework"):
                found["functions-framework"].append({"first": await peers.framework(framework, session)})
                found["awslambdaric"].append({"first": await peers.lambda_runtime(runtime, session)})
    return {
        name: {part: statistics.median(it[part] for it in all_) for part in all_[0]} for name, all_ in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench coldstart", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds instead of {ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        figures = asyncio.run(measured(QUICK if options.quick else ROUNDS, Path(room)))
    parts = list(figures["zygote"])
    print(f"{'ms (memory: MiB)':20}" + "".join(f"{part:>9}" for part in parts))
    for name, found in figures.items():
        print(f"{name:20}" + "".join(f"{found[part]:9.1f}" if part in found else f"{'':9}" for part in parts))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
