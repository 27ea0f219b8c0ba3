"""What stands before every route, as authentication will."""

from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from controller.api.leader import LeaderWeights
from controller.api.rest.listener import listening
from controller.artifacts import Artifacts
from controller.publishing import Publishing
from controller.server import Leading
from controller.service import Service
from hotswap.errors import Refused
from hotswap.memory import MemoryKV
from hotswap.store import Store
from tests.controller_platform import now
from tests.rest import rest_at


@web.middleware
async def invited(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.headers.get("Hotswap-Who") != "ada":
        raise Refused("only Ada is let in", hint="be Ada")
    return await handler(request)


async def test_it_may_refuse_whatever_comes_by_an_error_of_ours(tmp_path: Path) -> None:
    store = Store(MemoryKV())
    publishing = Publishing(store=store, artifacts=Artifacts(tmp_path), clock=now)
    service = Service(store=store, publishing=publishing, clock=now)
    weights = LeaderWeights(service=service, leading=Leading())
    async with (
        listening("127.0.0.1:0", service=service, weights=weights, store=store, middlewares=[invited]) as address,
        rest_at(address) as rest,
    ):
        for path in ("/functions", "/openapi.json", "/nothing", "/deployments/d-1/events/stream"):
            assert (await rest.get(path)).problem(409)["hint"] == "be Ada"
        (await rest.get("/functions", headers={"Hotswap-Who": "ada"})).made()
