"""What an invocation printed is told to who asked for it, and to nobody else."""

import asyncio
import base64
import contextvars
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from agent.runtime import lines, tail
from agent.runtime.context import BadClientContext, Context, client_context
from agent.runtime.printing import Budget, Printed


def context(request_id: str) -> Context:
    return Context(
        function_name="f",
        function_version="3",
        memory_limit_in_mb=128,
        aws_request_id=request_id,
        deadline=time.monotonic() + 60,
    )


@contextmanager
def printing(folder: Path) -> Iterator[Callable[[], list[str]]]:
    """What was printed so far, on standard output and standard error."""
    path = folder / "a.log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    budget = Budget(time.monotonic)
    with redirect_stdout(Printed(file, 1, budget)), redirect_stderr(Printed(file, 2, budget)):
        yield lambda: [lines.parse(line)[2] for line in path.read_text().split("\n")[:-1]]
    os.close(file)


def told(kept: tail.Tail) -> list[str]:
    name, value = kept.end()
    assert name == "x-amz-log-result"
    return base64.b64decode(value).decode().splitlines()


async def test_invocations_side_by_side_have_each_its_own(tmp_path: Path) -> None:
    turn = asyncio.Barrier(2)

    async def invocation(name: str) -> list[str]:
        with tail.keeping(context(name)) as kept:
            for number in range(3):
                await turn.wait()
                print(name, number)
            run = contextvars.copy_context().run
            await asyncio.to_thread(run, print, name, "in a thread", file=sys.stderr)
            sys.stdout.buffer.write(b"in bytes\n")
            return told(kept)

    with printing(tmp_path) as printed:
        one, two = await asyncio.gather(invocation("one"), invocation("two"))
    for name, log in (("one", one), ("two", two)):
        assert log[0] == f"START RequestId: {name} Version: 3"
        assert log[1:6] == [f"{name} 0", f"{name} 1", f"{name} 2", f"{name} in a thread", "in bytes"]
        assert log[6] == f"END RequestId: {name}"
        assert log[7].startswith(f"REPORT RequestId: {name}\tDuration: ")
    assert sorted(printed()) == sorted(one[1:6] + two[1:6])


def test_no_more_than_4_kib_are_kept_however_much_is_printed(tmp_path: Path) -> None:
    with printing(tmp_path), tail.keeping(context("r")) as kept:
        for _ in range(100):
            print("ä" * 5_000)
        print("the end", end="")
    _, value = kept.end()
    log = base64.b64decode(value)
    assert len(log) <= tail.MOST
    assert b"the end\nEND RequestId: r\n" in log


def test_a_client_context_is_what_the_client_told() -> None:
    def read(document: object) -> str:
        return base64.b64encode(json.dumps(document).encode()).decode()

    found = client_context(read({"custom": {"a": 1}, "client": {"app_title": "shop"}}))
    assert found is not None
    assert (found.custom, found.env, found.client.app_title, found.client.installation_id) == (
        {"a": 1},
        None,
        "shop",
        None,
    )
    assert client_context("") is None
    for wrong in ("%", read([1]), base64.b64encode(b"{").decode()):
        with pytest.raises(BadClientContext):
            client_context(wrong)
