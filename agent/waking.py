"""An instance for those who have connected to a standby.

They must not fail for a start that does: as long as the socket is in the agent's hands, the kernel keeps them, and the
next start finds them there. So it is tried again, with pauses, until it could not be there in time for who came first.
What has proven itself on the node is given a second chance even where it says itself why it cannot start: that may be
over by then. Only if there will be no instance are they told so.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from agent.backoff import Streak
from agent.instance import Instance, StartFailed
from agent.standby import Standby
from agent.tools import Tools

log = logging.getLogger(__name__)


async def wake(tools: Tools, standby: Standby, streak: Streak, *, failed: Callable[[StartFailed], None]) -> Instance:
    """Raises `StartFailed` for the last failure, which is the fifth of the streak at the latest; `failed` is told of
    those before it."""
    ends = time.monotonic() + standby.version.manifest.start_timeout.total_seconds()
    while True:
        try:
            code, fetched = await tools.fetched(standby.version)
            instance = await tools.launcher.wake(standby, code)
        except StartFailed as error:
            streak = streak.failed(served=0)
            pause = streak.pause(tools.random)
            if streak.crash_loop or time.monotonic() + pause > ends:
                raise
            log.warning("%s does not wake, and is tried again: %s", standby, error)
            failed(error)
            await asyncio.sleep(pause)
        else:
            instance.figures["fetch_ms"] = fetched * 1e3
            return instance
