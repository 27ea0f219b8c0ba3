"""Deployments: begun, read, and asked to do something."""

from typing import Annotated

import msgspec

from controller.api.rest import documents
from controller.api.rest.route import Answer, Api, Call, Handler, Nothing
from hotswap.deployment import Verb
from hotswap.errors import Refused
from hotswap.model import Model, VersionNumber
from hotswap.requests import ABTesting, AnyRequest

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


async def deploy(api: Api, call: Call[Nothing, AnyRequest]) -> Answer:
    deployment = await api.service.deploy(call.body, who=call.who)
    return Answer(documents.deployment(deployment), location=f"/deployments/{deployment.id}")


async def get(api: Api, call: Call[OfDeployment, Nothing]) -> Answer:
    stored = await api.service.stored_deployment(call.parameters.deployment)
    return Answer(documents.deployment(stored.value), revision=stored.mod_revision)


async def find(api: Api, call: Call[Filter, Nothing]) -> Answer:
    wanted = call.parameters
    found = await api.service.deployments(function=wanted.function, running=wanted.running, limit=wanted.limit)
    return Answer(documents.DeploymentList(deployments=[documents.deployment(it) for it in found]))


EXAMPLE = {
    "functionName": "image-processor",
    "version": 6,
    "strategy": "Canary",
    "config": {"canaryDuration": "PT10M", "canaryIncrements": [10, 50, 100], "rollbackOnErrorRate": 0.05},
}
BODIES: dict[Verb, type[Reasoned]] = {Verb.PROMOTE: Promotion}
"""What a verb is told, where that is more than the reason."""
EXAMPLES: dict[Verb, dict[str, object]] = {
    Verb.PROMOTE: {"winningVersion": 2, "reason": "v2 shows 2.8% conversion rate vs 2.5% for v1"},
}
SUMMARIES = {
    Verb.ROLLBACK: "Go back to the version before",
    Verb.ABORT: "End the deployment, with the weights as they were before it",
    Verb.PROMOTE: "Go on past what the deployment waits for",
}


def asking(verb: Verb) -> Handler[OfDeployment, Reasoned]:
    """The handler of a verb; the answer shows the deployment before the engine has done what was asked."""

    async def ask(api: Api, call: Call[OfDeployment, Reasoned]) -> Answer:
        name = call.parameters.deployment
        if isinstance(call.body, Promotion) and call.body.winning_version is not None:
            await _refuse_winner(api, name)
        asked = await api.service.ask(name, verb, who=call.who, why=call.body.reason, expected=call.expected)
        return Answer(documents.deployment(asked))

    return ask


async def _refuse_winner(api: Api, name: str) -> None:
    deployment = await api.service.deployment(name)
    if not isinstance(deployment.request, ABTesting):
        raise Refused(
            f"deployment {name} compares no versions: there is no winner to name",
            hint=f"promote it as it is: `hotswap promote {name}`",
        )
