"""Who writes, and what belongs together in one write."""

from collections import defaultdict

from hotswap.deployment import Active, Deployment, Event, Leader, Shift, Status
from hotswap.model import Alias
from tests.simulation.cluster import Written
from tests.simulation.invariants.invariant import Invariant, Surroundings, Told, where


class OneWriter(Invariant):
    """Only who leads writes as a leader."""

    def seen(self, written: Written) -> Told:
        if written.author.role != "leader":
            return
        leaders = [key for key, value in self.picture.values.items() if isinstance(value, Leader)]
        fences = [self.picture.created[key] for key in leaders]
        if fences != [written.author.fence]:
            yield (
                f"{written.author.name} wrote as the leader of revision {written.author.fence}, "
                f"but now the lead is that of {fences or 'nobody'}"
            )


class ShowsOnce(Invariant):
    """A shift is one write of alias, record and event, and each of its attempts shows in the alias once."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._shown: set[str] = set()
        """Attempts at shifts."""
        self._deleted: set[str] = set()
        """Aliases that somebody deleted: what had shown in them may be made again."""

    def seen(self, written: Written) -> Told:
        self._deleted |= {where(before) for before, after in written.of(Alias) if before and not after}
        shifts = [alias for before, alias in written.of(Alias) if alias and _is_shift(before, alias)]
        for alias in shifts:
            if alias.step in self._shown and where(alias) not in self._deleted:
                yield f"{where(alias)}: the effect of {alias.step} shows twice"
            self._shown.add(alias.step)
        told = [event for _, event in written.of(Event) if event and event.kind == "weights"]
        if len(told) != len(shifts) and written.author.role == "leader":
            yield f"{len(told)} events tell of weights, and {len(shifts)} shifts were written: {told or shifts}"
        for before, after in written.of(Deployment):
            if before and after:
                yield from self._left_out(before, after)

    def _left_out(self, before: Deployment, after: Deployment) -> Told:
        """A shift that was passed must have shown."""
        step = before.steps[before.progress.index] if before.progress.index < len(before.steps) else None
        onward = before.status is after.status and after.progress.index == before.progress.index + 1
        if onward and isinstance(step, Shift):
            way = "back" if before.status is Status.ROLLING_BACK else "plan"
            key = f"{before.id}/{way}/{before.progress.index}/{before.progress.attempt}"
            if key not in self._shown:
                yield f"{after.id} went past the shift {key}, which never showed"


class EventsAreWhole(Invariant):
    """The events of a deployment are numbered without a gap, and come with the record that counts them."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._last: defaultdict[str, int] = defaultdict(int)

    def seen(self, written: Written) -> Told:
        for before, event in written.of(Event):
            if event is None:
                continue
            if before is not None or event.number != self._last[event.deployment] + 1:
                yield f"event {event.number} of {event.deployment} follows event {self._last[event.deployment]}"
            self._last[event.deployment] = event.number
        for _, deployment in written.of(Deployment):
            if deployment and deployment.events != self._last[deployment.id]:
                yield f"{deployment.id} counts {deployment.events} events; there are {self._last[deployment.id]}"


class OneDeployment(Invariant):
    """A deployment runs if and only if it holds its alias; what has ended stays so, unless it is reopened."""

    def seen(self, written: Written) -> Told:
        if not written.of(Deployment) and not written.of(Active):
            return
        held = {(one.function, one.alias): one.deployment for one in self.picture.all(Active)}
        running = [one for one in self.picture.all(Deployment) if not one.status.terminal and not _queued(one)]
        for one in running:
            if held.pop((one.function, one.alias), None) != one.id:
                yield f"{one.id} is {one.status}, but does not hold {one.function}:{one.alias}"
        for (function, alias), name in held.items():
            yield f"{name} has ended, and still holds {function}:{alias}"
        for before, after in written.of(Deployment):
            if before and before.status.terminal and (after is None or after.status is not Status.ROLLING_BACK):
                yield f"{before.id} was {before.status} and became {after.status if after else 'nothing'}"


def _queued(deployment: Deployment) -> bool:
    return deployment.status is Status.QUEUED


def _is_shift(before: Alias | None, after: Alias) -> bool:
    """Whether a deployment has set the weights; a foreign edit leaves the step's name, and so does the end."""
    return bool(after.step) and (before is None or before.step != after.step or before.history != after.history)
