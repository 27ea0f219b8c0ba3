"""What each service is told at its start. Read once, by `hotswap.cli`, and passed down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from hotswap.aws_keys import AccessKeys
from hotswap.errors import Invalid

Lane = Literal["express", "general"]
Isolation = Literal["process", "bwrap", "auto"]
"""How instances are kept apart; `auto`: by bwrap where it works."""

ETCD_PORT = 2379


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    endpoints: tuple[str, ...] = (f"127.0.0.1:{ETCD_PORT}",)
    """`host:port` of every member."""
    ca: Path | None = None
    """Certificate authority in PEM; without it the connection is plain."""
    cert: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """How long a router waits for others, in seconds. How long for a function to answer is the version's own."""

    head_timeout: float = 10.0
    """For the head of a request to be whole, from its first byte."""
    body_timeout: float = 30.0
    """Between two reads of a request's body."""
    write_timeout: float = 30.0
    """That a client may take nothing of what is written to it."""
    keep_alive: float = 75.0
    """That a client's connection may be idle between requests."""
    linger: float = 2.0
    """To read on what is left of a body after the answer, so that the client gets to see that."""
    connect_timeout: float = 1.0
    """For an instance to take a connection."""
    instance_keep_alive: float = 4.0
    """That a connection to an instance is kept for the next request; below the 5 s after which uvicorn and Node close
    an idle one, so that we do first."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    name: str
    state_dir: Path
    etcd: EtcdSettings = EtcdSettings()
    bind: str = "127.0.0.1:8080"
    """Where invocations are taken."""
    admin: str = "127.0.0.1:0"
    workers: int = 2
    drain_seconds: float = 30
    """How long requests that run may go on after SIGTERM."""
    lane: Lane = "express"
    """Of the two lanes the one that every request goes through first; `general` alone is slower."""
    trusted: tuple[str, ...] = ()
    """Networks of proxies whose forwarding fields are believed: `10.0.0.0/8`."""
    limits: RouterLimits = RouterLimits()


@dataclass(frozen=True, slots=True)
class AgentSettings:
    name: str
    state_dir: Path
    etcd: EtcdSettings = EtcdSettings()
    bind: str = "127.0.0.1:0"
    """gRPC."""
    instance_host: str = "127.0.0.1"
    """Address of this node at which routers reach its instances."""
    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: int = 0
    """MiB; 0 for all that the machine has."""
    keep_instances: bool = False
    """On SIGTERM leave the instances serving, for the next agent to adopt."""
    token: str = field(default="", repr=False)
    """For calls to controllers; a viewer's is enough."""
    zygote: bool = True
    """Fork instances from a process that has imported the platform; else each is a new interpreter."""
    preload: tuple[str, ...] = ()
    """Modules that zygotes import as well: of what a function's packages bring theirs, else the platform's."""
    zygotes: int = 4
    """How many sets of packages have a zygote of their own at the same time, beside the platform's."""
    admin: str = "127.0.0.1:0"
    """Metrics and health."""
    isolation: Isolation = "process"
    cgroups: bool = True
    """Have the kernel keep the limits of instances, where it lets us; else the agent looks after them."""
    cache: int = 10 * 1024
    """MiB that the files of versions may take which do not run here any more."""


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    url: str
    """What comes before `/api/v1/query`."""
    scrape: timedelta = timedelta(seconds=15)
    """How often it scrapes routers; what is much older than that is not judged by."""
    bearer_file: Path | None = None
    """With the token that it wants."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    name: str
    artifacts: Path
    """Folder of the published archives, and of what is being published; shared by all controllers."""
    bucket: str = ""
    """`s3://…` of the bucket that the published archives are in instead."""
    etcd: EtcdSettings = EtcdSettings()
    bind: str = "127.0.0.1:0"
    """gRPC."""
    rest: str = "127.0.0.1:0"
    auth: bool = False
    """Callers need a token."""
    admin_tokens: tuple[str, ...] = field(default=(), repr=False)
    """Made known as admins at the start."""
    aws_keys: AccessKeys = field(default_factory=dict, repr=False)
    """Who signs requests to the interface of AWS Lambda."""
    prometheus: PrometheusSettings | None = None
    """Who is asked for counts in place of the routers."""


def host_and_port(text: str, *, option: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; raises `Invalid` that names the option."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise Invalid(f'{option}: "{text}" is not host:port', hint="for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def check_listener(text: str, *, option: str, insecure: bool, auth: bool | None = None) -> str:
    """A listener off loopback has to authenticate its callers, or to be asked for; `auth` is `None` where it cannot."""
    host, _ = host_and_port(text, option=option)
    if auth or insecure or is_loopback(host):
        return text
    ask_for_tokens = "" if auth is None else "add --auth, "
    raise Invalid(
        f"{option}: {text} is not on loopback, and callers are not authenticated",
        hint=f"bind to 127.0.0.1, {ask_for_tokens}or add --insecure on a network that you trust",
    )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
