"""Which verbs make sense of a deployment as it stands, and what it says of those that do not. Pure."""

from controller import scope, steps
from hotswap.deployment import Ask, AwaitPromotion, Deployment, HoldingStep, Retire, Shift, Start, Status, Verb
from hotswap.errors import Invalid, Refused
from hotswap.model import Alias

ENDS = frozenset({Verb.ROLLBACK, Verb.ABORT})
ALLOWED: dict[Status, frozenset[Verb]] = {
    Status.QUEUED: frozenset({Verb.ABORT}),
    Status.RUNNING: ENDS | {Verb.PAUSE, Verb.PROMOTE},
    Status.PAUSED: ENDS | {Verb.RESUME, Verb.PROMOTE},
    Status.AWAITING_PROMOTION: ENDS | {Verb.PROMOTE},
    Status.HELD: ENDS | {Verb.PROMOTE, Verb.RESUME, Verb.RETRY},
    Status.ROLLING_BACK: frozenset(),
    Status.FROZEN: ENDS | {Verb.RETRY},
    Status.SUCCEEDED: frozenset({Verb.ROLLBACK}),
    Status.ROLLED_BACK: frozenset({Verb.RETRY}),
    Status.FAILED: frozenset({Verb.RETRY}),
    Status.ABORTED: frozenset({Verb.RETRY}),
}


def commands(deployment: Deployment) -> list[str]:
    """What makes sense to ask of it now."""
    backless = frozenset() if deployment.way_back else {Verb.ROLLBACK}
    verbs = [verb for verb in Verb if verb in ALLOWED[deployment.status] - backless]
    return [_command(deployment, verb) for verb in verbs if not _is_moot(deployment, verb)]


def refuse(deployment: Deployment, verb: Verb) -> None:
    if verb in ALLOWED[deployment.status]:
        return
    raise _refusal(deployment, f"is {deployment.status}: there is nothing to {verb}")


def check(deployment: Deployment, ask: Ask) -> None:
    """Whether what is asked for in particular can be done. Raises `Invalid` or `Refused`."""
    if ask.verb is Verb.PROMOTE:
        _check_promotion(deployment, ask)
    if ask.step is not None and not 1 <= ask.step <= len(deployment.plan):
        raise Invalid(f"deployment {deployment.id} has no step {ask.step}", hint=f"it has 1 to {len(deployment.plan)}")
    present = deployment.progress.index + 1
    if ask.step is not None and ask.step > present:  # what it would leave out was never done
        raise _refusal(deployment, f"has come to step {present}: it cannot be retried from step {ask.step}")
    begun = (steps.last_of(Start, deployment.plan[:present]) or 0) + 1
    if ask.step is not None and ask.step < begun:  # nodes have changed since then
        raise _refusal(deployment, f"has started a version at step {begun}: it cannot be retried from step {ask.step}")


def check_adopted(deployment: Deployment, alias: Alias | None) -> None:
    """Whether a deployment can go on with the weights that somebody else gave its alias."""
    running = {version for version, where in scope.placed(deployment).items() if where == scope.EVERYWHERE}
    foreign = [version for version, weight in (alias.weights if alias else {}).items() if weight]
    leaving = _leaving(deployment) & set(foreign)
    if leaving:
        raise Refused(
            f"deployment {deployment.id} cannot go on with {steps.shares(alias.weights if alias else {})}: "
            f"its next steps retire {steps.named(sorted(leaving))}",
            hint=f"have its own weights set again: `hotswap resume {deployment.id}`",
        )
    if alias is None or not running.issuperset(foreign):
        found = steps.shares(alias.weights) if alias else "nothing"
        raise Refused(
            f"deployment {deployment.id} cannot go on with {found}: it runs {steps.named(sorted(running))} everywhere",
            hint=f"have its own weights set again: `hotswap resume {deployment.id}`",
        )


def _leaving(deployment: Deployment) -> set[int]:
    """Versions that are retired before any other weights are given."""
    found: set[int] = set()
    for step in deployment.plan[deployment.progress.index + 1 :]:
        if isinstance(step, Shift):
            break
        if isinstance(step, Retire):
            found.add(step.version)
    return found


def is_so_already(deployment: Deployment, ask: Ask) -> bool:
    """What is asked for was asked, or has come about."""
    if deployment.asked and deployment.asked.same(ask) and not deployment.status.terminal:
        return True
    match ask.verb:
        case Verb.ROLLBACK:
            return deployment.status in {Status.ROLLING_BACK, Status.ROLLED_BACK}
        case Verb.ABORT:
            return deployment.status is Status.ABORTED
        case Verb.PAUSE:
            return deployment.status is Status.PAUSED
        case Verb.RESUME:
            return deployment.status is Status.RUNNING
        case _:
            return False


def _check_promotion(deployment: Deployment, ask: Ask) -> None:
    ahead = deployment.plan[deployment.progress.index :]
    test = next((step for step in ahead if isinstance(step, AwaitPromotion)), None)
    if ask.winner is not None and (test is None or ask.winner not in test.versions):
        of = f"the versions of its test are {steps.named(test.versions)}" if test else "it is no test"
        raise _refusal(deployment, f"cannot be won by version {ask.winner}: {of}")
    present = steps.present(deployment)
    if ask.winner is None and test and (ask.full or isinstance(present, AwaitPromotion)):
        raise _refusal(deployment, "is a test: name the winner")
    if not ask.full and _is_moot(deployment, ask.verb):
        raise _refusal(
            deployment, f"does not wait now, it is to {steps.describe(present)}: there is nothing to promote"
        )


def _is_moot(deployment: Deployment, verb: Verb) -> bool:
    """A step that has an effect is not shortened by a promotion, but for the tests."""
    if verb is not Verb.PROMOTE or deployment.status is not Status.RUNNING:
        return False
    return not isinstance(steps.present(deployment), HoldingStep)


def _command(deployment: Deployment, verb: Verb) -> str:
    winner = ""
    if verb is Verb.PROMOTE and isinstance(steps.present(deployment), AwaitPromotion):
        found = deployment.comparison.winner if deployment.comparison else None
        winner = f" --winner {found or 'VERSION'}"
    return f"hotswap {verb} {deployment.id}{winner}"


def _refusal(deployment: Deployment, why: str) -> Refused:
    possible = commands(deployment) or [f"hotswap status {deployment.id}"]
    return Refused(
        f"deployment {deployment.id} {why}",
        hint="what works now: " + ", ".join(f"`{command}`" for command in possible),
    )
