"""Weights by hand, for any interface of any controller: set here while this one leads, else passed on to the leader."""

from typing import Protocol

from controller.service import Service
from hotswap.auth import Caller
from hotswap.errors import Unavailable
from hotswap.model import Alias, Weights
from hotswap.rpc import controller_pb2 as pb
from hotswap.rpc import controller_pb2_grpc, wire
from hotswap.rpc.callers import as_caller
from hotswap.store import Stored

PASSED_ON = "hotswap-passed-on"
"""Metadata of a call that another controller passes on; it is not passed on again."""
PASSING_LIMIT = 330.0
"""Seconds: longer than the leader gives itself to start the versions and to tell the routers."""


class SettingWeights(Protocol):
    """See `controller.weights.HandWeights`."""

    async def set(
        self,
        function: str,
        name: str,
        weights: Weights,
        *,
        who: str,
        why: str,
        override: bool = False,
        expected: int | None = None,
    ) -> Stored[Alias]: ...


class Leading(Protocol):
    """What this controller has while it leads."""

    @property
    def weights(self) -> SettingWeights | None: ...


class LeaderWeights:
    def __init__(self, *, service: Service, leading: Leading) -> None:
        self._service = service
        self._leading = leading

    @property
    def here(self) -> bool:
        """This controller leads."""
        return self._leading.weights is not None

    async def set(
        self,
        function: str,
        name: str,
        weights: Weights,
        *,
        caller: Caller,
        why: str,
        override: bool,
        expected: int | None,
        passed_on: bool = False,
    ) -> Stored[Alias]:
        """`passed_on` when another controller took this one for the leader. It checks the caller's own token again."""
        here = self._leading.weights
        if here:
            return await here.set(
                function, name, weights, who=caller.who, why=why, override=override, expected=expected
            )
        leader = (await self._service.platform()).leader
        if leader is None or passed_on:
            raise Unavailable("no controller leads at the moment", hint="try again in some seconds")
        request = pb.SetAliasRequest(
            function=function, name=name, weights=weights, why=why, override=override, expected=expected
        )
        async with wire.channel(leader.address) as channel:
            with wire.calling(f'the leading controller "{leader.controller}" at {leader.address}'):
                metadata = ((PASSED_ON, "1"), *as_caller(caller))
                stub = controller_pb2_grpc.ControllerStub(channel)
                await stub.SetAlias(request, metadata=metadata, timeout=PASSING_LIMIT)
        return await self._service.alias(function, name)
