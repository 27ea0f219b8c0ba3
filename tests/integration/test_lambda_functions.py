"""Functions and versions by boto3, on a platform that runs for all of these tests."""

from typing import Any

import pytest

from tests.lambda_client import ECHO, ROLE, Lambda, client_at, zipped


def create(client: Any, name: str, code: str = ECHO, **more: Any) -> Any:
    told: dict[str, Any] = {
        "Runtime": "python3.11",
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped(code)},
        **more,
    }
    return client.create_function(FunctionName=name, **told)


def test_a_function_is_made_and_described_as_it_was_told(client: Any, fn: str) -> None:
    settings: dict[str, Any] = {
        "Timeout": 7,
        "MemorySize": 256,
        "Description": "echoes",
        "Environment": {"Variables": {"LABEL": "ä"}},
    }
    made = create(client, fn, **settings)
    assert made["Version"] == "$LATEST"
    assert made["FunctionArn"] == f"arn:aws:lambda:eu-west-1:000000000000:function:{fn}"
    told = client.get_function(FunctionName=fn)["Configuration"]
    assert {name: told[name] for name in settings} == settings
    assert (told["Handler"], told["State"], told["LastUpdateStatus"]) == ("app.handler", "Active", "Successful")
    assert client.get_function_configuration(FunctionName=made["FunctionArn"])["CodeSha256"] == told["CodeSha256"]
    client.get_waiter("function_active_v2").wait(FunctionName=fn)
    client.get_waiter("function_updated_v2").wait(FunctionName=fn)


def test_a_function_is_made_once(client: Any, fn: str) -> None:
    create(client, fn)
    with pytest.raises(client.exceptions.ResourceConflictException, match="already exist"):
        create(client, fn)


def test_what_lambda_has_and_we_have_not_is_refused(client: Any, fn: str) -> None:
    wrong: list[dict[str, Any]] = [
        {"Runtime": "nodejs22.x"},
        {"Handler": "app"},
        {"Timeout": 901},
        {"MemorySize": 20_000},
        {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
        {"Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:a:1"]},
        {"Code": {"S3Bucket": "bucket", "S3Key": "key"}},
        {"Code": {"ZipFile": b"not a zip"}},
        {"Code": {"ZipFile": zipped({"../app.py": ECHO})}},
        {"Environment": {"Variables": {"AWS_LAMBDA_FUNCTION_NAME": "x"}}},
    ]
    for one in wrong:
        with pytest.raises(client.exceptions.InvalidParameterValueException):
            create(client, fn, **one)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=fn)


def test_code_that_does_not_start_makes_no_function(client: Any, fn: str) -> None:
    with pytest.raises(client.exceptions.ResourceConflictException, match="no_such_module"):
        create(client, fn, "import no_such_module")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=fn)
    assert create(client, fn)["State"] == "Active"


def test_an_update_is_what_latest_means_and_publishing_numbers_it(client: Any, fn: str) -> None:
    create(client, fn)
    first = client.publish_version(FunctionName=fn)
    assert (first["Version"], first["FunctionArn"][-2:]) == ("1", ":1")
    updated = client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO + "# 2"))
    assert updated["Version"] == "$LATEST"
    assert client.invoke(FunctionName=fn)["ExecutedVersion"] == "2"
    second = client.publish_version(FunctionName=fn, CodeSha256=updated["CodeSha256"])
    assert second["Version"] == "2"
    assert client.publish_version(FunctionName=fn)["Version"] == "2", "nothing has changed since"
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="CodeSHA256"):
        client.publish_version(FunctionName=fn, CodeSha256=first["CodeSha256"])
    versions = client.list_versions_by_function(FunctionName=fn)["Versions"]
    assert [one["Version"] for one in versions] == ["$LATEST", "1", "2"]
    assert versions[0]["CodeSha256"] == versions[2]["CodeSha256"]


def test_settings_are_changed_without_the_code(client: Any, fn: str) -> None:
    create(client, fn, Environment={"Variables": {"LABEL": "one"}})
    client.update_function_configuration(FunctionName=fn, Environment={"Variables": {"LABEL": "two"}}, Timeout=9)
    told = client.get_function(FunctionName=fn)["Configuration"]
    assert (told["Timeout"], told["MemorySize"], told["Handler"]) == (9, 128, "app.handler")
    assert b'"label": "two"' in client.invoke(FunctionName=fn)["Payload"].read()


def test_an_update_of_what_has_changed_since_is_refused(client: Any, fn: str) -> None:
    made = create(client, fn)
    client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO + "# 2"), RevisionId=made["RevisionId"])
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO), RevisionId=made["RevisionId"])
    dry = client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO), DryRun=True)
    assert dry["CodeSha256"] == client.get_function(FunctionName=fn)["Configuration"]["CodeSha256"]


def test_lists_come_in_pages(client: Any, fn: str) -> None:
    create(client, fn)
    for number in (2, 3):
        client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO + f"# {number}"), Publish=True)
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=fn, PaginationConfig={"PageSize": 3}
    )
    assert [[one["Version"] for one in page["Versions"]] for page in pages] == [["$LATEST", "1", "2"], ["3"]]
    named = [
        one["FunctionName"]
        for page in client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
        for one in page["Functions"]
    ]
    assert fn in named
    assert len(named) == len(set(named))


def test_a_function_that_is_deleted_gives_no_number_twice(client: Any, fn: str) -> None:
    create(client, fn)
    client.create_alias(FunctionName=fn, Name="live", FunctionVersion="1")
    client.delete_function(FunctionName=fn)
    for call in (client.get_function, client.delete_function, client.publish_version, client.list_aliases):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(FunctionName=fn)
    assert create(client, fn, ECHO + "# again", Publish=True)["Version"] == "2"


def test_a_version_that_is_needed_is_not_deleted(client: Any, fn: str) -> None:
    create(client, fn)
    client.update_function_code(FunctionName=fn, ZipFile=zipped(ECHO + "# 2"))
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_function(FunctionName=fn, Qualifier="2")
    client.delete_function(FunctionName=fn, Qualifier="1")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=fn, Qualifier="1")


def test_a_signature_by_another_secret_is_refused(lambdas: Lambda, client: Any) -> None:
    key_id = client._request_signer._credentials.access_key
    for forged, code in (
        (client_at(lambdas.url, key_id=key_id, secret="x" * 40), "InvalidSignatureException"),
        (client_at(lambdas.url, key_id="A" * 20, secret="x" * 40), "UnrecognizedClientException"),
    ):
        with pytest.raises(forged.exceptions.ClientError) as refused:
            forged.list_functions()
        assert refused.value.response["Error"]["Code"] == code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_what_is_not_covered_says_so(client: Any) -> None:
    with pytest.raises(client.exceptions.ClientError) as refused:
        client.get_account_settings()
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
