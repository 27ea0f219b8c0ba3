"""What an invocation printed is told to who asked for it, and to nobody else."""

import asyncio
import base64
import contextvars
import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from agent.runtime import tail
from agent.runtime.context import BadClientContext, Context, client_context


def context(request_id: str) -> Context:
    return Context(
        function_name="f",
        function_version="3",
        memory_limit_in_mb=128,
        aws_request_id=request_id,
        deadline=time.monotonic() + 60,
    )


@contextmanager
def installed() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """What is printed meanwhile, on standard output and standard error."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        tail.install()
        yield out, err


def told(kept: tail.Tail) -> list[str]:
    name, value = kept.end()
    assert name == "x-amz-log-result"
    return base64.b64decode(value).decode().splitlines()


async def test_invocations_side_by_side_have_each_its_own() -> None:
    turn = asyncio.Barrier(2)

    async def invocation(name: str) -> list[str]:
        with tail.keeping(context(name)) as kept:
            for number in range(3):
                await turn.wait()
                print(name, number)
            run = contextvars.copy_context().run
            await asyncio.to_thread(run, print, name, "in a thread", file=sys.stderr)
            return told(kept)

    with installed() as (out, err):
        one, two = await asyncio.gather(invocation("one"), invocation("two"))
    for name, lines in (("one", one), ("two", two)):
        assert lines[0] == f"START RequestId: {name} Version: 3"
        assert lines[1:5] == [f"{name} 0", f"{name} 1", f"{name} 2", f"{name} in a thread"]
        assert lines[5] == f"END RequestId: {name}"
        assert lines[6].startswith(f"REPORT RequestId: {name}\tDuration: ")
    assert sorted(out.getvalue().splitlines()) == ["one 0", "one 1", "one 2", "two 0", "two 1", "two 2"]
    assert "one in a thread" in err.getvalue()


def test_no_more_than_4_kib_are_kept_however_much_is_printed() -> None:
    with installed(), tail.keeping(context("r")) as kept:
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
