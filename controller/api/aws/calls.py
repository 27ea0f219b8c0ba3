"""A request to Lambda's interface as its operations get it, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import msgspec

from controller.access import Access
from controller.api.aws import names
from controller.api.aws.faults import Fault

T = TypeVar("T")
Document = dict[str, msgspec.Raw]
"""Each member as it was sent: one may be a zip of 50 MB, which need not be looked at to be known to be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    access: Access
    path: Mapping[str, str]
    """What the path names, decoded: `function`, `alias`."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    region: str
    request_id: str

    @property
    def named(self) -> names.Named:
        return names.parse(self.path["function"], qualifier=self.query.get("Qualifier"))

    def arn(self, function: str, qualifier: str = "") -> str:
        return names.arn(function, qualifier, region=self.region)

    def document(self) -> Document:
        """The members of the body."""
        return decoded(self.body or b"{}", Document)

    def read(self, kind: type[T]) -> T:
        """The body, by type; members that the type has not are for `configuration.check_covered`."""
        return decoded(self.body or b"{}", kind)


@dataclass(frozen=True, slots=True)
class Reply:
    document: object = None
    """`None` for no body."""
    status: HTTPStatus = HTTPStatus.OK


def decoded(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        wrong = isinstance(error, msgspec.ValidationError)
        code = "InvalidParameterValueException" if wrong else "InvalidRequestContentException"
        raise Fault(code, f"the body cannot be read: {error}", status=400) from None
