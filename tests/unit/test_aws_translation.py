"""Between AWS's words and ours: names, weights, pages, settings. Pure."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw, json

from controller.api.aws import configuration, names, pages, shares
from controller.api.aws.faults import Fault
from hotswap import manifest as manifests
from hotswap.model import Alias, Kind, Manifest


@pytest.mark.parametrize(
    ("text", "qualifier", "named"),
    [
        ("f", None, names.Named("f")),
        ("f:live", None, names.Named("f", "live")),
        ("f:007", None, names.Named("f", "7")),
        ("f:$LATEST", None, names.Named("f", "$LATEST")),
        ("f", "live", names.Named("f", "live")),
        ("f:live", "live", names.Named("f", "live")),
        ("function:f", None, names.Named("f")),
        ("123456789012:function:f:live", None, names.Named("f", "live")),
        ("eu-west-1:123456789012:function:f", None, names.Named("f")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", None, names.Named("f")),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:6", "6", names.Named("f", "6")),
    ],
)
def test_a_name_an_arn_and_its_parts_name_the_same(text: str, qualifier: str | None, named: names.Named) -> None:
    assert names.parse(text, qualifier=qualifier) == named


@pytest.mark.parametrize(
    ("text", "qualifier"),
    [("", None), ("a b", None), ("arn:aws:s3:::f", None), ("UPPER", None), ("f:a", "b"), ("f", "$OTHER"), ("f:", None)],
)
def test_what_names_no_function_is_refused(text: str, qualifier: str | None) -> None:
    with pytest.raises(Fault) as refused:
        names.parse(text, qualifier=qualifier)
    assert refused.value.code == "InvalidParameterValueException"


@given(main=st.integers(1, 50), others=st.dictionaries(st.integers(51, 99), st.integers(1, 24), max_size=4))
def test_weights_come_back_as_they_were_told(main: int, others: dict[int, int]) -> None:
    told = {str(version): percent / 100 for version, percent in others.items()}
    weights = shares.weights_of(str(main), told)
    assert weights == {main: 100 - sum(others.values()), **others}
    assert sum(weights.values()) == 100
    assert shares.described(Alias(function="f", name="live", weights=weights, last_good=main)) == (str(main), told)


def test_an_aliass_own_version_is_the_last_good_one_else_the_one_with_the_most() -> None:
    def own(last_good: int | None, **weights: int) -> str:
        given = {int(name[1:]): weight for name, weight in weights.items()}
        return shares.described(Alias(function="f", name="live", weights=given, last_good=last_good))[0]

    assert own(1, v1=10, v2=90) == "1"
    assert own(3, v1=10, v2=90) == "2"
    assert own(None, v1=50, v2=50) == "1"


@pytest.mark.parametrize(
    ("version", "additional"),
    [
        ("$LATEST", {}),
        ("live", {}),
        ("0", {}),
        ("1", {"1": 0.5}),
        ("1", {"2": 0.001}),
        ("1", {"2": -0.1}),
        ("1", {"2": 1.5}),
        ("1", {"2": 0.6, "3": 0.6}),
    ],
)
def test_weights_that_cannot_be_are_refused(version: str, additional: dict[str, float]) -> None:
    with pytest.raises(Fault) as refused:
        shares.weights_of(version, additional)
    assert refused.value.code == "InvalidParameterValueException"


@given(
    numbers=st.sets(st.integers(0, 300), max_size=40),
    gone=st.sets(st.integers(0, 300), max_size=10),
    most=st.integers(1, 9),
)
def test_pages_have_every_item_once_though_others_go(numbers: set[int], gone: set[int], most: int) -> None:
    items, seen, marker = [str(number) for number in sorted(numbers)], list[str](), ""
    while True:
        shown, following = pages.page(items, str, {"MaxItems": str(most), "Marker": marker})
        seen += shown
        if following is None:
            break
        marker = following
        items = [item for item in items if item in seen or int(item) not in gone]
        items = [item for item in items if int(item) not in gone]
    assert len(seen) == len(set(seen))
    assert set(map(int, seen)) >= numbers - gone


def test_numbers_come_by_their_value_and_before_names() -> None:
    assert pages.page(["10", "b", "9", "1a"], str, {"MaxItems": "3"}) == (["9", "10", "1a"], "1a")
    assert pages.page(["10", "b", "9", "1a"], str, {"Marker": "1a"}) == (["b"], None)


@pytest.mark.parametrize("most", ["0", "10001", "x", "-1"])
def test_a_page_has_a_size(most: str) -> None:
    with pytest.raises(Fault):
        pages.page(["a"], str, {"MaxItems": most})


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(
    description=TEXT,
    env=st.dictionaries(st.from_regex(r"[A-Z_]{3,8}", fullmatch=True), TEXT, max_size=3),
    sample=st.none() | st.dictionaries(TEXT, st.integers() | TEXT | st.none(), max_size=3),
    labels=st.dictionaries(TEXT, TEXT, max_size=2),
)
def test_a_manifest_that_is_written_reads_the_same(
    description: str, env: dict[str, str], sample: dict[str, object] | None, labels: dict[str, str]
) -> None:
    assume(not any(name.startswith(manifests.RESERVED_ENVIRONMENT) for name in env))
    fields: dict[str, object] = {
        "function": "f",
        "kind": "handler",
        "entrypoint": "app:handler",
        "description": description,
        "env": env,
        "timeout": "PT1.5S",
        "placement": {"labels": labels},
        "schemas": {"input": {"type": ["object", "string"]}},
    }
    if sample is not None:
        fields["samplePayload"] = sample
    made = json.decode(json.encode(fields), type=Manifest)
    read = manifests.parse(manifests.write(made))
    assert json.decode(json.encode(read)) == json.decode(json.encode(made))


def test_a_function_runs_one_invocation_at_a_time_with_lambdas_own_limits() -> None:
    made = configuration.fresh("f", configuration.Settings(runtime="python3.13", handler="src/app.handler"))
    assert (made.kind, made.entrypoint, made.concurrency) == (Kind.HANDLER, "src.app:handler", 1)
    assert (made.timeout.total_seconds(), made.memory) == (3, 128)


def test_what_is_not_covered_is_not_ignored_unless_it_is_empty() -> None:
    def check(document: str) -> None:
        configuration.check_covered(json.decode(document, type=dict[str, Raw]), frozenset())

    check('{"Role": "r", "VpcConfig": {}, "Layers": null, "Publish": false}')
    with pytest.raises(Fault, match="Layers is not covered"):
        check('{"Layers": ["x"]}')
