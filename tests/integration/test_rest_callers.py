"""Who may use REST: nobody without a token where the controller wants one, and nobody beyond their role."""

from pathlib import Path

from controller.server import Controller
from hotswap import auth
from hotswap.memory import MemoryKV
from hotswap.settings import ControllerSettings
from hotswap.store import Store
from tests.rest import rest_at


async def test_it_lets_nobody_in_without_a_token_and_nobody_beyond_their_role(tmp_path: Path) -> None:
    admin = auth.new()
    settings = ControllerSettings(name="c1", artifacts=tmp_path, auth=True, admin_tokens=(admin.text,))
    controller = Controller(store=Store(MemoryKV()), settings=settings)
    async with controller.serving_rest() as address, rest_at(address) as rest:
        for path in ("/functions", "/deployments", "/deployments/d-1/events/stream", "/platform"):
            refused = await rest.get(path)
            assert "hotswap token" in refused.problem(401)["hint"]
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        shown = {"Authorization": f"Bearer {admin.text}"}
        (await rest.get("/functions", headers=shown)).made()
        wrong = {"Authorization": f"Bearer {auth.new().text}"}
        (await rest.get("/functions", headers=wrong)).problem(401)
        (await rest.get("/openapi.json")).made()
