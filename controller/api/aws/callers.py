"""Who asks: who signed the request, where access keys are configured; else whoever REST would take."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from controller.api.aws import names, sigv4
from controller.api.aws.faults import Fault
from controller.means import Clock
from hotswap.auth import Caller
from hotswap.aws_keys import AccessKeys

UNKNOWN = "The security token included in the request is invalid."


@dataclass(frozen=True, slots=True)
class Callers:
    keys: AccessKeys
    """Empty where none are configured: then a signature says nothing, and REST's rule holds."""
    authenticate: Callable[[web.Request], Awaitable[Caller]]
    """By a bearer token, where the controller wants one."""
    open: bool
    """It wants none."""
    clock: Clock = field(repr=False)

    async def unsigned(self, request: web.Request) -> Caller | None:
        """Before a body is read: `None` for who signs, of whom only the body tells whether they have the secret.

        Raises `Fault` or `Unauthenticated` for what can be refused already.
        """
        if self.signs(request):
            shown = sigv4.read(_authorization(request))
            self._secret(request, shown)
            sigv4.check(_headers(request), shown, now=self.clock())
            return None
        if sigv4.is_signed(_authorization(request)) and not self.open:
            hint = "start it with --aws-credentials"
            raise Fault("UnrecognizedClientException", "the controller knows no access keys", status=403, hint=hint)
        return await self.authenticate(request)

    def signed(self, request: web.Request, body: bytes) -> Caller:
        """Raises `Fault`."""
        shown = sigv4.read(_authorization(request))
        sent = sigv4.Signed(request.method, request.raw_path, _headers(request), body)
        sigv4.verify(sent, shown, secret=self._secret(request, shown), now=self.clock())
        key = self.keys[shown.key_id]
        return Caller(key.name, key.role, key.functions, token=key.id)

    def region(self, request: web.Request) -> str:
        """The one that the caller takes us for, for the ARNs that it is told."""
        authorization = _authorization(request)
        found = sigv4.AUTHORIZATION.fullmatch(authorization)
        return found["region"] if found else names.REGION

    def signs(self, request: web.Request) -> bool:
        """A bearer token is taken beside signatures, where tokens are asked for."""
        authorization = _authorization(request)
        return bool(self.keys) and (sigv4.is_signed(authorization) or self.open or not authorization)

    def _secret(self, request: web.Request, shown: sigv4.Shown) -> str:
        if "X-Amz-Security-Token" in request.headers or shown.key_id not in self.keys:
            raise Fault("UnrecognizedClientException", UNKNOWN, status=403)
        return self.keys[shown.key_id].secret


def _authorization(request: web.Request) -> str:
    return request.headers.get("Authorization", "")


def _headers(request: web.Request) -> list[tuple[str, str]]:
    return list(request.headers.items())
