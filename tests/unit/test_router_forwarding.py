"""Forwarding fields: set afresh for whoever is not trusted, gone on with for a proxy of our own."""

import pytest

from router.codec.requests import RequestReader
from router.forwarding import Peer, Trust

MADE_UP = (
    b"GET /fn/f HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Host: example.org\r\nForwarded: for=192.0.2.7\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n"
)


def forwarded(peer: Peer) -> dict[str, str]:
    read = RequestReader(peer).read(MADE_UP)
    assert read is not None
    lines = read[1].lines.decode().split("\r\n")[1:]
    told = dict(line.split(": ", 1) for line in lines)
    return {name: value for name, value in told.items() if "orwarded" in name}


def test_a_peer_is_told_by_its_address_whatever_it_has_made_up() -> None:
    assert forwarded(Peer("10.0.0.1")) == {
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "h",
    }


def test_what_a_trusted_proxy_tells_is_kept_and_gone_on_with() -> None:
    assert forwarded(Peer("10.0.0.1", trusted=True)) == {
        "X-Forwarded-For": "192.0.2.7, 10.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "example.org",
        "Forwarded": "for=192.0.2.7, for=10.0.0.1;proto=http",
    }


def test_an_address_of_ipv6_is_quoted_in_forwarded() -> None:
    assert forwarded(Peer("2001:db8::1", trusted=True))["Forwarded"] == (
        'for=192.0.2.7, for="[2001:db8::1]";proto=http'
    )


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::5", True),
        ("11.0.0.1", False),
        ("unknown", False),
    ],
)
def test_networks_are_trusted_and_nothing_else(address: str, trusted: bool) -> None:  # noqa: FBT001
    assert Trust(["10.0.0.0/8", "2001:db8::/32"]).peer(address).trusted is trusted
    assert not Trust().peer(address).trusted


@pytest.mark.parametrize(
    ("peer", "told", "user"),
    [
        ("192.0.2.9", [b"1.2.3.4"], "192.0.2.9"),
        ("10.0.0.1", [b"1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", [b"6.6.6.6, 1.2.3.4", b"10.0.0.7"], "1.2.3.4"),
        ("10.0.0.1", [b"10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_a_user_is_the_last_address_that_no_proxy_of_ours_has(peer: str, told: list[bytes], user: str) -> None:
    trust = Trust(["10.0.0.0/8"])
    assert trust.client(trust.peer(peer), told) == user


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="has host bits set"):
        Trust(["10.0.0.1/8"])
