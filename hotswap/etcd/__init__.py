"""etcd: a typed asyncio client that keeps the contract of `hotswap.kv`, and a server on loopback (`local`)."""

from hotswap.etcd.client import EtcdKV, connect

__all__ = ["EtcdKV", "connect"]
