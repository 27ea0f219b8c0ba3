"""The receipt of a verdict: what it followed from, whole, so that anybody can give it again without a controller.

The receipts of a deployment are a chain. Each names the one before it by its hash, and the record names the last; so
none can be changed, left out or put in between afterwards without that being seen.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from typing import assert_never

import msgspec
from msgspec.structs import replace

from hotswap.judge.basis import Basis
from hotswap.judge.budget import complete, weigh
from hotswap.judge.guard import watch
from hotswap.judge.nodes import apart
from hotswap.judge.thresholds import judge
from hotswap.judge.verdict import Verdict
from hotswap.model import Model

SOFTWARE = f"hotswap {version('hotswap')}"


class Rules(StrEnum):
    LIMITS = "limits"
    """At the end of a phase."""
    GUARD = "guard"
    """All the time."""
    NODE = "node"
    """When the guard has its evidence, and all errors are from one node."""
    BUDGET = "budget"
    """Each time the routers are asked, of a version with a harm budget."""
    COMPLETE = "complete"
    """When such a version has had traffic for its time."""


class Judged(Model, frozen=True, kw_only=True):
    rules: Rules
    basis: Basis
    verdict: Verdict

    @property
    def again(self) -> Verdict | None:
        """What the rules of this software say of the same; `None` of a guard that is quiet."""
        match self.rules:
            case Rules.LIMITS:
                return judge(self.basis)
            case Rules.GUARD:
                return watch(self.basis)
            case Rules.NODE:
                return apart(self.basis)
            case Rules.BUDGET:
                return weigh(self.basis)
            case Rules.COMPLETE:
                return complete(self.basis)
            case _:
                assert_never(self.rules)


class Receipt(Model, frozen=True, kw_only=True):
    judged: Judged
    software: str
    """Which gave the verdict."""
    before: str
    """Hash of the receipt before it in the same deployment; empty for the first."""
    hash: str = ""
    """SHA-256 of all of the above as JSON, in hexadecimal digits."""


def sealed(judged: Judged, *, before: str) -> Receipt:
    """Of the receipt as the wire gives it back, where `20` in the place of a fraction has become `20.0`."""
    told = msgspec.json.encode(Receipt(judged=judged, software=SOFTWARE, before=before))
    unsealed = msgspec.json.decode(told, type=Receipt)
    return replace(unsealed, hash=digest(unsealed))


def digest(receipt: Receipt) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(receipt, hash=""), order="deterministic")).hexdigest()


def faults(receipts: Sequence[Receipt], *, verdicts: Sequence[Verdict], last: str) -> list[str]:
    """What does not hold of the receipts of a deployment that has these verdicts, and whose record names the last.

    Each fault is a sentence that begins with the number of its receipt, counted from 1.
    """
    found: list[str] = []
    before = ""
    for number, receipt in enumerate(receipts, 1):
        found += [f"receipt {number} {fault}" for fault in _faults_of(receipt, before)]
        before = receipt.hash
    if before != last:
        found.append("the record does not name the last receipt: some are missing, or are not its own")
    if [receipt.judged.verdict for receipt in receipts] != list(verdicts):
        found.append("the verdicts of the record are not those of the receipts")
    return found


def _faults_of(receipt: Receipt, before: str) -> list[str]:
    found = []
    if receipt.before != before:
        found.append("does not follow the one before it")
    if receipt.hash != digest(receipt):
        found.append("is not what was sealed: its hash is another one")
    if (again := receipt.judged.again) != receipt.judged.verdict:
        said = f"{again.outcome}: {again.text}" if again else "nothing"
        by = "" if receipt.software == SOFTWARE else f" (it was given by {receipt.software}, this is {SOFTWARE})"
        found.append(f"does not lead to its verdict: the rules say {said}{by}")
    return found
