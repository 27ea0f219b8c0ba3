"""The proxies that HotSwap is compared with: each an ordinary reverse proxy in front of the scripted upstream.

Each has its defaults, but for what makes it keep connections to the upstream. What is not installed is left out.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hotswap.processes import ended
from tests.conformance.client import PROBE_REQUEST, converse

START_LIMIT = 30.0
LOOK_EVERY = 0.1
"""Seconds."""
LOOPBACK = "127.0.0.1"
VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Peer:
    name: str
    program: str
    command: Callable[[str, int, int, Path], list[str]]
    """From the program, its port, the upstream's port and a folder, in which it writes its configuration."""
    ask_version: str = "-v"

    @property
    def path(self) -> str | None:
        return _path(self.program)

    def version(self) -> str:
        answer = subprocess.run([self.path or "", self.ask_version], capture_output=True, text=True, check=False)
        found = VERSION.search(answer.stdout + answer.stderr)
        return found[0] if found else "of unknown version"


@asynccontextmanager
async def running(peer: Peer, upstream_port: int, folder: Path) -> AsyncIterator[int]:
    """The port on which it takes requests. Raises `TimeoutError` if it does not come to that."""
    port = _free_port()
    assert peer.path is not None, f"{peer.name} is not installed"
    process = _spawn(peer.command(peer.path, port, upstream_port, folder), folder / f"{peer.name}.log")
    try:
        async with asyncio.timeout(START_LIMIT):
            while not await _routes(port):  # noqa: ASYNC110 - it tells nobody when it is ready
                await asyncio.sleep(LOOK_EVERY)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_LIMIT):
                await ended(process)
        if process.poll() is None:
            process.kill()
            await ended(process)


async def _routes(port: int) -> bool:
    try:
        return (await converse(port, PROBE_REQUEST, "whole", limit=1.0)).probed
    except ConnectionError:
        return False


def _spawn(command: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


def _path(program: str) -> str | None:
    """In the environment that runs this, on PATH, or where Debian has servers."""
    package = importlib.util.find_spec(program)
    inside = [f"{folder}/_bin" for folder in (package.submodule_search_locations or [])] if package else []
    folders = [*inside, sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(program, path=os.pathsep.join(folders))


def _nginx(program: str, port: int, upstream_port: int, folder: Path) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    scratch = " ".join(f"{it}_temp_path {folder}/{it};" for it in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = f"""
        daemon off; {user} pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
        events {{ }}
        http {{
            access_log off; {scratch}
            upstream u {{ server {LOOPBACK}:{upstream_port}; keepalive 8; }}
            server {{
                listen {LOOPBACK}:{port};
                location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }}
            }}
        }}
    """
    return [program, "-e", "stderr", "-c", _written(folder / "nginx.conf", config)]


def _haproxy(program: str, port: int, upstream_port: int, folder: Path) -> list[str]:
    config = f"""
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
frontend f
    bind {LOOPBACK}:{port}
    default_backend b
backend b
    server s {LOOPBACK}:{upstream_port}
"""
    return [program, "-db", "-f", _written(folder / "haproxy.cfg", config)]


def _envoy(program: str, port: int, upstream_port: int, folder: Path) -> list[str]:
    manager = {
        "@type": _ENVOY + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "p",
        "route_config": {
            "virtual_hosts": [
                {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "u"}}]}
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": _ENVOY + "filters.http.router.v3.Router"}}],
    }
    endpoint = {"endpoint": {"address": _address(upstream_port)}}
    resources = {
        "listeners": [
            {"address": _address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
        ],
        "clusters": [
            {
                "name": "u",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "u", "endpoints": [{"lb_endpoints": [endpoint]}]},
            }
        ],
    }
    config = _written(folder / "envoy.json", json.dumps({"static_resources": resources}))
    return [program, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]


_ENVOY = "type.googleapis.com/envoy.extensions."


def _address(port: int) -> dict[str, dict[str, str | int]]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _traefik(program: str, port: int, upstream_port: int, folder: Path) -> list[str]:
    config = f"""
http:
  routers:
    r: {{rule: "PathPrefix(`/`)", service: u}}
  services:
    u: {{loadBalancer: {{servers: [{{url: "http://{LOOPBACK}:{upstream_port}"}}]}}}}
"""
    written = _written(folder / "traefik.yml", config)
    quiet = ["--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=ERROR"]
    return [program, f"--entrypoints.web.address={LOOPBACK}:{port}", f"--providers.file.filename={written}", *quiet]


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


PEERS = (
    Peer("nginx", "nginx", _nginx),
    Peer("HAProxy", "haproxy", _haproxy),
    Peer("Envoy", "envoy", _envoy, ask_version="--version"),
    Peer("Traefik", "traefik", _traefik, ask_version="version"),
)
