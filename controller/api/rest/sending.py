"""What the parameters say of a function, and of an archive that is sent to be published."""

from typing import Annotated

from msgspec import Meta

from controller.artifacts import LARGEST
from controller.artifacts.store import DIGEST
from hotswap.model import FUNCTION_NAME, Model

Sha256 = Annotated[str, Meta(extra_json_schema={"pattern": f"^{DIGEST.pattern}$"})]


class OfFunction(Model, frozen=True, kw_only=True):
    function: Annotated[str, Meta(extra_json_schema={"pattern": f"^{FUNCTION_NAME.pattern}$"})]


class Sending(OfFunction, frozen=True, kw_only=True):
    """What is announced of an archive whose sender wants to be able to go on; digest and size, or neither."""

    sha256: Annotated[str, Meta(extra_json_schema={"pattern": f"^({DIGEST.pattern})?$"})] = ""
    """Of the whole archive."""
    size: Annotated[int, Meta(ge=0, le=LARGEST)] = 0
    """Bytes of the whole archive."""
    offset: Annotated[int, Meta(ge=0, le=LARGEST)] = 0
    """The byte of the archive that the body begins with; what is before it must be here."""

    @property
    def announced(self) -> bool:
        return bool(self.sha256 or self.size or self.offset)
