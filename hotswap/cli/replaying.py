"""`hotswap replay`: past deployments under another policy, by the counts in their receipts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from hotswap import requests
from hotswap.cli import output
from hotswap.cli import requests as given
from hotswap.cli.client import Target, controller_options
from hotswap.cli.receipts import Kept, fetch
from hotswap.model import decode
from hotswap.replay import Replayed, Truth, replay
from hotswap.requests import Limits


@click.command("replay", short_help="Say what another policy would have made of past deployments.")
@click.argument("recorded", metavar="ID|FILE...", nargs=-1, required=True)
@click.option("--policy", metavar="FILE|-", required=True, help="JSON: the limits, or a request or `config` with them.")
@output.output_option
@controller_options
def replay_deployments(recorded: Sequence[str], *, policy: str, form: output.Format, target: Target) -> None:
    """Say what another policy would have made of past deployments: what would have been rolled back, when, and whether
    rightly.

    A deployment is named by its ID, or by a FILE of receipts that `hotswap verify ID -o json` has kept.

    \b
    echo '{"rollbackOnErrorRate": 0.01}' | hotswap replay d-1a2b3c4d d-5e6f7a8b --policy -
    hotswap replay receipts.json --policy limits.json
    """
    limits = read_policy(policy)
    replayed = [replay(kept.deployment, kept.receipts, limits) for kept in (_kept(target, one) for one in recorded)]
    if form == "json":
        output.print_json(msgspec.to_builtins(replayed))
        return
    for one in replayed:
        output.print_facts(_facts(one))
    if len(replayed) > 1:
        click.echo(_summary(replayed))


def read_policy(source: str) -> Limits:
    """The limits alone; what else a request says is not about judging. Raises `Invalid` for what is no field of any."""
    document = given.read(source, option="--policy")
    config: Any = document.get("config", {}) if any(name in document for name in given.WHOLE) else document
    known = {name for kind in requests.STRATEGIES.values() for name in _fields(kind)}
    limits = {name for name in config if name not in known or name in Limits.__struct_encode_fields__}
    chosen = msgspec.json.encode({name: config[name] for name in sorted(limits)})
    return decode(chosen, Limits, where="--policy")


def _fields(kind: type[requests.AnyRequest]) -> tuple[str, ...]:
    config = kind(function_name="f", version=1).config
    return config.__struct_encode_fields__


def _kept(target: Target, name: str) -> Kept:
    """A file where there is one of that name."""
    file = Path(name)
    return decode(file.read_bytes(), Kept, where=name) if file.is_file() else fetch(target, name)


def _facts(one: Replayed) -> list[tuple[str, str]]:
    of = f" of version {one.version}" if one.version else ""
    return [
        ("deployment", f"{one.deployment}{of}, {one.looks} verdict{'' if one.looks == 1 else 's'}"),
        ("was", _ended(one.was.at.isoformat(), one.was.text) if one.was else "not taken back by a verdict"),
        ("would be", _ended(one.would.at.isoformat(), one.would.text) if one.would else "not taken back by a verdict"),
        ("so", one.told),
    ]


def _ended(at: str, text: str) -> str:
    return f"back at {output.moment(at)}: {text}"


def _summary(replayed: Sequence[Replayed]) -> str:
    back = [one for one in replayed if one.would]
    wrong = sum(one.truth is Truth.WITHIN for one in back)
    missed = sum(one.truth is Truth.WORSE for one in replayed if not one.would)
    return f"{len(back)} of {len(replayed)} would have gone back, {wrong} of them wrongly; {missed} missed"


COMMANDS = (replay_deployments,)
