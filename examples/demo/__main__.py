"""The demo: the whole platform on this machine for two minutes, under a load of real pictures. See `scripts/demo`.

Ends with 0 only if everything came true, with 130 on Ctrl-C; no process and no file is left in any case.
"""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from examples.demo.stage import Stage
from examples.demo.story import play
from hotswap import logs
from hotswap.errors import HotswapError

INTERRUPTED = 130


async def main() -> int:
    stage = Stage()
    me = asyncio.current_task()
    assert me, "runs as a task"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    try:
        with tempfile.TemporaryDirectory(prefix="hotswap-demo-", ignore_cleanup_errors=True) as room:
            await play(stage, Path(room))
    except asyncio.CancelledError:
        stage.say("interrupted; everything is stopped")
        return INTERRUPTED
    except HotswapError as error:
        stage.expect(f"the platform works: {error}", true=False)
    stage.heading("Everything came true." if stage.good else "Not everything came true:")
    for true, text in stage.checks:
        if not true:
            stage.say(f"✗ {text}")
    return 0 if stage.good else 1


if __name__ == "__main__":
    logs.configure("demo", level="ERROR")
    sys.exit(asyncio.run(main()))
