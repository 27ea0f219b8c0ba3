"""The errors that reach a person: each says what was wrong, where, and what to do next.

The kinds follow what the caller can do about them; every interface (gRPC, REST, the command line) translates
a kind in one place.
"""


class HotswapError(Exception):
    """Something went wrong."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        """The next command that would work, or what to change; empty where there is none."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class Invalid(HotswapError):
    """The input is wrong; sending it again will not help."""


class NotFound(HotswapError):
    """What was named does not exist."""


class Refused(HotswapError):
    """The input is right, but the present state does not allow it (HTTP 409)."""


class Conflict(HotswapError):
    """Somebody else changed it in the meantime; read again, then try again."""


class Unauthenticated(HotswapError):
    """Nobody knows who asks: a token is missing, wrong, revoked or expired (HTTP 401)."""


class Forbidden(HotswapError):
    """It is known who asks, and they may not (HTTP 403)."""


class Outdated(HotswapError):
    """The caller named the revision that it had read, and that one stands no more; nothing was written."""


class Unavailable(HotswapError):
    """A part that is needed does not answer; try again later."""


class NotLeader(HotswapError):
    """This controller does not lead (any more); the write was not made."""
