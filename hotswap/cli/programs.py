"""The command lines by which a platform starts its services: the same that a person would type."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hotswap import aws_keys
from hotswap.cli.sources import source_arguments
from hotswap.settings import EtcdSettings, Isolation, PrometheusSettings

DRAIN = 10.0
"""Seconds that requests in flight may take when the router stops."""
STOP_LIMITS = {"router": DRAIN + 10, "agent": 60.0, "controller": 15.0}
"""Seconds from SIGTERM to SIGKILL; an agent waits for its instances, and they for what they have in flight."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Each method gives a command line; addresses are asked for at each start, since a port may be found meanwhile."""

    state_dir: Path
    etcd: EtcdSettings
    admin_token_file: Path
    agent_token: str = field(repr=False)

    def controller(
        self,
        name: str,
        *,
        bind: str,
        rest: str,
        artifacts: str | None = None,
        prometheus: PrometheusSettings | None = None,
    ) -> list[str]:
        where = ("--bind", bind, "--rest", rest, "--artifacts", artifacts or self.state_dir / "artifacts")
        auth = ("--auth", "--admin-token-file", self.admin_token_file)
        keys = ("--aws-credentials", self.state_dir / aws_keys.FILE)
        return self._service("controller", name, *where, *auth, *keys, *source_arguments(prometheus))

    def router(self, name: str, *, bind: str, admin: str, workers: int) -> list[str]:
        where = ("--bind", bind, "--admin", admin, "--state-dir", self.state_dir / "router")
        return self._service("router", name, "--insecure", *where, "--workers", workers, "--drain", f"{DRAIN:g}s")

    def agent(self, name: str, *, isolation: Isolation = "process", preload: Sequence[str] = ()) -> list[str]:
        where = ("--insecure", "--state-dir", self.state_dir / "nodes" / name, "--isolation", isolation)
        return self._service("agent", name, *where, *(text for one in preload for text in ("--preload", one)))

    def environment(self, service: str) -> dict[str, str]:
        """What no list of processes should show."""
        told = {f"HOTSWAP_{service.upper()}_ETCD_PASSWORD": self.etcd.password, "HOTSWAP_TOKEN": self._token(service)}
        return {name: value for name, value in told.items() if value}

    def _token(self, service: str) -> str:
        return self.agent_token if service == "agent" else ""

    def _service(self, service: str, name: str, *options: object) -> list[str]:
        start = [sys.executable, "-P", "-m", "hotswap", service, "--name", name]
        return [*start, *map(str, options), "--etcd", ",".join(self.etcd.endpoints), *self._etcd()]

    def _etcd(self) -> list[str]:
        options = {"ca": self.etcd.ca, "cert": self.etcd.cert, "key": self.etcd.key, "user": self.etcd.user}
        return [text for name, value in options.items() if value for text in (f"--etcd-{name}", str(value))]
