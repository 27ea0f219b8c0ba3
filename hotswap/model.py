"""The words of the platform, typed: functions and their versions, aliases, nodes, assignments, endpoints, routers.

Everything that is stored or sent is one of these immutable structures, camelCase in JSON, durations as ISO 8601.
A field that is not known is refused, so that a misspelt one is never silently ignored. `decode` says which field is
wrong and what it may be.
"""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, TypeVar

import msgspec

from hotswap.errors import Invalid
from hotswap.explain import refusal

DEFAULT_ALIAS = "production"
FULL_WEIGHT = 100
"""The weights of an alias add up to this."""
WEIGHT_HISTORY = 20
"""How many past weights an alias remembers."""

FUNCTION_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
ALIAS_NAME = re.compile(r"(?=.*[^0-9])[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

FunctionName = str
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=999_999_999)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=FULL_WEIGHT)]
Weights = dict[VersionNumber, Weight]

T = TypeVar("T")


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all that crosses a wire."""


class Record(Model, frozen=True, kw_only=True):
    """Base of all that is stored.

    `write_id` is new at every write, so that a writer whose answer was lost can read back and see whether the
    value that stands there is its own.
    """

    write_id: str = ""


class Kind(StrEnum):
    """How a version is run."""

    HANDLER = "handler"
    ASGI = "asgi"
    WSGI = "wsgi"
    HTTP = "http"


class Placement(Model, frozen=True, kw_only=True):
    """Where the instances of a function may run: on every node that carries all of these labels."""

    labels: dict[str, str] = {}


class Function(Record, frozen=True, kw_only=True):
    name: FunctionName
    description: str = ""
    placement: Placement = Placement()
    created: datetime
    last_version: int = 0
    """The highest version number ever given; a number is never given twice."""


class Schemas(Model, frozen=True, kw_only=True):
    """JSON Schemas of a version's events and answers."""

    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Manifest(Model, frozen=True, kw_only=True):
    """What `hotswap.toml` says about a version, beside its code."""

    function: FunctionName
    kind: Kind
    entrypoint: str | list[str]
    """`module:attribute`; for the kind `http` a command with its arguments."""
    description: str = ""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 16
    """Invocations that one instance may have in flight."""
    timeout: timedelta = timedelta(seconds=30)
    start_timeout: timedelta = timedelta(seconds=30)
    """From the start of the process until it must be ready."""
    drain_timeout: timedelta = timedelta(seconds=30)
    """How long an instance that is taken away may go on with what it has in flight."""
    memory: Annotated[int, msgspec.Meta(ge=16, le=1_048_576)] = 512
    """MiB an instance may use."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 256
    """Processes and threads an instance may have, beside one for each invocation that it may have in flight."""
    files: Annotated[int, msgspec.Meta(ge=64, le=1_000_000)] = 4096
    """Files and sockets a process may have open, beside one for each invocation that it may have in flight."""
    cpu: Annotated[float, msgspec.Meta(ge=0.01, le=1_024)] | None = None
    """Cores an instance may use; without it as many as are free, of which instances have even shares."""
    disk: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 512
    """MiB of files that an instance may have in its own folders."""
    max_body: Annotated[int, msgspec.Meta(ge=0)] = 6 * 1024 * 1024
    """Bytes a request body may have."""
    min_instances: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 1
    """Instances that every node of the placement keeps running."""
    max_instances: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    """Instances that a node runs at most; those above the least start when they are needed. See `most_instances`."""
    idle_timeout: timedelta = timedelta(minutes=5)
    """How long an instance above the least has nothing to do before it is stopped."""
    env: dict[str, str] = {}
    sample_payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """A JSON event that every version must be able to answer; sent to warm a new instance."""
    schemas: Schemas = Schemas()
    placement: Placement = Placement()

    @property
    def most_instances(self) -> int:
        """Where nobody said: as many as at least, and one of a version that need not run at all."""
        return max(1, self.min_instances) if self.max_instances is None else self.max_instances

    @property
    def elastic(self) -> bool:
        """How many run depends on what there is to do."""
        return self.min_instances < self.most_instances


class Version(Record, frozen=True, kw_only=True):
    """One published version: immutable."""

    function: FunctionName
    number: VersionNumber
    artifact: str
    """sha256 of the archive, in hex."""
    size: int
    """Bytes of the archive."""
    manifest: Manifest
    published: datetime
    who: str = ""


class Sticky(Model, frozen=True, kw_only=True):
    """What ties a user to a version: a header, a cookie or the client's address."""

    by: str
    """`header:NAME`, `cookie:NAME` or `client`."""
    salt: str = ""


class WeightChange(Model, frozen=True, kw_only=True):
    """One entry in the history of an alias."""

    weights: Weights
    at: datetime
    who: str
    why: str


class Alias(Record, frozen=True, kw_only=True):
    """A name that carries weights."""

    function: FunctionName
    name: str
    weights: Weights
    sticky: Sticky | None = None
    latency_limit: timedelta | None = None
    """Invocations slower than this are counted exactly, for as long as a deployment asks for it."""
    last_good: VersionNumber | None = None
    """The version to go back to."""
    owner: str = ""
    """Id of the deployment that set these weights; empty when a person did."""
    step: str = ""
    """`deployment/step/attempt` that set these weights, so that the same effect shows once."""
    without: dict[VersionNumber, list[str]] = {}
    """Versions that do not run on these nodes, where they failed and nowhere else; until they have no weight here any
    more, or a person sets the weights."""
    history: list[WeightChange] = []


class Node(Record, frozen=True, kw_only=True):
    """A machine with an agent."""

    name: str
    address: str
    """gRPC address of the agent, `host:port`."""
    capacity: int = 0
    """MiB of memory that instances may use; 0 when nobody said."""
    labels: dict[str, str] = {}
    boot: str
    """New at every start of the agent."""
    guards: dict[str, str] = {}
    """What keeps instances within limits (memory, processes, cpu, disk, files), and apart (isolation)."""
    platform: str = ""
    """Of the interpreter that its instances run with, as in the names of wheels: `manylinux_2_36_x86_64`."""
    python: str = ""
    """Its version: `3.12`."""


class Assignment(Record, frozen=True, kw_only=True):
    """The versions of one function that a node should run, and how many instances of each."""

    node: str
    function: FunctionName
    versions: dict[VersionNumber, Annotated[int, msgspec.Meta(ge=0, le=1_000)]]


class Removal(Record, frozen=True, kw_only=True):
    """Which versions of a function were last taken from nodes. Written before that is done: a write that relies on a
    version to run, and comes late, then finds that this has changed."""

    function: FunctionName
    versions: list[VersionNumber]


class Sweep(Record, frozen=True, kw_only=True):
    """Which artifacts are being thrown away. Written before that is done, and the creation of a version requires that
    it has not changed; so no version is created of files that go."""

    SUBJECT: ClassVar[str] = "artifacts"

    condemned: list[str] = []


class Claim(Record, frozen=True, kw_only=True):
    """An agent's hold of what its node announces: written anew with each of its writes, which require it to stand as
    the one before has left it."""

    node: str


class Endpoint(Record, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Where a ready instance listens, or where the first connection starts one."""

    function: FunctionName
    version: VersionNumber
    instance: str
    node: str
    address: str
    """`host:port`."""
    concurrency: int
    withdrawn: bool = False
    """Its agent takes it away: the last that is told of it before it is deleted. One that is deleted without this has
    only lost its agent, and may serve on."""
    standby: bool = False
    """Its agent listens there, and starts the instance when somebody connects."""


class Router(Record, frozen=True, kw_only=True):
    name: str
    address: str
    """Where invocations are taken, `host:port`."""
    admin: str
    """Admin address, `host:port`: /metrics, /counters, /applied, /healthz, /readyz."""
    boot: str


def check_function_name(name: str) -> str:
    if not FUNCTION_NAME.fullmatch(name):
        raise Invalid(
            f'"{name}" is not a name for a function',
            hint="use 1 to 63 lower-case letters, digits and hyphens, with a letter or a digit at each end",
        )
    return name


def check_alias_name(name: str) -> str:
    if name.isdigit():
        raise Invalid(
            f'an alias cannot be named "{name}": names of digits alone mean versions',
            hint=f"put a letter into it, for example v{name}",
        )
    if not ALIAS_NAME.fullmatch(name):
        raise Invalid(
            f'"{name}" is not a name for an alias',
            hint="use 1 to 63 letters, digits, hyphens and underscores, at least one of them not a digit",
        )
    return name


def check_weights(weights: Weights, *, where: str) -> Weights:
    """`where` names the alias, as in `alias "production" of "image-processor"`."""
    if not weights:
        raise Invalid(f"{where} has no weights", hint="name at least one version, for example 5=100")
    for version, weight in weights.items():
        if not 0 <= weight <= FULL_WEIGHT:
            raise Invalid(f"{where} gives version {version} the weight {weight}; it must be 0 to {FULL_WEIGHT}")
    total = sum(weights.values())
    if total != FULL_WEIGHT:
        raise Invalid(f"{where} has weights that add up to {total}; they must add up to {FULL_WEIGHT}")
    return weights


def qualifier(text: str) -> tuple[FunctionName, str]:
    """`fn`, `fn:alias` or `fn:6` as (function, alias or version number in digits)."""
    function, colon, rest = text.partition(":")
    check_function_name(function)
    if not colon:
        return function, DEFAULT_ALIAS
    if rest.isdigit():
        return function, str(int(rest))
    return function, check_alias_name(rest)


def encode(model: Model) -> bytes:
    return msgspec.json.encode(model)


def decode(data: bytes | str, kind: type[T], *, where: str) -> T:
    """Raises `Invalid` with the field that is wrong; `where` says in what (a file, a key, a request)."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise refusal(error, kind, data, where=where) from None
