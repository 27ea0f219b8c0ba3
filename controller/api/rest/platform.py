"""What the platform consists of now."""

from controller.api.rest import documents
from controller.api.rest.route import Answer, Api, Call, Nothing
from hotswap.errors import Unavailable


async def everything(api: Api, call: Call[Nothing, Nothing]) -> Answer:
    return Answer(documents.platform(await call.access.platform()))


async def nodes(api: Api, call: Call[Nothing, Nothing]) -> Answer:
    found = (await call.access.platform()).nodes
    return Answer(documents.NodeList(nodes=[documents.node(one) for one in found]))


async def routers(api: Api, call: Call[Nothing, Nothing]) -> Answer:
    found = (await call.access.platform()).routers
    return Answer(documents.RouterList(routers=[documents.router(one) for one in found]))


async def leader(api: Api, call: Call[Nothing, Nothing]) -> Answer:
    found = (await call.access.platform()).leader
    if found is None:
        raise Unavailable("no controller leads at the moment", hint="try again in some seconds")
    return Answer(documents.leader(found))
