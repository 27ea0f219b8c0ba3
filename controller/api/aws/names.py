"""How AWS names a function: by its name, its ARN or a part of that, each with a qualifier if need be. Pure."""

import re
from dataclasses import dataclass

from controller.api.aws.faults import invalid
from hotswap.model import FUNCTION_NAME

LATEST = "$LATEST"
"""The code as it was last updated."""
LATEST_ALIAS = "LATEST"
"""The alias that keeps it running: `$` cannot be in a name of ours."""
ACCOUNT = "000000000000"
REGION = "us-east-1"
"""Of an ARN for a caller who names no region."""
NAME = re.compile(
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"(?P<name>[a-zA-Z0-9-_]+)(:(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)
"""Of Lambda's service model (FunctionName)."""
QUALIFIER = re.compile(r"\$LATEST|[a-zA-Z0-9-_]{1,128}")


@dataclass(frozen=True, slots=True)
class Named:
    function: str
    qualifier: str = ""
    """An alias, digits of a version, `$LATEST`, or empty where none was named."""

    @property
    def latest(self) -> bool:
        return self.qualifier in {"", LATEST}

    @property
    def number(self) -> int | None:
        return int(self.qualifier) if self.qualifier.isdigit() else None


def parse(text: str, *, qualifier: str | None = None) -> Named:
    """`qualifier` is the one that was named beside it. Raises `Fault`."""
    found = NAME.fullmatch(text)
    if not found:
        raise invalid(f'"{text}" names no function', hint="give a name, an ARN or ACCOUNT:function:NAME")
    if not FUNCTION_NAME.fullmatch(found["name"]):
        raise invalid(
            f'"{found["name"]}" is not a name for a function here',
            hint="use 1 to 63 lower-case letters, digits and hyphens, with a letter or a digit at each end",
        )
    if qualifier is not None and not QUALIFIER.fullmatch(qualifier):
        raise invalid(f'"{qualifier}" is no qualifier', hint="give an alias, the number of a version, or $LATEST")
    inside = found["qualifier"]
    if inside and qualifier and inside != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return Named(found["name"], _plain(qualifier or inside or ""))


def _plain(qualifier: str) -> str:
    return str(int(qualifier)) if qualifier.isdigit() else qualifier


def arn(function: str, qualifier: str = "", *, region: str = REGION) -> str:
    named = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{function}"
    return f"{named}:{qualifier}" if qualifier else named
