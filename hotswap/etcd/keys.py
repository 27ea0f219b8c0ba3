"""Keys and values between etcd's messages and ours."""

from hotswap import kv
from hotswap.etcd.wire.rpc_pb2 import KeyValue

EVERYTHING = b"\0"
"""As the end of a range: no end."""


def end_of(prefix: str) -> bytes:
    """The first key past all that begin with the prefix; UTF-8 has no byte 0xff, so the last one can be counted up."""
    start = prefix.encode()
    return start[:-1] + bytes([start[-1] + 1]) if start else EVERYTHING


def after(key: bytes) -> bytes:
    """The very next key."""
    return key + b"\0"


def item(message: KeyValue) -> kv.Item:
    key = message.key.decode()
    return kv.Item(key, message.value, message.create_revision, message.mod_revision, message.lease)
