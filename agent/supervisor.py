"""Brings what runs on the node to what is assigned to it: one reconciler a function, which fills and empties slots.

A reconciler has no loop of its own. It looks again whenever its assignment or one of its slots has changed; `decide`
says what is to be done, and slots do it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

from agent.crew import Crew
from agent.decide import decide, served
from agent.instance import Instance
from agent.output import Outputs
from agent.progress import Listeners, State
from agent.slot import Slot
from agent.tools import Tools

log = logging.getLogger(__name__)


class Reconciler:
    def __init__(
        self, function: str, tools: Tools, group: asyncio.TaskGroup, *, changed: Callable[[Slot], None]
    ) -> None:
        self.function = function
        self.desired: Mapping[int, int] | None = None
        """`None` as long as the assignment is not known: then nothing is taken away."""
        self.revision = 0
        self.slots: list[Slot] = []
        """In the order of their starts."""
        self.tasks: dict[Slot, asyncio.Task[None]] = {}
        self.crews: dict[int, Crew] = {}
        """By version."""
        self._tools = tools
        self._group = group
        self._on_change = changed

    def assign(self, versions: Mapping[int, int], revision: int) -> None:
        self.desired = {version: count for version, count in versions.items() if count}
        self.revision = revision
        self.reconcile()

    def adopt(self, instance: Instance) -> None:
        self._fill(instance.version.number, instance)

    def reconcile(self) -> None:
        if self.desired is None:
            return
        decision = decide(self.desired, [slot.view for slot in self.slots])
        for slot in self.slots:
            if slot in decision.retire:
                slot.retire()
        for version in decision.start:
            self._fill(version, None)

    def again(self) -> None:
        """What rests after a failure is tried now."""
        for slot in self.slots:
            slot.again()

    def drain(self, version: int) -> None:
        """Takes a version away without waiting for what replaces it."""
        for slot in self.of_version(version):
            slot.retire()

    def of_version(self, version: int) -> list[Slot]:
        return [slot for slot in self.slots if slot.version == version]

    @property
    def served(self) -> bool:
        return self.desired is not None and served(self.desired, [slot.view for slot in self.slots])

    @property
    def failed(self) -> bool:
        return any(slot.state is State.FAILED for slot in self.slots if slot.version in (self.desired or ()))

    def _fill(self, version: int, adopted: Instance | None) -> None:
        crew = self.crews.setdefault(version, Crew(self.function, version, self._tools.proven))
        slot = Slot(self.function, version, self._tools, crew, changed=self._changed, adopted=adopted)
        if adopted:
            crew.meet(adopted.version.manifest)
        crew.join(slot)
        self.slots.append(slot)
        self.tasks[slot] = self._group.create_task(self._run(slot), name=repr(slot))

    async def _run(self, slot: Slot) -> None:
        await slot.run()
        self.slots.remove(slot)
        del self.tasks[slot]
        self.crews[slot.version].leave(slot)
        if not self.of_version(slot.version):
            del self.crews[slot.version]
        self._changed(slot)

    def _changed(self, slot: Slot) -> None:
        self._on_change(slot)
        self.reconcile()


class Supervisor:
    def __init__(self, tools: Tools, outputs: Outputs, group: asyncio.TaskGroup) -> None:
        self.listeners = Listeners()
        self._tools = tools
        self._outputs = outputs
        self._group = group
        self._functions: dict[str, Reconciler] = {}
        self._revision: int | None = None
        """Up to which the assignments are known; `None` before the store was reached."""
        self._assigned = asyncio.Event()
        self._closing = False
        self._idle = asyncio.Event()

    def of(self, function: str) -> Reconciler:
        if function not in self._functions:
            made = Reconciler(function, self._tools, self._group, changed=self._changed)
            self._functions[function] = made
            if self._revision is not None:
                made.assign({}, 0)
        return self._functions[function]

    def adopt(self, instances: list[Instance]) -> None:
        for instance in instances:
            log.info("adopting %s of %s:%d", instance.id, instance.version.function, instance.version.number)
            self.of(instance.version.function).adopt(instance)

    def assign(self, assignments: Mapping[str, tuple[Mapping[int, int], int]], revision: int) -> None:
        """All assignments of the node, as (versions, revision) by function; what is not named is taken away."""
        if self._closing:
            return
        self._revision = revision
        for function, (versions, written) in assignments.items():
            reconciler = self.of(function)
            if reconciler.desired is None or reconciler.revision < written:
                reconciler.assign(versions, written)
        for function, reconciler in self._functions.items():
            if function not in assignments and reconciler.desired != {}:
                reconciler.assign({}, reconciler.revision)
        self._assigned.set()
        self._assigned = asyncio.Event()

    async def assigned(self, function: str, revision: int) -> Reconciler:
        """The reconciler of a function, when all assignments up to the revision have arrived."""
        while self._revision is None or self._revision < revision:
            await self._assigned.wait()
        return self.of(function)

    def slots(self, function: str = "") -> Iterator[Slot]:
        """Of one function, or of all."""
        for name, reconciler in self._functions.items():
            if function in ("", name):
                yield from reconciler.slots

    def instances(self) -> Iterator[Instance]:
        return (slot.instance for slot in self.slots() if slot.instance)

    def crews(self) -> Iterator[Crew]:
        for reconciler in self._functions.values():
            yield from reconciler.crews.values()

    def left(self) -> list[asyncio.Task[None]]:
        """The tasks of the slots that are filled still. To cancel them leaves their instances running."""
        return [task for reconciler in self._functions.values() for task in reconciler.tasks.values()]

    async def close(self) -> None:
        """Takes all away and returns when nothing is left."""
        self._closing = True
        for reconciler in self._functions.values():
            reconciler.assign({}, reconciler.revision)
        while any(self.slots()):
            self._idle.clear()
            await self._idle.wait()

    def _changed(self, slot: Slot) -> None:
        self.listeners.tell(slot.progress)
        if slot.state in {State.STOPPED, State.ASLEEP}:
            running = {one.last_instance for one in self.slots(slot.function)}
            self._outputs.prune(slot.function, running=running)
            self._idle.set()
