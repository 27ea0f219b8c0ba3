"""How the demo is seen: lines, and under them on a terminal the load as it is now; elsewhere a line of it at times."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from examples.demo.load import Invocation, Load, Outcome, Summary, summary

WINDOW = 2.0
"""Seconds that "now" lasts."""
REFRESH = 0.25
PLAIN_INTERVAL = 5.0
"""Seconds between lines of the load where there is no terminal."""
BAR = 40
"""Columns for a share of 100 %."""
COLOURS = ("cyan", "green", "magenta", "yellow")


@dataclass
class Stage:
    console: Console = field(default_factory=lambda: Console(highlight=False))
    begin: float = field(default_factory=time.monotonic)
    checks: list[tuple[bool, str]] = field(default_factory=list)

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def say(self, text: str) -> None:
        self.console.print(f"[{time.monotonic() - self.begin:5.1f} s] {text}", markup=False, soft_wrap=True)

    def expect(self, text: str, *, true: bool) -> None:
        """What has to come true for the demo to end well."""
        self.checks.append((true, text))
        self.say(f"{'✓' if true else '✗'} {text}")

    @property
    def good(self) -> bool:
        return all(true for true, _ in self.checks)

    @asynccontextmanager
    async def watching(self, load: Load) -> AsyncIterator[None]:
        live = Live(console=self.console, transient=True, auto_refresh=False) if self.console.is_terminal else None
        with live or nullcontext():
            async with asyncio.TaskGroup() as tasks:
                watcher = tasks.create_task(self._watch(load, live), name="the load, as it is now")
                try:
                    yield
                finally:
                    watcher.cancel()

    async def _watch(self, load: Load, live: Live | None) -> None:
        while True:
            await asyncio.sleep(REFRESH if live else PLAIN_INTERVAL)
            now = load.since(time.time() - WINDOW)
            if live:
                live.update(table(now, load.done), refresh=True)
            else:
                self.say(line(summary(now)))


def line(now: Summary) -> str:
    shares = "  ".join(f"v{version} {share:.0f} %" for version, share in now.shares.items())
    failed = sum(now.failed.values())
    return f"{now.count / WINDOW:.0f}/s  {shares}  {failed} failed  p99 {1000 * now.p99:.0f} ms"


def failures(total: Summary) -> str:
    return f"{total.failed[Outcome.FUNCTION]} failed by the function, {total.failed[Outcome.PLATFORM]} by the platform"


def table(now: list[Invocation], done: list[Invocation]) -> Table:
    present, total = summary(now), summary(done)
    shown = Table.grid(padding=(0, 1))
    for version, share in present.shares.items():
        bar = Text("█" * round(share * BAR / 100), style=COLOURS[version % len(COLOURS)])
        shown.add_row(f"v{version}", f"{share:5.1f} %", bar)
    rate = f"{present.count / WINDOW:.0f}/s, p50 {1000 * present.p50:.0f} ms, p99 {1000 * present.p99:.0f} ms"
    shown.add_row("", "", rate)
    shown.add_row("", "", f"{total.count} invocations: {failures(total)}")
    return shown
