"""The answer to a mutation, kept so that whoever sends it again is told the same and nothing is done twice."""

from datetime import datetime

from hotswap.model import Record


class KeptAnswer(Record, frozen=True, kw_only=True):
    """While `status` is 0 the mutation is being made; the record then lives only as long as who makes it."""

    id: str
    """sha256 of the caller and of the key that it chose."""
    request: str
    """sha256 of all that was asked for."""
    at: datetime
    status: int = 0
    headers: dict[str, str] = {}
    body: str = ""
