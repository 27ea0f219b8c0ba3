"""The proxies, each started with one worker, or why it cannot take part."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.router import configs, programs
from benchmarks.router.backend import command
from benchmarks.router.case import CASES, WEIGHTS
from benchmarks.router.configs import Routes
from benchmarks.router.process import Tree, Unusable, free_ports, serving
from hotswap.etcd.local import running
from hotswap.settings import EtcdSettings
from tests.router_harness import routing

OURS = "hotswap"
READY = CASES[0].target
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Proxy:
    name: str
    port: int
    tree: Tree


Start = Callable[[Path, Routes], AbstractAsyncContextManager[Proxy]]


@asynccontextmanager
async def hotswap(folder: Path, routes: Routes) -> AsyncIterator[Proxy]:
    """The real router process, with its parent, on a real etcd."""
    async with running(folder / "etcd") as etcd:
        settings = EtcdSettings(endpoints=(etcd.endpoint,))
        async with routing(settings, folder / "state", drain=timedelta(seconds=1)) as router:
            for name, ports in routes.items():
                endpoints = {version: [f"127.0.0.1:{at}"] for version, at in zip(WEIGHTS, ports, strict=True)}
                await router.publish(name, endpoints, weights=WEIGHTS, concurrency=configs.MANY)
            yield Proxy(OURS, router.host_port[1], Tree(router.process.pid))


@asynccontextmanager
async def haproxy(folder: Path, routes: Routes) -> AsyncIterator[Proxy]:
    program = _present(programs.find("haproxy"))
    (port,) = free_ports(1)
    (folder / "haproxy.cfg").write_text(configs.haproxy(routes, port))
    async with serving([program, "-db", "-f", f"{folder}/haproxy.cfg"], folder, port, ready=READY) as pid:
        yield Proxy("haproxy", port, Tree(pid))


@asynccontextmanager
async def nginx(folder: Path, routes: Routes) -> AsyncIterator[Proxy]:
    program = _present(programs.find("nginx"))
    (port,) = free_ports(1)
    (folder / "nginx.conf").write_text(configs.nginx(routes, port, folder=folder))
    async with serving(command(program, folder), folder, port, ready=READY) as pid:
        yield Proxy("nginx", port, Tree(pid))


@asynccontextmanager
async def envoy(folder: Path, routes: Routes) -> AsyncIterator[Proxy]:
    program = _present(programs.envoy())
    (port,) = free_ports(1)
    (folder / "envoy.json").write_text(configs.envoy(routes, port))
    words = [program, "-c", f"{folder}/envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    async with serving(words, folder, port, ready=READY) as pid:
        yield Proxy("envoy", port, Tree(pid))


@asynccontextmanager
async def traefik(folder: Path, routes: Routes) -> AsyncIterator[Proxy]:
    program = _present(programs.traefik())
    (port,) = free_ports(1)
    (folder / "rules.yaml").write_text(configs.traefik_rules(routes))
    (folder / "traefik.yaml").write_text(configs.traefik(port, rules=folder / "rules.yaml"))
    words = [program, f"--configFile={folder}/traefik.yaml"]
    async with serving(words, folder, port, ready=READY, env={"GOMAXPROCS": "1"}) as pid:
        yield Proxy("traefik", port, Tree(pid))


@asynccontextmanager
async def plain(folder: Path, routes: Routes) -> AsyncIterator[Proxy]:
    (port,) = free_ports(1)
    ports = [",".join(map(str, it)) for _, it in routes.items()]
    words = [sys.executable, "-m", "benchmarks.router.plain", str(port), *ports]
    async with serving(words, folder, port, ready=READY, env={"PYTHONPATH": str(ROOT)}) as pid:
        yield Proxy("aiohttp", port, Tree(pid))


STARTS: dict[str, Start] = {
    OURS: hotswap,
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
    "traefik": traefik,
    "aiohttp": plain,
}
QUICK = (OURS, "haproxy", "nginx")


def _present(program: str | None) -> str:
    if program is None:
        raise Unusable("it is not installed")
    return program
