"""Prometheus's query API, as far as it is needed: what a query gives at this moment.

Anything that understands PromQL answers alike (Thanos, Mimir, VictoriaMetrics), behind a path and a token if need be.
"""

from collections.abc import Mapping
from math import isfinite, nan
from pathlib import Path

import aiohttp
import msgspec

from hotswap.errors import Unavailable
from hotswap.settings import PrometheusSettings

LIMIT = 5.0
"""Seconds for the answer to a query."""
SEE = "see docs/observe.md, Judging by Prometheus"
SHOWN = 200
"""Characters of an answer that are told at most."""


class Sample(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    value: tuple[float, str]
    """Time of the evaluation, by Prometheus's clock, and the value."""

    @property
    def number(self) -> float:
        """Raises `Unavailable` for what cannot have been counted."""
        try:
            found = float(self.value[1])
        except ValueError:
            found = nan
        if not isfinite(found):
            raise Unavailable(f"Prometheus tells {self.value[1]} of {self.metric}, which is no count", hint=SEE)
        return found


class _Vector(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    status: str = ""
    data: _Vector | None = None
    error: str = ""
    warnings: list[str] = []


class PromQL:
    """`session` is closed by its owner."""

    def __init__(self, session: aiohttp.ClientSession, settings: PrometheusSettings) -> None:
        self._session = session
        self._settings = settings

    async def ask(self, query: str) -> list[Sample]:
        """Raises `Unavailable` for all but a whole answer: never is nothing taken for it."""
        url = f"{self._settings.url.rstrip('/')}/api/v1/query"
        try:
            async with self._session.post(
                url,
                data={"query": query, "timeout": f"{LIMIT:g}s"},
                headers=_authorized(self._settings.bearer_file),
                timeout=aiohttp.ClientTimeout(total=LIMIT),
                allow_redirects=False,
            ) as answer:
                return self._read(answer.status, await answer.read())
        except TimeoutError:
            raise self._failed(f"does not answer within {LIMIT:g} s") from None
        except aiohttp.ClientError as error:
            raise self._failed(f"cannot be reached: {error}") from error

    def _read(self, status: int, body: bytes) -> list[Sample]:
        if status in {401, 403}:
            hint = "name a file with a token that it knows: --prometheus-bearer-file"
            raise self._failed(f"refuses the controller: HTTP {status}", hint=hint)
        try:
            answer = msgspec.json.decode(body, type=_Answer)
            if answer.status != "success" or answer.data is None:
                raise self._failed(f"does not answer the query: HTTP {status}, {answer.error or _shown(body)}")
            if answer.warnings:
                raise self._failed(f"answers in part: {'; '.join(answer.warnings)}")
            if answer.data.result_type != "vector":
                raise self._failed(f"answers with a {answer.data.result_type} and not with a vector")
            return msgspec.json.decode(answer.data.result, type=list[Sample])
        except msgspec.DecodeError:
            what = f"is no Prometheus, or something stands before it: HTTP {status}, {_shown(body)}"
            raise self._failed(what, hint="--prometheus-url is what comes before /api/v1/query") from None

    def _failed(self, what: str, *, hint: str = SEE) -> Unavailable:
        return Unavailable(f"Prometheus at {self._settings.url} {what}", hint=hint)


def _authorized(file: Path | None) -> Mapping[str, str]:
    """The file is read at each query, since tokens in files are replaced."""
    if file is None:
        return {}
    try:
        return {"Authorization": f"Bearer {file.read_text().strip()}"}
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"the token for Prometheus cannot be read from {file}: {error}") from error


def _shown(body: bytes) -> str:
    return repr(body[:SHOWN].decode(errors="replace"))
