"""Of several controllers the first that can be reached is called; real gRPC servers, and sockets that are none."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from hotswap.cli import reaching
from hotswap.rpc import wire


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        server.stop(None).wait()


@contextmanager
def silent() -> Iterator[str]:
    """Takes connections, and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def refusing() -> str:
    with silent() as address:
        return address


def first(*addresses: str) -> str | None:
    with ExitStack() as stack:
        return reaching.first({it: stack.enter_context(wire.blocking_channel(it)) for it in addresses})


def test_of_those_that_answer_the_first_in_order_is_called() -> None:
    with serving() as one, serving() as other:
        assert first(one, other) == one
        assert first(other, one) == other


def test_one_that_refuses_is_passed_over() -> None:
    with serving() as address:
        assert first(refusing(), address) == address


def test_one_that_says_nothing_is_passed_over() -> None:
    with silent() as nobody, serving() as address:
        assert first(nobody, address) == address


def test_one_that_is_there_a_little_later_is_waited_for() -> None:
    later = refusing()
    with ExitStack() as stack:
        started = threading.Timer(reaching.HEAD_START, lambda: stack.enter_context(serving(int(later.split(":")[1]))))
        started.start()
        assert first(later) == later
        started.join()


def test_none_is_called_where_all_refuse() -> None:
    assert first(refusing(), refusing()) is None
