"""Functions and their versions: listed, read, published."""

from controller.api.rest import archives, documents
from controller.api.rest.route import Answer, Api, Archive, Call, Nothing
from controller.api.rest.sending import OfFunction, Sending, Sha256
from hotswap import manifest
from hotswap.errors import Invalid
from hotswap.model import VersionNumber
from hotswap.outcomes import Outcomes

OUTCOMES = {
    "outcomes": [
        {"id": "order-4711", "stickyKey": "visitor-42", "metrics": {"conversion": 1, "revenue": 12.5}},
    ],
}


class OfVersion(OfFunction, frozen=True, kw_only=True):
    version: VersionNumber


class OfUpload(OfFunction, frozen=True, kw_only=True):
    sha256: Sha256


async def find(api: Api, call: Call[Nothing, Nothing]) -> Answer:
    found = await call.access.functions()
    return Answer(documents.FunctionList(functions=[documents.function(one, aliases) for one, aliases in found]))


async def get(api: Api, call: Call[OfFunction, Nothing]) -> Answer:
    return Answer(documents.function(*await call.access.function(call.parameters.function)))


async def find_versions(api: Api, call: Call[OfFunction, Nothing]) -> Answer:
    found = await call.access.versions(call.parameters.function)
    return Answer(documents.VersionList(versions=[documents.version(one) for one in found]))


async def get_version(api: Api, call: Call[OfVersion, Nothing]) -> Answer:
    wanted = call.parameters
    return Answer(documents.version(await call.access.version(wanted.function, wanted.version)))


async def find_upload(api: Api, call: Call[OfUpload, Nothing]) -> Answer:
    found = await call.access.found(call.parameters.function, call.parameters.sha256)
    return Answer(documents.UploadDocument(received=found.received, version=found.version))


async def publish(api: Api, call: Call[Sending, Archive]) -> Answer:
    """The same archive again gives the version that it has already."""
    publication = await archives.publication(call.body, who=call.access.caller.who)
    told, named = manifest.parse(publication.manifest_toml).function, call.parameters.function
    if told != named:
        raise Invalid(
            f'the archive is of the function "{told}", as its {manifest.FILE} says, and not of "{named}"',
            hint=f"post it to /api/v1/functions/{told}/versions",
        )
    version = await call.access.publish(publication, archives.chunks(call.body))
    return Answer(documents.version(version), location=f"/functions/{version.function}/versions/{version.number}")


async def figures(api: Api, call: Call[OfFunction, Nothing]) -> Answer:
    return Answer(await call.access.figures(call.parameters.function))


async def report_outcomes(api: Api, call: Call[OfFunction, Outcomes]) -> Answer:
    return Answer(await call.access.report_outcomes(call.parameters.function, call.body))


async def quarantined(api: Api, call: Call[Nothing, Nothing]) -> Answer:
    found = await call.access.quarantined()
    return Answer(documents.Quarantines(versions=[documents.quarantined(one) for one in found]))


async def release(api: Api, call: Call[OfVersion, Nothing]) -> Answer:
    wanted = call.parameters
    return Answer(documents.quarantined(await call.access.release(wanted.function, wanted.version)))
