"""Versions that failed: they are not deployed again unless somebody insists.

A version is put aside in the same write that finds it faulty, and let out again by a deployment of it that succeeds, or
by a person.
"""

from datetime import datetime

from hotswap.deployment import Deployment, Quarantine
from hotswap.errors import Refused
from hotswap.judge.verdict import Outcome
from hotswap.requests import AnyRequest
from hotswap.store import Store, Transaction


async def isolated(store: Store, transaction: Transaction, deployment: Deployment, now: datetime) -> None:
    """Adds the version's quarantine to what the transaction writes."""
    function, version = deployment.function, blamed(deployment)
    entry = Quarantine(function=function, version=version, deployment=deployment.id, why=deployment.reason, at=now)
    transaction.put(entry, over=await store.quarantine.get(function, version))


def blamed(deployment: Deployment) -> int:
    """The version that was judged last and failed; the one that is deployed, where none was judged."""
    last = deployment.verdicts[-1] if deployment.verdicts else None
    return last.version if last and last.outcome is Outcome.FAIL and last.version else deployment.version


async def released(store: Store, transaction: Transaction, function: str, version: int) -> None:
    """Takes it back, if there is one."""
    if stored := await store.quarantine.get(function, version):
        transaction.delete(stored)


async def refuse(store: Store, request: AnyRequest) -> None:
    """Raises `Refused` for a version in quarantine that is deployed without force."""
    stored = await store.quarantine.get(request.function_name, request.version)
    if stored is None or request.force:
        return
    raise Refused(
        f'version {request.version} of "{request.function_name}" failed in deployment {stored.value.deployment}: '
        f"{stored.value.why.splitlines()[0]}",
        hint="publish one that is mended and deploy that, or insist: add `--force`",
    )
