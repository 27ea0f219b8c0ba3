import asyncio
from collections.abc import AsyncIterator

from hotswap.model import Alias
from hotswap.store import Changes, Stored
from router.gathering import Gathering


def changes(revision: int, *, whole: bool = False) -> Changes[Alias]:
    record = Alias(function=f"fn-{revision}", name="production", weights={1: 100})
    stored = Stored(record, f"/hotswap/aliases/fn-{revision}/production", revision, revision)
    return Changes((stored,), revision, whole)


async def told(*batches: Changes[Alias]) -> AsyncIterator[Changes[Alias]]:
    for batch in batches:
        yield batch


async def test_what_came_meanwhile_is_taken_together_in_its_order() -> None:
    gathering: Gathering[Alias] = Gathering()
    await gathering.read(told(changes(5), changes(6), changes(8)))
    taken = await gathering.take()
    assert [change.mod_revision for change in taken.changes] == [5, 6, 8]
    assert (taken.revision, taken.whole) == (8, False)


async def test_a_whole_list_is_taken_by_itself() -> None:
    gathering: Gathering[Alias] = Gathering()
    await gathering.read(told(changes(5, whole=True), changes(6), changes(7)))
    assert await gathering.take() == changes(5, whole=True)
    assert (await gathering.take()).revision == 7


async def test_without_news_there_is_nothing_to_take_until_some_come() -> None:
    gathering: Gathering[Alias] = Gathering()
    await gathering.read(told(changes(5)))
    await gathering.take()
    taking = asyncio.create_task(gathering.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await gathering.read(told(changes(6)))
    assert await taking == changes(6)
