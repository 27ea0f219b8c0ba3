"""Deployments: begun, read, and asked to do something."""

from typing import Annotated

import msgspec

from controller.api.rest import documents
from controller.api.rest.route import Answer, Api, Call, Handler, Nothing
from hotswap.deployment import Verb
from hotswap.model import Model, VersionNumber
from hotswap.requests import AnyRequest

MOST_LISTED = 1000


class OfDeployment(Model, frozen=True, kw_only=True):
    deployment: str


class Filter(Model, frozen=True, kw_only=True):
    function: str = ""
    running: bool = False
    """Only those that have not ended."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_LISTED)] = 100


class Reasoned(Model, frozen=True, kw_only=True):
    reason: str = ""
    """For the record."""


class Promotion(Reasoned, frozen=True, kw_only=True):
    winning_version: VersionNumber | None = None
    """Which of the versions that were compared gets the traffic."""
    full: bool = False
    """Past every phase and test that is left."""


class Resumption(Reasoned, frozen=True, kw_only=True):
    adopt: bool = False
    """Go on with the weights that somebody else gave the alias."""


class Retrial(Reasoned, frozen=True, kw_only=True):
    from_step: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The step to begin at, counted from 1."""
    force: bool = False
    """Though the version is in quarantine."""


async def deploy(api: Api, call: Call[Nothing, AnyRequest]) -> Answer:
    deployment = await call.access.deploy(call.body)
    return Answer(documents.deployment(deployment), location=f"/deployments/{deployment.id}")


async def compare(api: Api, call: Call[OfDeployment, Nothing]) -> Answer:
    return Answer(await call.access.compare(call.parameters.deployment))


async def get(api: Api, call: Call[OfDeployment, Nothing]) -> Answer:
    stored = await call.access.deployment(call.parameters.deployment)
    return Answer(documents.deployment(stored.value), revision=stored.mod_revision)


async def find(api: Api, call: Call[Filter, Nothing]) -> Answer:
    wanted = call.parameters
    found = await call.access.deployments(function=wanted.function, running=wanted.running, limit=wanted.limit)
    return Answer(documents.DeploymentList(deployments=[documents.deployment(it) for it in found]))


EXAMPLE = {
    "functionName": "image-processor",
    "version": 6,
    "strategy": "Canary",
    "config": {"canaryDuration": "PT10M", "canaryIncrements": [10, 50, 100], "rollbackOnErrorRate": 0.05},
}
BODIES: dict[Verb, type[Reasoned]] = {Verb.PROMOTE: Promotion, Verb.RESUME: Resumption, Verb.RETRY: Retrial}
"""What a verb is told, where that is more than the reason."""
EXAMPLES: dict[Verb, dict[str, object]] = {
    Verb.PROMOTE: {"winningVersion": 2, "reason": "v2 shows 2.8% conversion rate vs 2.5% for v1"},
}
SUMMARIES = {
    Verb.ROLLBACK: "Go back to the version before",
    Verb.ABORT: "End the deployment, with the weights as they were before it",
    Verb.PROMOTE: "Go on past what the deployment waits for",
    Verb.PAUSE: "Have the deployment stand still; its traffic stays as it is, and is judged",
    Verb.RESUME: "Let a deployment go on that is paused or held",
    Verb.RETRY: "Try again what came to nothing, as a new deployment; one that is held goes on from a step",
}


def asking(verb: Verb) -> Handler[OfDeployment, Reasoned]:
    """The handler of a verb; the answer shows the deployment before the engine has done what was asked."""

    async def ask(api: Api, call: Call[OfDeployment, Reasoned]) -> Answer:
        name, access, why = call.parameters.deployment, call.access, call.body.reason
        match call.body:
            case Promotion(winning_version=winner, full=full):
                asked = await access.ask(name, verb, why=why, winner=winner, full=full, expected=call.expected)
            case Resumption(adopt=adopt):
                asked = await access.ask(name, verb, why=why, adopt=adopt, expected=call.expected)
            case Retrial(from_step=step, force=force):
                asked = await access.retry(name, from_step=step, force=force, why=why)
            case _:
                asked = await access.ask(name, verb, why=why, expected=call.expected)
        return Answer(documents.deployment(asked))

    return ask
