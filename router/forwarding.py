"""Who a request comes from, and what of that the function is told.

A peer may write into the forwarding fields what it likes, so they are set afresh. Only a proxy of our own, in one of
the networks that are trusted, is believed: what it tells is kept, and what the router knows is put on. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

ADDRESSES_KEPT = 4_096
SCHEME = b"http"

Found = Mapping[bytes, Sequence[bytes]]
"""The values of fields, by their names in lower case."""


class Peer:
    """The other end of a client's connection."""

    __slots__ = ("_afresh", "address", "trusted")

    def __init__(self, address: str, *, trusted: bool = False) -> None:
        self.address = address
        self.trusted = trusted
        self._afresh = b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: " % (
            address.encode(),
            SCHEME,
        )

    def lines(self, found: Found, host: bytes) -> bytes:
        """The forwarding fields for the function, each with the end of the line before it; `host` is the request's."""
        if not self.trusted:
            return self._afresh + host
        addresses = b", ".join([*found.get(b"x-forwarded-for", ()), self.address.encode()])
        scheme = _first(found, b"x-forwarded-proto") or SCHEME
        asked = _first(found, b"x-forwarded-host") or host
        lines = b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b" % (addresses, scheme, asked)
        return lines + self._element(found.get(b"forwarded", ()))

    def _element(self, elements: Sequence[bytes]) -> bytes:
        """Forwarded is gone on with where a proxy has begun it (RFC 7239)."""
        if not elements:
            return b""
        node = f'"[{self.address}]"' if ":" in self.address else self.address
        mine = b"for=%b;proto=%b" % (node.encode(), SCHEME)
        return b"\r\nForwarded: " + b", ".join([*elements, mine])


class Trust:
    """The networks of our own proxies."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Raises `ValueError` for what is no network."""
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]
        self._known = lru_cache(maxsize=ADDRESSES_KEPT)(self._read)

    def peer(self, address: str) -> Peer:
        return Peer(address, trusted=address in self)

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and self._known(address)

    def client(self, peer: Peer, addresses: Sequence[bytes]) -> str:
        """The address of the user: of those in X-Forwarded-For the last one that is not a proxy of ours."""
        if not peer.trusted:
            return peer.address
        last = peer.address
        for told in reversed([part.strip() for value in addresses for part in value.split(b",")]):
            last = told.decode("latin-1")
            if last not in self:
                break
        return last

    def _read(self, address: str) -> bool:
        try:
            known = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(known, "ipv4_mapped", None)
        return any((mapped or known) in network for network in self._networks)


def _first(found: Found, name: bytes) -> bytes | None:
    values = found.get(name)
    return values[0] if values else None
