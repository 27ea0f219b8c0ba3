"""Which packages fit which nodes."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from hotswap.errors import Invalid
from hotswap.runtimes import HERE, Runtime, common, fits_here


@dataclass(frozen=True)
class Node:
    name: str
    platform: str = ""
    python: str = ""
    labels: dict[str, str] = field(default_factory=dict)


ARM = Node("arm", "manylinux_2_28_aarch64", "3.12", {"arch": "arm"})
OLD = Node("old", "manylinux_2_28_x86_64", "3.12", {"arch": "intel"})
NEW = Node("new", "manylinux_2_36_x86_64", "3.12", {"arch": "intel"})
MUSL = Node("musl", "linux_x86_64", "3.12")
LATER = Node("later", "manylinux_2_28_x86_64", "3.13")


@pytest.mark.parametrize(
    ("nodes", "labels", "found"),
    [
        pytest.param([], {}, Runtime(), id="nobody tells: this machine"),
        pytest.param([Node("of a former time")], {}, Runtime(), id="nor does one that does not know"),
        pytest.param([Node("n", HERE.platform, HERE.python)], {}, Runtime(), id="as this machine"),
        pytest.param([ARM], {}, Runtime(ARM.platform, "3.12"), id="as the node"),
        pytest.param([NEW, OLD], {}, Runtime(OLD.platform, "3.12"), id="the older C library"),
        pytest.param([NEW, OLD, ARM], {"arch": "arm"}, Runtime(ARM.platform, "3.12"), id="where it may run"),
        pytest.param([MUSL], {}, Runtime("linux_x86_64", "3.12"), id="another C library"),
    ],
)
def test_packages_are_for_all_nodes_that_the_function_may_run_on(
    nodes: list[Node], labels: dict[str, str], found: Runtime
) -> None:
    assert common(nodes, labels) == found


@pytest.mark.parametrize("nodes", [[ARM, OLD], [OLD, LATER], [MUSL, OLD]])
def test_where_none_fit_all_the_nodes_are_named_with_what_to_do(nodes: list[Node]) -> None:
    with pytest.raises(Invalid) as refused:
        common(nodes, {})
    for node in nodes:
        assert f"{node.name}: {node.platform}, Python {node.python}" in str(refused.value)
    assert "--platform" in refused.value.hint


MINOR = int(HERE.python.partition(".")[2])
GLIBC = int(HERE.platform.split("_")[2])
MACHINE = HERE.platform.split("_", 3)[3]


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py2-none-any", False),
        (f"cp3{MINOR}-cp3{MINOR}-{HERE.platform}", True),
        (f"cp3{MINOR}-cp3{MINOR}-manylinux_2_5_{MACHINE}.manylinux1_{MACHINE}", True),
        (f"cp3{MINOR}-cp3{MINOR}-manylinux_2_{GLIBC + 1}_{MACHINE}", False),
        (f"cp3{MINOR}-cp3{MINOR}-manylinux_2_17_other", False),
        (f"cp3{MINOR}-cp3{MINOR}-musllinux_1_2_{MACHINE}", False),
        (f"cp3{MINOR + 1}-cp3{MINOR + 1}-manylinux_2_5_{MACHINE}", False),
        (f"cp3{MINOR - 1}-cp3{MINOR - 1}-manylinux_2_5_{MACHINE}", False),
        (f"cp3{MINOR - 1}-abi3-manylinux_2_5_{MACHINE}", True),
        (f"cp3{MINOR + 1}-abi3-manylinux_2_5_{MACHINE}", False),
        (f"py3{MINOR + 1}-none-any", False),
        ("pp310-pypy310_pp73-any", False),
        ("nothing that is known", True),
    ],
)
def test_a_wheel_tells_whether_it_runs_here(tag: str, *, fits: bool) -> None:
    assert fits_here(tag) is fits


def test_wheels_for_an_older_c_library_fit_too() -> None:
    options = Runtime("manylinux_2_17_x86_64", "3.12").options
    platforms = [value for option, value in pairwise(options) if option == "--platform"]
    assert platforms[:3] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64"]
    assert platforms[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    assert Runtime("musllinux_1_2_x86_64").options[:2] == ["--platform", "musllinux_1_2_x86_64"]
