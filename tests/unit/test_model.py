"""The words of the platform: what is a name, a qualifier, weights; how they look on the wire."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.errors import Invalid
from hotswap.model import (
    Alias,
    Kind,
    Manifest,
    Version,
    check_alias_name,
    check_function_name,
    check_weights,
    decode,
    encode,
    qualifier,
)

NOW = datetime(2025, 11, 23, 10, tzinfo=UTC)
WHERE = 'alias "production" of "image-processor"'


@pytest.mark.parametrize("name", ["a", "7", "image-processor", "a1", "x" * 63])
def test_names_of_functions(name: str) -> None:
    assert check_function_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "a:b", "a.b", "ä", "x" * 64, "a\n", "../a"])
def test_what_is_no_name_for_a_function(name: str) -> None:
    with pytest.raises(Invalid, match="is not a name for a function"):
        check_function_name(name)


@pytest.mark.parametrize("name", ["production", "v7", "7v", "a_b", "A-1", "x" * 63])
def test_names_of_aliases(name: str) -> None:
    assert check_alias_name(name) == name


@pytest.mark.parametrize("name", ["", "_a", "a/b", "a:b", "a b", "ä", "x" * 64, "a\n"])
def test_what_is_no_name_for_an_alias(name: str) -> None:
    with pytest.raises(Invalid, match="is not a name for an alias"):
        check_alias_name(name)


def test_an_alias_of_digits_alone_would_be_a_version() -> None:
    with pytest.raises(Invalid, match="names of digits alone mean versions") as told:
        check_alias_name("7")
    assert "v7" in told.value.hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("fn", ("fn", "production")),
        ("fn:staging", ("fn", "staging")),
        ("fn:6", ("fn", "6")),
        ("fn:006", ("fn", "6")),
    ],
)
def test_qualifiers(text: str, meant: tuple[str, str]) -> None:
    assert qualifier(text) == meant


@pytest.mark.parametrize("text", ["", ":production", "fn:", "fn:a:b", "FN:6", "fn:-"])
def test_what_is_no_qualifier(text: str) -> None:
    with pytest.raises(Invalid):
        qualifier(text)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=4))
def test_weights_are_taken_if_and_only_if_they_add_up_to_100(weights: list[int]) -> None:
    named = dict(enumerate(weights, start=1))
    if sum(weights) == 100:
        assert check_weights(named, where=WHERE) == named
    else:
        with pytest.raises(Invalid, match=f"add up to {sum(weights)}; they must add up to 100"):
            check_weights(named, where=WHERE)


def test_weights_that_cannot_be() -> None:
    with pytest.raises(Invalid, match="has no weights"):
        check_weights({}, where=WHERE)
    with pytest.raises(Invalid, match="gives version 5 the weight 110"):
        check_weights({5: 110, 6: -10}, where=WHERE)


def test_the_wire_is_camel_case_and_iso_8601() -> None:
    manifest = Manifest(function="fn", kind=Kind.HANDLER, entrypoint="app:handler", timeout=timedelta(seconds=90))
    document = json.loads(encode(manifest))
    assert document["timeout"] == "PT90S"
    assert document["minInstances"] == 1
    assert document["kind"] == "handler"
    assert "samplePayload" not in document


def test_weights_are_keyed_by_version_on_the_wire() -> None:
    alias = Alias(function="fn", name="production", weights={5: 90, 6: 10})
    assert json.loads(encode(alias))["weights"] == {"5": 90, "6": 10}
    assert decode(encode(alias), Alias, where="alias") == alias


MANIFESTS = st.builds(
    Manifest,
    function=st.just("fn"),
    kind=st.sampled_from(Kind),
    entrypoint=st.one_of(st.text(), st.lists(st.text())),
    concurrency=st.integers(1, 10_000),
    timeout=st.timedeltas(timedelta(), timedelta(days=30)),
    memory=st.integers(16, 1_048_576),
    env=st.dictionaries(st.text(), st.text()),
)


@given(MANIFESTS, st.integers(1, 999_999_999), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_version_comes_back_as_it_was(manifest: Manifest, number: int, who: str) -> None:
    version = Version(function="fn", number=number, artifact="00", size=1, manifest=manifest, published=NOW, who=who)
    assert decode(encode(version), Version, where="version") == version


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_value_or_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(Invalid, match=r"^thing"):
        decode(data, Alias, where="thing")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["weights", "history", "name", "sticky"]), inner),
)


@given(JSON)
def test_whatever_json_comes_is_refused_in_words(document: object) -> None:
    """No such document has the field `function`."""
    with pytest.raises(Invalid, match=r"^thing"):
        decode(json.dumps(document), Alias, where="thing")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sticky": {"bye": "client"}}, 'there is no field "sticky.bye"\ndid you mean "by"?'),
        ({"sticky": {}}, 'the field "sticky.by" is missing; it must be a text'),
        ({"weights": {"5": 101}}, 'a value in "weights" is wrong; it must be a whole number from 0 to 100'),
        ({"weights": {"0": 100}}, 'a key in "weights" is wrong; it must be a whole number from 1 to 999999999'),
        ({"history": [{"weights": {}, "at": 5}]}, '"history[0].at" is 5; it must be a time such as "2025-11-23T10'),
        ({"history": [{"weights": {}, "at": "2025-11-23T10:00:00Z"}]}, 'the field "history[0].who" is missing'),
        ({"lastGood": "5"}, '"lastGood" is "5"; it must be a whole number from 1 to 999999999'),
    ],
)
def test_an_error_leads_to_the_field_however_deep(wrong: dict[str, object], said: str) -> None:
    document = {"function": "fn", "name": "production", "weights": {"5": 100}} | wrong
    with pytest.raises(Invalid) as told:
        decode(json.dumps(document), Alias, where="alias")
    assert str(told.value).startswith(f"alias: {said}")
