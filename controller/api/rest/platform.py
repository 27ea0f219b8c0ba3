"""What the platform consists of now."""

from controller.api.rest import documents
from controller.api.rest.route import Answer, Api, Call, Nothing
from hotswap.errors import Unavailable


async def everything(api: Api, _: Call[Nothing, Nothing]) -> Answer:
    return Answer(documents.platform(await api.service.platform()))


async def nodes(api: Api, _: Call[Nothing, Nothing]) -> Answer:
    found = (await api.service.platform()).nodes
    return Answer(documents.NodeList(nodes=[documents.node(one) for one in found]))


async def routers(api: Api, _: Call[Nothing, Nothing]) -> Answer:
    found = (await api.service.platform()).routers
    return Answer(documents.RouterList(routers=[documents.router(one) for one in found]))


async def leader(api: Api, _: Call[Nothing, Nothing]) -> Answer:
    found = (await api.service.platform()).leader
    if found is None:
        raise Unavailable("no controller leads at the moment", hint="try again in some seconds")
    return Answer(documents.leader(found))
