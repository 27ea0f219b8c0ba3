"""The end of a child process, waited for without a thread and without asyncio's own children.

asyncio starts its children by a fork that runs gRPC's handlers, so services start theirs with `subprocess` and wait for
them here.
"""

import asyncio
import os
import subprocess


async def ended(process: "subprocess.Popen[bytes]") -> int:
    """Its exit status, as `Popen.returncode`, when it has ended and is reaped."""
    if process.poll() is not None:  # reaped already, perhaps by a signal sent to it: its pid means nothing any more
        return process.returncode
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(process.pid)
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()
