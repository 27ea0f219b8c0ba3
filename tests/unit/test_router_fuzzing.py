"""The short form of `scripts/fuzz`: what the codec lets pass means to others what it meant to us, however it came."""

import re
from collections.abc import Container

import pytest

from router.codec import body, grammar, requests, responses, template
from router.codec.template import Template
from router.fields import FRAMING, REQUEST_DROPPED, RESPONSE_DROPPED
from tests.codec_fuzzing import CASES, tried

INPUTS = 6_000


def test_what_is_almost_http_is_refused_or_means_to_others_what_it_meant_to_us() -> None:
    report = tried((0, 0, INPUTS))
    assert report.failures == []
    assert all(report.verdicts[f"{name}: read"] > INPUTS / 50 for name in CASES), report.verdicts


def lets_any_field_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(grammar, "NAME", re.compile(rb"(?s).*"))
    patch.setattr(grammar, "BYTES", bytes(byte if byte in b"\r\n" else 32 for byte in range(256)).replace(b"\r", b"\n"))
    # those that have read nothing yet, and will not be asked again
    patch.setattr(requests, "DROPPED", grammar.Special(REQUEST_DROPPED | FRAMING))
    patch.setattr(responses, "SPECIAL", grammar.Special(RESPONSE_DROPPED | FRAMING))


def lets_any_value_change_to_any_other(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(template, "BYTES", b" " * 256)


def lets_a_length_change(patch: pytest.MonkeyPatch) -> None:
    def careless(before: bytes, now: bytes, *, kept: list[bytes], sent: bytes, also: Container[int]) -> Template | None:
        return derive(before, now, kept=[*kept, *now.split(b"\r\n")[1:]], sent=sent, also=also)

    derive = template.derive
    patch.setattr(requests, "derive", careless)


def lets_a_size_have_space(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(body, "SIZE", re.compile(rb" ?([0-9A-Fa-f]{1,16}) ?(?:;[^\r]*)?"))


BUGS = [lets_any_field_pass, lets_any_value_change_to_any_other, lets_a_length_change, lets_a_size_have_space]


@pytest.mark.skipif(body.__file__.endswith(".so"), reason="what is compiled does not ask its module again")
@pytest.mark.parametrize("bug", BUGS)
def test_a_codec_that_lets_too_much_pass_is_found(bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(bug)
    bug(monkeypatch)
    try:
        assert tried((0, 0, INPUTS)).failures
    finally:
        responses._read_once.cache_clear()  # nothing that was let pass is remembered
