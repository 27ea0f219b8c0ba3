"""The router's own error answers: problem documents (RFC 9457) that name the request."""

from http import HTTPStatus

import msgspec

from hotswap.metrics import Count

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that the router gives by itself.

    `outcome` is how an invocation that a version was picked for is counted; `None` when none had begun.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        outcome: Count | None = None,
        fields: tuple[tuple[str, str], ...] = (),
        exists: list[str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.outcome = outcome
        self.fields = fields
        self.exists = exists
        self.close = close
        """The connection cannot go on after this: its next byte is not the start of a request."""

    def document(self, request_id: str) -> bytes:
        body: dict[str, object] = {
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "requestId": request_id,
        }
        if self.exists is not None:
            body["exists"] = self.exists
        return msgspec.json.encode(body)


def malformed(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail, close=True)


def late_body(pause: float) -> Problem:
    detail = f"the body did not go on for {pause:g} s"
    return Problem(HTTPStatus.REQUEST_TIMEOUT, detail, outcome=Count.CLIENT_ERROR, close=True)


def too_large(limit: int, *, outcome: Count | None = None) -> Problem:
    detail = f"the body is larger than the {limit} bytes that the function takes"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, outcome=outcome, close=True)
