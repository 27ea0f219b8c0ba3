"""Who calls, and what they may do: bearer tokens, roles, and the one table of what each operation needs.

A token is `hs_<id>_<secret>`. The id is public: it names the token in lists, in logs and when it is revoked. The secret
is shown once; the store has a hash. A plain sha256 is enough for it, unlike for passwords: what was drawn at random
from 2^190 cannot be guessed, however fast a guess is tried.

Pure: where tokens are kept is `hotswap.store`'s, who checks them `controller.bearers`'.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Protocol

from hotswap.errors import Forbidden, Invalid, Unauthenticated
from hotswap.model import Record

PREFIX = "hs"
ID_LENGTH = 8
"""Hexadecimal digits."""
SECRET_LENGTH = 32
"""Letters and digits: 190 bits."""
ALPHABET = string.digits + string.ascii_letters
ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
SECRET = re.compile(rf"[0-9A-Za-z]{{{SECRET_LENGTH}}}")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9@._-]{0,62})")
CLAIMED_LENGTH = 64
"""Characters of what a caller says of itself that are kept."""
HOW_TO_GET_ONE = "`hotswap token create NAME --role {role}`, which an admin can run, makes one"
HOW_TO_GIVE_ONE = "give one by HOTSWAP_TOKEN or --token; " + HOW_TO_GET_ONE.format(role="viewer")
EVERY_FUNCTION = "*"
"""In place of a function, for an operation that concerns all of them; no function can have this name."""


class Role(StrEnum):
    """Each may do all that those before it may."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    ADMIN = "admin"

    def covers(self, other: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


class Operation(Enum):
    """What can be asked of a controller, by the name of its gRPC method, with the role that it needs."""

    LIST_FUNCTIONS = "ListFunctions", Role.VIEWER
    LIST_VERSIONS = "ListVersions", Role.VIEWER
    GET_VERSION = "GetVersion", Role.VIEWER
    FETCH_ARTIFACT = "FetchArtifact", Role.VIEWER
    GET_ALIAS = "GetAlias", Role.VIEWER
    LIST_ALIASES = "ListAliases", Role.VIEWER
    GET_DEPLOYMENT = "GetDeployment", Role.VIEWER
    LIST_DEPLOYMENTS = "ListDeployments", Role.VIEWER
    WATCH_DEPLOYMENT = "WatchDeployment", Role.VIEWER
    COMPARE = "Compare", Role.VIEWER
    GET_FIGURES = "GetFigures", Role.VIEWER
    READ_LOGS = "ReadLogs", Role.VIEWER
    GET_PLATFORM = "GetPlatform", Role.VIEWER
    PUBLISH = "Publish", Role.DEPLOYER
    FIND_UPLOAD = "FindUpload", Role.DEPLOYER
    UNPUBLISH = "Unpublish", Role.DEPLOYER
    SET_ALIAS = "SetAlias", Role.DEPLOYER
    REMOVE_ALIAS = "RemoveAlias", Role.DEPLOYER
    DEPLOY = "Deploy", Role.DEPLOYER
    ROLLBACK = "Rollback", Role.DEPLOYER
    ABORT = "Abort", Role.DEPLOYER
    PROMOTE = "Promote", Role.DEPLOYER
    PAUSE = "Pause", Role.DEPLOYER
    RESUME = "Resume", Role.DEPLOYER
    RETRY = "Retry", Role.DEPLOYER
    UNDO = "Undo", Role.DEPLOYER
    LIST_QUARANTINE = "ListQuarantine", Role.VIEWER
    RELEASE = "Release", Role.DEPLOYER
    REPORT_OUTCOMES = "ReportOutcomes", Role.DEPLOYER
    ADD_HOOK = "AddHook", Role.ADMIN
    LIST_HOOKS = "ListHooks", Role.ADMIN
    LIST_UNDELIVERED = "ListUndelivered", Role.ADMIN
    REMOVE_HOOK = "RemoveHook", Role.ADMIN
    TEST_HOOK = "TestHook", Role.ADMIN
    CREATE_TOKEN = "CreateToken", Role.ADMIN
    LIST_TOKENS = "ListTokens", Role.ADMIN
    REVOKE_TOKEN = "RevokeToken", Role.ADMIN

    def __init__(self, method: str, role: Role) -> None:
        self.method = method
        self.role = role


class Token(Record, frozen=True, kw_only=True):
    """What is kept of a token; revoking it deletes this."""

    id: str
    name: str
    """What the record says of who did something. Several may have the same, so that one can follow another."""
    role: Role
    functions: list[str] = []
    """Those it may touch; empty for all."""
    hash: str
    created: datetime
    who: str = ""
    """Who created it."""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token as its owner has it."""

    id: str
    text: str = field(repr=False)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def proves(self, token: Token) -> bool:
        """In a time that tells nothing of where they differ."""
        return hmac.compare_digest(self.hash, token.hash)


def new() -> Bearer:
    token_id = secrets.token_hex(ID_LENGTH // 2)
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return Bearer(token_id, f"{PREFIX}_{token_id}_{secret}")


def parse(text: str) -> Bearer:
    """Raises `Invalid`, which says what is wrong and never repeats the secret."""
    form = f"a token has the form {PREFIX}_<id>_<secret>"
    prefix, _, rest = text.partition("_")
    token_id, underscore, secret = rest.partition("_")
    if prefix != PREFIX or not underscore:
        raise Invalid(f"this is not a token: {form}")
    if not ID.fullmatch(token_id):
        raise Invalid(f"this is not a token: {form}, and its id has {ID_LENGTH} hexadecimal digits")
    if len(secret) != SECRET_LENGTH:
        what = f"the secret of token {token_id} has {len(secret)} characters, not {SECRET_LENGTH}"
        raise Invalid(what, hint="copy the whole token")
    if not SECRET.fullmatch(secret):
        raise Invalid(f"the secret of token {token_id} has characters other than letters and digits")
    return Bearer(token_id, text)


def parse_header(header: str | None) -> Bearer:
    """What `authorization` says; raises `Unauthenticated`."""
    if not header:
        raise Unauthenticated("a token is needed", hint=HOW_TO_GIVE_ONE)
    scheme, _, text = header.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("only bearer tokens are taken", hint=f"authorization: Bearer {PREFIX}_…")
    try:
        return parse(text.strip())
    except Invalid as error:
        raise Unauthenticated(error.message, hint=error.hint or HOW_TO_GIVE_ONE) from None


def header_of(text: str) -> str:
    return f"Bearer {text}"


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise Invalid(
            f'"{name}" is not a name for a token',
            hint="use 1 to 63 letters, digits and any of @ . _ -, beginning with a letter or a digit",
        )
    return name


def parse_role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise Invalid(f'there is no role "{text}"', hint="a role is one of: " + ", ".join(Role)) from None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and with what rights."""

    name: str
    """The token's; empty where nobody is authenticated."""
    role: Role
    functions: frozenset[str] = frozenset()
    """Empty for all."""
    claimed: str = ""
    """Who the caller says to be: for the record, beside what is known."""
    token: str = ""
    """Its id."""
    authorization: str = field(default="", repr=False)
    """As it came, for a call that is passed on."""

    @classmethod
    def by(cls, token: Token, *, claimed: str, authorization: str) -> "Caller":
        functions = frozenset(token.functions)
        return cls(token.name, token.role, functions, _tamed(claimed), token.id, authorization)

    @classmethod
    def anybody(cls, claimed: str) -> "Caller":
        """Where no token is asked for: everything is allowed, and the record believes what it is told."""
        return cls("", Role.ADMIN, claimed=_tamed(claimed))

    @property
    def who(self) -> str:
        """For the record: the token's name, with who the caller says to be in brackets."""
        if not self.name:
            return self.claimed
        return f"{self.name} ({self.claimed})" if self.claimed else self.name

    def touches(self, function: str) -> bool:
        return not self.functions or function in self.functions

    def require(self, operation: Operation, function: str | None = None) -> None:
        """Raises `Forbidden`; `None` for an operation that concerns no function, or leaves out what is not allowed."""
        self.require_role(operation.role, function, what=operation.method)

    def require_role(self, role: Role, function: str | None, *, what: str) -> None:
        """For what is no operation of the controller's own."""
        if not self.role.covers(role):
            raise Forbidden(
                f'token "{self.name}" has the role {self.role}; {what} needs {role}',
                hint=HOW_TO_GET_ONE.format(role=role),
            )
        if function is None or self.touches(function):
            return
        concerned = "all functions" if function == EVERY_FUNCTION else f'"{function}"'
        allowed = ", ".join(f'"{name}"' for name in sorted(self.functions))
        more = "" if function == EVERY_FUNCTION else f" --function {function}"
        raise Forbidden(
            f'token "{self.name}" is limited to {allowed}; {what} concerns {concerned}',
            hint=HOW_TO_GET_ONE.format(role=role + more),
        )


class Authenticator(Protocol):
    async def authenticate(self, header: str | None, *, claimed: str = "") -> Caller:
        """By the `authorization` of a call; raises `Unauthenticated`."""


class Anybody:
    """The authenticator of a controller without tokens."""

    async def authenticate(self, header: str | None, *, claimed: str = "") -> Caller:
        return Caller.anybody(claimed)


def _tamed(claimed: str) -> str:
    """It may come from anybody, and goes into records and logs."""
    return "".join(character for character in claimed if character.isprintable())[:CLAIMED_LENGTH]
