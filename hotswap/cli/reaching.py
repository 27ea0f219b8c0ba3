"""Of several controllers, any of which will do, the one to call: the first that answers."""

import threading
import time
from collections.abc import Mapping

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

LIMIT = 5.0
"""Seconds until a controller must have answered."""
HEAD_START = 1.0
"""Seconds for which one that says nothing keeps those after it waiting."""
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""What a call comes to that nobody has answered; any other answer shows that somebody is there."""


def first(channels: Mapping[str, grpc.Channel]) -> str | None:
    """The address of the first that answers: in order, without those that refuse or say nothing for a while. One that
    refuses is tried again while there is time. `None` when the time is over."""
    begun = time.monotonic()
    heard = threading.Event()
    tries = [_Try(address, channel, heard) for address, channel in channels.items()]
    try:
        while True:
            heard.clear()
            passed = time.monotonic() - begun
            if chosen := _chosen(tries, in_turn=passed < HEAD_START):
                return chosen.address
            if passed >= LIMIT:
                return None
            heard.wait((HEAD_START if passed < HEAD_START < LIMIT else LIMIT) - passed)
    finally:
        for one in tries:
            one.give_up()


class _Try:
    """One that refuses is asked once more, to answer when it is there."""

    def __init__(self, address: str, channel: grpc.Channel, heard: threading.Event) -> None:
        self.address = address
        self.refused = False
        self._health = health_pb2_grpc.HealthStub(channel)
        self._heard = heard
        self.call = self._ask(patient=False)

    @property
    def answered(self) -> bool:
        if not self.call.done():
            return False
        if self.call.code() not in AWAY:
            return True
        if not self.refused:
            self.refused = True
            self.call = self._ask(patient=True)
        return False

    def give_up(self) -> None:
        self.call.cancel()  # type: ignore[no-untyped-call] # of grpc's

    def _ask(self, *, patient: bool) -> "grpc.CallFuture[health_pb2.HealthCheckResponse]":
        call: grpc.CallFuture[health_pb2.HealthCheckResponse] = self._health.Check.future(
            health_pb2.HealthCheckRequest(), timeout=LIMIT, wait_for_ready=patient
        )
        call.add_done_callback(lambda _: self._heard.set())
        return call


def _chosen(tries: list[_Try], *, in_turn: bool) -> _Try | None:
    """`in_turn`: none before one that may still answer."""
    for one in tries:
        if one.answered:
            return one
        if in_turn and not one.refused:
            return None
    return None
