"""etcd: a typed asyncio client that keeps the contract of `hotswap.kv`, and a server on loopback (`local`)."""
