"""Tokens: their form, what each role may do, and what a refusal says."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap import auth
from hotswap.auth import EVERY_FUNCTION, Caller, Operation, Role, Token
from hotswap.errors import Forbidden, Invalid, Unauthenticated
from hotswap.model import encode
from hotswap.rpc import controller_pb2

SECRET = "s" * 32
GOOD = f"hs_0123abcd_{SECRET}"
READS = {
    *("ListFunctions", "ListVersions", "GetVersion", "FetchArtifact", "GetAlias", "ListAliases"),
    *("GetDeployment", "ListDeployments", "Compare", "WatchDeployment", "GetFigures", "GetPlatform", "ListQuarantine"),
    "ReadLogs",
}
ADMINS_ONLY = {
    *("CreateToken", "ListTokens", "RevokeToken"),
    *("AddHook", "ListHooks", "ListUndelivered", "RemoveHook", "TestHook"),
}
METHODS = {method.name for method in controller_pb2.DESCRIPTOR.services_by_name["Controller"].methods}


def caller(role: Role, *functions: str, claimed: str = "") -> Caller:
    token = Token(
        id="0123abcd", name="ci", role=role, functions=list(functions), hash="0" * 64, created=datetime.now(UTC)
    )
    return Caller.by(token, claimed=claimed, authorization=auth.header_of(GOOD))


def test_a_new_token_is_what_parses_and_no_two_are_alike() -> None:
    made = [auth.new() for _ in range(100)]
    assert all(re.fullmatch(r"hs_[0-9a-f]{8}_[0-9A-Za-z]{32}", bearer.text) for bearer in made)
    assert [auth.parse(bearer.text) for bearer in made] == made
    assert len({bearer.text for bearer in made}) == len({bearer.hash for bearer in made}) == 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "hs_<id>_<secret>"),
        ("password", "hs_<id>_<secret>"),
        ("hs_0123abcd", "hs_<id>_<secret>"),
        (f"xx_0123abcd_{SECRET}", "hs_<id>_<secret>"),
        (f"hs_0123_{SECRET}", "8 hexadecimal digits"),
        (f"hs_0123ABCD_{SECRET}", "8 hexadecimal digits"),
        (GOOD[:-1], "has 31 characters, not 32"),
        (GOOD + "s", "has 33 characters, not 32"),
        (f"hs_0123abcd_{'s' * 31}\u0131", "letters and digits"),
        (f"hs_0123abcd_{'s' * 31}\n", "letters and digits"),
    ],
)
def test_what_is_no_token_is_told_without_repeating_it(text: str, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        auth.parse(text)
    assert said in str(refusal.value)
    assert "sss" not in str(refusal.value)


@given(st.text(max_size=60) | st.from_regex(r"hs_[0-9a-f]{7,9}_[0-9A-Za-z]{31,33}", fullmatch=True))
def test_whatever_is_given_is_a_whole_token_or_refused(text: str) -> None:
    try:
        bearer = auth.parse(text)
    except Invalid:
        return
    assert bearer.text == text == f"hs_{bearer.id}_{text[-32:]}"


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer hs_1", GOOD])
def test_a_header_without_a_token_is_refused_with_how_to_give_one(header: str | None) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        auth.parse_header(header)
    assert refusal.value.hint


@pytest.mark.parametrize("header", [f"Bearer {GOOD}", f"bearer {GOOD}", f" Bearer  {GOOD} "])
def test_the_scheme_may_be_written_as_http_allows(header: str) -> None:
    assert auth.parse_header(header).text == GOOD


def test_a_token_is_proved_by_its_whole_text_only() -> None:
    bearer, other = auth.new(), auth.new()
    token = Token(id=bearer.id, name="ci", role=Role.VIEWER, hash=bearer.hash, created=datetime.now(UTC))
    assert bearer.proves(token)
    assert not other.proves(token)


def test_neither_a_record_nor_what_is_shown_of_a_caller_has_the_secret() -> None:
    bearer = auth.new()
    token = Token(id=bearer.id, name="ci", role=Role.ADMIN, hash=bearer.hash, created=datetime.now(UTC))
    secret = bearer.text[-auth.SECRET_LENGTH :]
    known = Caller.by(token, claimed="", authorization=auth.header_of(bearer.text))
    assert secret not in encode(token).decode() + repr(token) + repr(bearer) + repr(known)


def test_every_method_has_a_role() -> None:
    """A new method needs a line in `hotswap.auth.Operation`, and in `controller.access` a check of it."""
    assert {operation.method for operation in Operation} == METHODS


def test_viewers_read_deployers_change_and_admins_do_everything() -> None:
    for operation in Operation:
        allowed = {role for role in Role if role.covers(operation.role)}
        if operation.method in READS:
            assert allowed == set(Role)
        elif operation.method in ADMINS_ONLY:
            assert allowed == {Role.ADMIN}
        else:
            assert allowed == {Role.DEPLOYER, Role.ADMIN}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", Operation)
def test_what_a_role_may_not_is_refused_with_the_role_that_may(role: Role, operation: Operation) -> None:
    if role.covers(operation.role):
        caller(role).require(operation, "echo")
        return
    with pytest.raises(Forbidden) as refusal:
        caller(role).require(operation, "echo")
    assert f"{operation.method} needs {operation.role}" in refusal.value.message
    assert f"--role {operation.role}" in refusal.value.hint


def test_a_token_of_some_functions_touches_no_other() -> None:
    limited = caller(Role.DEPLOYER, "echo", "hello")
    limited.require(Operation.DEPLOY, "echo")
    limited.require(Operation.LIST_FUNCTIONS)
    with pytest.raises(Forbidden, match='limited to "echo", "hello"; Deploy concerns "other"') as refusal:
        limited.require(Operation.DEPLOY, "other")
    assert "--role deployer --function other" in refusal.value.hint
    with pytest.raises(Forbidden, match="concerns all functions"):
        limited.require(Operation.FETCH_ARTIFACT, EVERY_FUNCTION)


def test_the_record_names_the_token_and_only_adds_what_is_claimed() -> None:
    assert caller(Role.ADMIN).who == "ci"
    assert caller(Role.ADMIN, claimed="ada").who == "ci (ada)"
    assert caller(Role.ADMIN, claimed="ada\n\x1b[31m" + "a" * 100).claimed == "ada[31m" + "a" * 57
    assert Caller.anybody("ada").who == "ada"


@pytest.mark.parametrize("name", ["", "-ci", "a b", "ci\n", "x" * 64, "ci)"])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        auth.check_name(name)


def test_a_role_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(Invalid, match="viewer, deployer, admin"):
        auth.parse_role("root")
