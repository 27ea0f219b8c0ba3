"""Aliases by boto3: what AWS calls routing are weights here, kept by the routers as any others."""

from typing import Any

import pytest

from tests.integration.test_lambda_functions import create
from tests.lambda_client import ECHO, zipped


@pytest.fixture
def two(client: Any, fn: str) -> str:
    """A function with two versions."""
    create(client, fn)
    client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO + "# 2"))
    return fn


def test_an_alias_splits_its_traffic_as_it_is_told(client: Any, two: str) -> None:
    made = client.create_alias(
        FunctionName=two,
        Name="live",
        FunctionVersion="1",
        Description="for everybody",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
    )
    assert made["AliasArn"].endswith(f":function:{two}:live")
    told = client.get_alias(FunctionName=two, Name="live")
    assert {name: told[name] for name in made if name != "ResponseMetadata"} == {
        name: made[name] for name in made if name != "ResponseMetadata"
    }
    assert (told["FunctionVersion"], told["Description"]) == ("1", "for everybody")
    assert told["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    answered = [client.invoke(FunctionName=f"{two}:live")["ExecutedVersion"] for _ in range(60)]
    assert 2 <= answered.count("2") <= 10, "within one of 6 for each of two workers, and one at each end"


def test_an_alias_moves_and_keeps_what_is_not_said(client: Any, two: str) -> None:
    made = client.create_alias(FunctionName=two, Name="live", FunctionVersion="1")
    assert "RoutingConfig" not in made
    routed = client.update_alias(FunctionName=two, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
    assert (routed["FunctionVersion"], routed["RoutingConfig"]["AdditionalVersionWeights"]) == ("1", {"2": 0.25})
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_alias(FunctionName=two, Name="live", FunctionVersion="2", RevisionId=made["RevisionId"])
    moved = client.update_alias(
        FunctionName=two,
        Name="live",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {}},
        RevisionId=routed["RevisionId"],
    )
    assert (moved["FunctionVersion"], "RoutingConfig" in moved) == ("2", False)
    assert client.invoke(FunctionName=two, Qualifier="live")["ExecutedVersion"] == "2"
    assert client.get_function(FunctionName=two, Qualifier="live")["Configuration"]["Version"] == "2"


def test_aliases_are_listed_and_deleted(client: Any, two: str) -> None:
    for name, version in (("live", "1"), ("next", "2"), ("old", "1")):
        client.create_alias(FunctionName=two, Name=name, FunctionVersion=version)
    pages = list(client.get_paginator("list_aliases").paginate(FunctionName=two, PaginationConfig={"PageSize": 2}))
    assert [[one["Name"] for one in page["Aliases"]] for page in pages] == [["live", "next"], ["old"]]
    of_first = client.list_aliases(FunctionName=two, FunctionVersion="1")["Aliases"]
    assert [one["Name"] for one in of_first] == ["live", "old"]
    client.delete_alias(FunctionName=two, Name="old")
    client.delete_alias(FunctionName=two, Name="old")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_alias(FunctionName=two, Name="old")


def test_what_no_alias_can_be_is_refused(client: Any, two: str) -> None:
    client.create_alias(FunctionName=two, Name="live", FunctionVersion="1")
    with pytest.raises(client.exceptions.ResourceConflictException, match="already exists"):
        client.create_alias(FunctionName=two, Name="live", FunctionVersion="2")
    invalid = client.exceptions.InvalidParameterValueException
    for name, version, weights in (
        ("LATEST", "1", {}),
        ("other", "$LATEST", {}),
        ("other", "1", {"2": 0.333}),
        ("other", "1", {"1": 0.5}),
    ):
        with pytest.raises(invalid):
            client.create_alias(
                FunctionName=two,
                Name=name,
                FunctionVersion=version,
                RoutingConfig={"AdditionalVersionWeights": weights},
            )
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.create_alias(FunctionName=two, Name="other", FunctionVersion="9")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.update_alias(FunctionName=two, Name="other", FunctionVersion="1")
    assert [one["Name"] for one in client.list_aliases(FunctionName=two)["Aliases"]] == ["live"]
