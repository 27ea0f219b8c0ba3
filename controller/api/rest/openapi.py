"""The OpenAPI 3.1 document of `/api/v1`, made of the table of routes and of the types that it names."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from controller.api.rest import archives, caller, events, problems, streaming
from controller.api.rest.route import PREFIX, AnyRoute, Archive, Nothing

Document = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
TEXT = {"type": "string"}
WHO = {
    "name": caller.HEADER,
    "in": "header",
    "description": "Who asks, for the record.",
    "schema": {**TEXT, "pattern": f"^{caller.NAME.pattern}$"},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same request gets the first answer again, for 24 hours.",
    "schema": {**TEXT, "pattern": r"^[\x21-\x7e]{1,255}$"},
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag at which it must still stand; otherwise 412, and nothing is written.",
    "schema": {**TEXT, "pattern": r'^(W/)?"[\x21\x23-\x7e]*"$'},
}
LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id after which a stream goes on.",
    "schema": {**TEXT, "pattern": f"^{events.REVISION.pattern}$"},
}
ETAG = {"ETag": {"description": "The revision.", "required": True, "schema": {**TEXT, "pattern": '^"[0-9]+"$'}}}
LOCATION = {"Location": {"description": "Where it is.", "required": True, "schema": TEXT}}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {**TEXT, "pattern": "^[0-9]+$"}}}
EVENT = {
    "type": "object",
    "description": "What a deployment tells has an EventDocument as `data`, and the last one, `ended`, the "
    "DeploymentDocument. A line of output has a LogLineDocument, and `missing` names a node whose lines are not told.",
    "properties": {
        "event": {"enum": ["message", "ended", "missing"]},
        "id": {**TEXT, "description": "The revision, at the last of the events that share it; of a line its time."},
        "data": {**TEXT, "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}
AGAIN = {HTTPStatus.SERVICE_UNAVAILABLE}


def document(routes: Sequence[AnyRoute]) -> Document:
    schemas = _Schemas(routes)
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HotSwap",
            "version": "1",
            "description": "Runs functions and rolls out their new versions. Errors are problem documents (RFC 9457).",
        },
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {"schemas": schemas.components},
    }


class _Schemas:
    """The schemas of all types of the table, each once."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        types: dict[str, Any] = {}
        for route in routes:
            types |= {str(kind): kind for kind in (route.answer, route.body) if kind not in (Archive, Nothing)}
        types[str(problems.Problem)] = problems.Problem
        found, self.components = msgspec.json.schema_components(types.values(), ref_template=REFERENCE)
        self._references = dict(zip(types, found, strict=True))

    def of(self, kind: Any) -> Document:
        return self._references[str(kind)]


def _operation(route: AnyRoute, schemas: _Schemas) -> Document:
    operation: Document = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "parameters": [*_parameters(route), *_headers(route)],
        "responses": {str(route.status.value): _success(route, schemas)},
    }
    if route.stream:
        operation["responses"]["204"] = {"description": "All was told before, and the deployment has ended."}
    for status in sorted(route.problems):
        operation["responses"][str(status.value)] = {
            "description": status.phrase,
            "content": {problems.CONTENT_TYPE: {"schema": schemas.of(problems.Problem)}},
            **({"headers": RETRY_AFTER} if status in AGAIN else {}),
        }
    if route.has_body:
        operation["requestBody"] = _request_body(route, schemas)
    return operation


def _parameters(route: AnyRoute) -> list[Document]:
    _, components = msgspec.json.schema_components([route.parameters], ref_template=REFERENCE)
    schema = components[route.parameters.__name__]
    in_path = re.findall(r"\{(\w+)\}", route.path)
    return [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in in_path,
            "schema": {key: value for key, value in of.items() if key != "description"},
            **({"description": of["description"]} if "description" in of else {}),
        }
        for name, of in schema["properties"].items()
    ]


def _headers(route: AnyRoute) -> list[Document]:
    found = [WHO]
    if route.changes:
        found.append(IDEMPOTENCY_KEY)
    if route.conditional:
        found.append(IF_MATCH)
    if route.stream:
        found.append(LAST_EVENT_ID)
    return found


def _success(route: AnyRoute, schemas: _Schemas) -> Document:
    content: Document = {}
    if route.handler:
        content["application/json"] = {"schema": schemas.of(route.answer)}
    if route.stream:
        content[streaming.MEDIA_TYPE] = {"schema": EVENT}
    headers = {**(ETAG if route.tagged else {}), **(LOCATION if route.status is HTTPStatus.CREATED else {})}
    return {"description": route.summary, "content": content, **({"headers": headers} if headers else {})}


def _request_body(route: AnyRoute, schemas: _Schemas) -> Document:
    content: Document
    if route.body is Archive:
        content = {kind: {"schema": {**TEXT, "format": "binary"}} for kind in archives.MEDIA_TYPES}
    else:
        content = {"application/json": {"schema": schemas.of(route.body)}}
        if route.example:
            content["application/json"]["example"] = dict(route.example)
    return {"required": not route.body_optional, "content": content}
