"""What another policy would have made of what was recorded."""

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from hotswap import requests
from hotswap.cli.main import cli
from hotswap.cli.receipts import Kept
from hotswap.deployment import Status
from hotswap.receipt import Receipt
from hotswap.replay import Replayed, Truth, looks, replay
from hotswap.requests import Limits
from tests.controller_walk import BAD, World, tally, world

STRICT = Limits(rollback_on_error_rate=0.01, rollback_on_error_ratio=None)
LAX = Limits(rollback_on_error_rate=0.5, rollback_on_error_ratio=None)
NOTHING = Limits(rollback_on_error_rate=None, rollback_on_error_ratio=None)


def played(*, errors: int = 0, invocations: int = 1000, stable: int = 0) -> World:
    """A canary of three phases, with these counts in each."""
    counted = tally(invocations=invocations, errors=errors)
    w = world(counted=counted, tallies={5: tally(errors=stable)})
    w.play()
    return w


def replayed(w: World, policy: Limits) -> Replayed:
    return replay("d-1", w.receipts, policy)


def test_the_same_policy_says_the_same() -> None:
    w = world(counted=BAD)
    assert w.play() is Status.ROLLED_BACK
    again = replayed(w, requests.CanaryConfig())
    assert again.was
    assert again.would == again.was


def test_a_stricter_policy_goes_back_rightly_where_the_version_surely_is_over_its_limit() -> None:
    w = played(errors=30, stable=30)
    assert w.deployment.status is Status.SUCCEEDED
    found = replayed(w, STRICT)
    assert (found.was, found.truth) == (None, Truth.WORSE)
    assert found.would
    assert found.would.at == w.deployment.verdicts[0].at
    assert found.would.errors == 30
    assert found.told == "it would have gone back, 60 failures sooner, rightly: 3 % of 3000 failed in all"


def test_a_policy_that_goes_back_for_a_bad_moment_of_a_good_version_is_wrong() -> None:
    w = played(errors=0)
    first, *rest = w.receipts
    unlucky = msgspec.structs.replace(
        first,
        judged=msgspec.structs.replace(
            first.judged,
            basis=msgspec.structs.replace(first.judged.basis, tally=tally(invocations=40, errors=1)),
        ),
    )
    found = replay("d-1", [unlucky, *rest], Limits(rollback_on_error_rate=0.02, rollback_on_error_ratio=None))
    assert found.would
    assert found.would.rule == "rollbackOnErrorRate"
    assert (found.truth, ", wrongly: " in found.told) == (Truth.WITHIN, True)


def test_a_laxer_policy_goes_on_with_what_is_within_its_own_limits() -> None:
    w = world(counted=BAD)
    w.play()
    found = replayed(w, LAX)
    assert found.would is None
    assert found.truth is Truth.WITHIN
    assert found.told == "it would have gone on, rightly: 20 % of 1000 failed in all, as far as it is recorded"


def test_without_limits_nothing_goes_back_and_nothing_is_wrong_with_that() -> None:
    w = world(counted=BAD)
    w.play()
    assert replayed(w, NOTHING).would is None


def test_a_ratio_is_replayed_by_what_the_version_beside_it_counted() -> None:
    w = played(errors=40, stable=2)
    ratio = Limits(rollback_on_error_rate=None, rollback_on_error_ratio=2)
    found = replayed(w, ratio)
    assert found.would
    assert found.would.rule == "guard:rollbackOnErrorRatio"
    assert found.truth is Truth.WORSE


def test_too_little_to_say_is_said() -> None:
    w = played(invocations=30, errors=1)
    found = replayed(w, STRICT)
    assert found.truth is Truth.UNKNOWN
    assert "cannot be told" in found.told


def test_a_deployment_without_verdicts_has_nothing_to_replay() -> None:
    found = replay("d-1", [], STRICT)
    assert (found.looks, found.told) == (0, "it has no verdict, and so no counts to replay")


def test_the_phases_of_a_deployment_add_up() -> None:
    w = played(errors=1)
    assert [look.whole.tally.invocations for look in looks(w.receipts)] == [1000, 2000, 3000]


def kept(folder: Path, w: World, receipts: Iterable[Receipt]) -> Path:
    record = Kept(deployment="d-1", verdicts=w.deployment.verdicts, last=w.deployment.receipt, receipts=list(receipts))
    file = folder / "receipts.json"
    file.write_bytes(msgspec.json.encode(record))
    return file


def run(*arguments: str, stdin: str = "") -> Result:
    environment = {"HOTSWAP_STATE_DIR": "/nonexistent", "HOTSWAP_CONTROLLER": ""}
    return CliRunner(env=environment).invoke(cli, ["replay", *arguments], input=stdin)


@pytest.mark.parametrize(
    "policy",
    [
        '{"rollbackOnErrorRate": 0.01, "rollbackOnErrorRatio": null}',
        '{"canaryIncrements": [5], "rollbackOnErrorRate": 0.01, "rollbackOnErrorRatio": null}',
        '{"functionName": "f", "version": 6, "strategy": "Canary",'
        ' "config": {"rollbackOnErrorRate": 0.01, "rollbackOnErrorRatio": null}}',
    ],
)
def test_kept_receipts_are_replayed_without_a_platform(tmp_path: Path, policy: str) -> None:
    w = played(errors=30, stable=30)
    file = kept(tmp_path, w, w.receipts)
    told = run(str(file), "--policy", "-", "-o", "json", stdin=policy)
    assert told.exit_code == 0, told.output
    [found] = json.loads(told.output)
    assert (found["truth"], found["would"]["errors"]) == ("worse", 30)
    both = run(str(file), str(file), "--policy", "-", stdin=policy)
    assert "2 of 2 would have gone back, 0 of them wrongly; 0 missed" in both.output


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ('{"rollbackOnErorRate": 0.01}', "rollbackOnErorRate"),
        ('{"rollbackOnErrorRate": 2}', "rollbackOnErrorRate"),
        ("[]", "--policy: standard input is not a JSON object"),
    ],
)
def test_a_policy_that_is_none_is_named(tmp_path: Path, policy: str, message: str) -> None:
    w = played()
    told = run(str(kept(tmp_path, w, w.receipts)), "--policy", "-", stdin=policy)
    assert told.exit_code == 64
    assert message in told.output
