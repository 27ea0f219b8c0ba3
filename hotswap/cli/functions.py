"""Functions and their versions: publish, list, take away."""

import json
from pathlib import Path

import click

from hotswap import manifest, runtimes, vendoring
from hotswap.cli import output
from hotswap.cli.client import ANSWER_LIMIT, Target, controller_options, me
from hotswap.cli.completion import function_argument
from hotswap.cli.sending import send
from hotswap.cli.verbs import why_option
from hotswap.model import Manifest
from hotswap.rpc import controller_pb2 as pb
from hotswap.runtimes import Runtime

DIGEST_SHOWN = 12
"""Digits of a sha256 that people are shown."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--platform", default="", metavar="TAG", help="For other machines than the nodes: manylinux_2_28_aarch64."
)
@click.option("--python", default="", metavar="VERSION", help="For another Python than theirs: 3.12.")
@click.option("--anew", is_flag=True, help="Look requirements up that were looked up before.")
@output.output_option
@controller_options
def publish(folder: Path, *, platform: str, python: str, anew: bool, form: output.Format, target: Target) -> None:
    """Publish a folder as a new version of a function.

    The folder has the code, and hotswap.toml beside it. The packages that its requirements.txt names are published
    with it, as wheels have them. What .hotswapignore names is left out. Publishing the same content again gives the
    version that it has already.

    \b
    hotswap publish examples/image-processor/v1
    """
    described = manifest.read(folder)
    packages = None
    if (folder / vendoring.FILE).exists():
        runtime = Runtime(platform, python) if platform or python else _of_nodes(target, described)
        packages = _vendored(folder, runtime, target, anew=anew)
    sent = send(target, folder, packages=packages)
    version = sent.version
    if form == "json":
        output.print_json(output.document(version))
        return
    name, number = version.function, version.number
    told = f"{name} version {number}, {output.size(version.size)}, sha256 {version.artifact[:DIGEST_SHOWN]}"
    click.echo(f"{told}, unchanged" if sent.unchanged else told)
    click.echo(f"deploy it: hotswap deploy {name} {number} --strategy all-at-once --wait")


def _of_nodes(target: Target, described: Manifest) -> Runtime:
    """What fits the nodes that the function may run on."""
    with target.connected() as controller:
        found = controller.GetPlatform(pb.GetPlatformRequest(), timeout=ANSWER_LIMIT, metadata=me())
    return runtimes.common(found.nodes, described.placement.labels)


def _vendored(folder: Path, runtime: Runtime, target: Target, *, anew: bool) -> Path:
    return vendoring.vendored(
        (folder / vendoring.FILE).resolve(),
        runtime=runtime,
        cache=target.state_dir / "vendored",
        anew=anew,
        tell=lambda text: click.echo(text, err=True),
    )


@click.command(short_help="Take away a version that nothing needs.")
@function_argument
@click.argument("version", type=click.IntRange(min=1))
@why_option
@output.output_option
@controller_options
def unpublish(function: str, version: int, *, why: str, form: output.Format, target: Target) -> None:
    """Take VERSION of FUNCTION away, which no alias and no deployment needs.

    Its number is not given again.

    \b
    hotswap unpublish image-processor 7
    """
    request = pb.UnpublishRequest(function=function, number=version, why=why)
    with target.connected() as controller:
        removed = controller.Unpublish(request, timeout=ANSWER_LIMIT, metadata=me())
    if form == "json":
        output.print_json(output.document(removed))
    else:
        click.echo(f"version {version} of {function} is gone")


@click.command()
@output.output_option
@controller_options
def functions(*, form: output.Format, target: Target) -> None:
    """List the functions, with the weights of their aliases."""
    with target.connected() as controller:
        answer = controller.ListFunctions(pb.ListFunctionsRequest(), timeout=ANSWER_LIMIT)
    none = "no function was published yet: hotswap publish FOLDER"
    output.print_messages(answer.functions, form=form, row=_function_row, none=none)


def _function_row(function: pb.Function) -> output.Row:
    return {
        "FUNCTION": function.name,
        "VERSIONS": str(function.last_version),
        "ALIASES": "   ".join(f"{alias.name}: {output.weights(alias.weights)}" for alias in function.aliases),
        "DESCRIPTION": function.description,
    }


@click.command()
@function_argument
@output.output_option
@controller_options
def versions(function: str, *, form: output.Format, target: Target) -> None:
    """List the versions of FUNCTION, the newest last."""
    with target.connected() as controller:
        answer = controller.ListVersions(pb.ListVersionsRequest(function=function), timeout=ANSWER_LIMIT)
    output.print_messages(answer.versions, form=form, row=_version_row, none=f"{function} has no versions")


def _version_row(version: pb.Version) -> output.Row:
    manifest = json.loads(version.manifest_json)
    entrypoint = manifest["entrypoint"]
    return {
        "VERSION": str(version.number),
        "PUBLISHED": output.moment(version.published),
        "KIND": manifest["kind"],
        "ENTRYPOINT": entrypoint if isinstance(entrypoint, str) else " ".join(entrypoint),
        "SIZE": output.size(version.size),
        "SHA256": version.artifact[:DIGEST_SHOWN],
        "BY": version.who,
    }


COMMANDS = (publish, unpublish, functions, versions)
