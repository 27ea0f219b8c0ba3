"""`hotswap publish` of a folder with requirements: real pip, wheels that the test makes, and no index."""

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hotswap.archive import LIMITS
from hotswap.runtimes import Runtime
from tests.unit.test_cli_controller import Control, controlled
from tests.wheels import wheel

HANDLER = 'function = "shop"\nkind = "handler"\nentrypoint = "app:handler"\n'
PARCEL = ".packages/parcel/__init__.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


class Ground:
    def __init__(self, folder: Path, control: Control) -> None:
        self.folder = folder
        self.control = control
        self.wheels = folder / "wheels"
        self.source = folder / "source"
        self.source.mkdir()
        self.write("hotswap.toml", HANDLER)
        self.write("app.py", "import parcel\ndef handler(event, context): return parcel.VERSION\n")

    def write(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def require(self, *lines: str) -> None:
        self.write("requirements.txt", "\n".join(["--no-index", f"--find-links {self.wheels}", *lines]) + "\n")

    def publish(self, *options: str) -> Result:
        where = ("--state-dir", str(self.folder / "state"))
        return self.control.run("publish", str(self.source), *where, *options)

    def published(self, *options: str) -> dict[str, Any]:
        result = self.publish(*options, "-o", "json")
        assert result.exit_code == 0, result.output
        version: dict[str, Any] = json.loads(result.stdout)
        return version

    def refused(self, *options: str) -> str:
        result = self.publish(*options)
        assert result.exit_code != 0, result.output
        return result.stderr

    def content(self, version: dict[str, Any]) -> dict[str, bytes]:
        packed = (self.control.platform.folder / "artifacts" / version["artifact"]).read_bytes()
        with tarfile.open(fileobj=BytesIO(packed)) as tar:
            files = {member.name: tar.extractfile(member) for member in tar}
            return {name: file.read() for name, file in files.items() if file}


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with controlled(tmp_path / "platform") as control:
        yield Ground(tmp_path, control)


def test_what_is_required_is_published_beside_the_code(ground: Ground) -> None:
    wheel(ground.wheels, "parcel")
    ground.require("parcel")
    content = ground.content(ground.published())
    assert set(content) == {
        *("app.py", "hotswap.toml", "requirements.txt", PARCEL),
        *(f".packages/parcel-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt")),
    }


def test_the_same_input_is_the_same_version_wherever_it_is_built(ground: Ground) -> None:
    wheel(ground.wheels, "parcel")
    ground.require("parcel")
    first = ground.published()
    shutil.rmtree(ground.folder / "state")
    copy = ground.folder / "elsewhere" / "source"
    shutil.copytree(ground.source, copy)
    shutil.rmtree(ground.source)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "app.cpython-311.pyc").write_bytes(os.urandom(10))
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("main")
    (copy / "app.py").chmod(0o600)
    os.utime(copy / "app.py", (0, 0))
    ground.source = copy
    assert ground.published() == first
    again = ground.publish("--anew")
    assert f"shop version {first['number']}" in again.stdout
    assert "unchanged" in again.stdout


def test_what_was_looked_up_is_not_looked_up_again_until_it_is_asked_for(ground: Ground) -> None:
    wheel(ground.wheels, "parcel")
    ground.require("parcel")
    assert "installing what" in ground.publish().stderr
    first = ground.published()
    wheel(ground.wheels, "parcel", "2.0")
    assert "installing what" not in ground.publish().stderr
    assert ground.published() == first
    renewed = ground.published("--anew")
    assert renewed["number"] == first["number"] + 1
    assert b"2.0" in ground.content(renewed)[PARCEL]


def test_another_requirement_is_looked_up_also_where_it_stands_in_a_file_that_is_referred_to(ground: Ground) -> None:
    wheel(ground.wheels, "parcel", "1.0")
    wheel(ground.wheels, "parcel", "2.0")
    ground.require("-r base.txt")
    ground.write("base.txt", "parcel==1.0\n")
    assert b"1.0" in ground.content(ground.published())[PARCEL]
    ground.write("base.txt", "parcel==2.0\n")
    assert b"2.0" in ground.content(ground.published())[PARCEL]


def test_wheels_are_those_of_the_nodes(ground: Ground) -> None:
    there = "manylinux_2_28_aarch64"
    for tag in (f"cp39-cp39-{there}", "cp39-cp39-manylinux_2_28_x86_64"):
        wheel(ground.wheels, "parcel", tag=tag)
    ground.require("parcel")
    content = ground.content(ground.published("--platform", there, "--python", "3.9"))
    assert there.encode() in content[PARCEL]
    said = ground.refused("--platform", there)
    assert f"there is no wheel of parcel for {there}, Python {HERE}" in said
    assert "pip wheel --wheel-dir wheels 'parcel'" in said


def test_wheels_are_for_the_nodes_where_nobody_says_for_what(tmp_path: Path) -> None:
    there = "manylinux_2_28_aarch64"
    with controlled(tmp_path / "platform", runtime=Runtime(there, "3.9")) as control:
        ground = Ground(tmp_path, control)
        for tag in ("cp39-cp39-manylinux2014_aarch64", "cp39-cp39-manylinux2014_x86_64"):
            wheel(ground.wheels, "parcel", tag=tag)
        ground.require("parcel")
        assert f"for {there}, Python 3.9" in ground.publish().stderr
        assert b"manylinux2014_aarch64" in ground.content(ground.published())[PARCEL]
        [node, _] = control.document("list", "nodes")
        assert (node["platform"], node["python"]) == (there, "3.9")


def test_a_requirement_that_is_nowhere_is_told_with_what_to_do(ground: Ground) -> None:
    ground.wheels.mkdir()
    ground.require("parcell>=1")
    said = ground.refused()
    assert "requirements.txt: there is no wheel of parcell>=1 for" in said
    assert "spelt right" in said


def test_a_version_that_is_not_there_is_told_with_those_that_are(ground: Ground) -> None:
    wheel(ground.wheels, "parcel", "1.0")
    ground.require("parcel>=2")
    said = ground.refused()
    assert "no version of it fits parcel>=2" in said
    assert "there are wheels of: 1.0" in said


def test_requirements_that_exclude_each_other_are_told_as_pip_tells_them(ground: Ground) -> None:
    wheel(ground.wheels, "parcel", "1.0")
    ground.require("parcel==1.0", "parcel<1.0")
    assert "parcel" in ground.refused()


@pytest.mark.parametrize("line", ["-e .", "./parcel", "/srv/parcel", "file:///srv/parcel.whl"])
def test_what_is_only_on_this_machine_is_refused(ground: Ground, line: str) -> None:
    ground.require(line)
    assert f'"{line}" is a folder or a file of this machine' in ground.refused()


@pytest.mark.parametrize(("option", "value"), [("--python", "3"), ("--python", "x"), ("--platform", "linux aarch64")])
def test_a_runtime_that_is_none_is_refused(ground: Ground, option: str, value: str) -> None:
    ground.require("parcel")
    assert f'{option}: "{value}" is no' in ground.refused(option, value)


def test_a_folder_that_installs_nothing_is_published_as_it_is(ground: Ground) -> None:
    ground.wheels.mkdir()
    ground.require()
    assert set(ground.content(ground.published())) == {"app.py", "hotswap.toml", "requirements.txt"}


def test_a_module_of_the_folder_and_a_package_of_its_name_are_both_there(ground: Ground) -> None:
    wheel(ground.wheels, "parcel")
    ground.require("parcel")
    ground.write("parcel/__init__.py", "VERSION = 'mine'")
    content = ground.content(ground.published())
    assert content["parcel/__init__.py"] == b"VERSION = 'mine'"
    assert b"1.0" in content[PARCEL]


def test_what_is_ignored_is_not_published(ground: Ground) -> None:
    ground.write(".hotswapignore", "# notes\n\n*.md\ntests/\n/data/raw\n")
    for name in ("README.md", "deep/notes.md", "tests/test_app.py", "data/raw/a", "data/a", "deep/data/raw/a"):
        ground.write(name, "x")
    assert set(ground.content(ground.published())) == {"app.py", "hotswap.toml", "data/a", "deep/data/raw/a"}


def test_an_exception_from_what_is_ignored_is_refused(ground: Ground) -> None:
    ground.write(".hotswapignore", "*.md\n!README.md\n")
    assert '"!README.md" takes something back' in ground.refused()


def test_packages_count_for_the_limits_of_an_archive(ground: Ground) -> None:
    wheel(ground.wheels, "parcel", source="x" * (LIMITS.ratio_from + 1))
    ground.require("parcel")
    assert "unpack to more than" in ground.refused()
    assert ground.control.run("versions", "shop").exit_code != 0
