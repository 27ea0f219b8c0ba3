"""The short form of `scripts/fuzz`: what the codec lets pass means to others what it meant to us, however it came."""

import re

import pytest

from router.codec import body, grammar, requests
from router.fields import FRAMING, REQUEST_DROPPED
from tests.codec_fuzzing import CASES, tried

INPUTS = 6_000


def test_what_is_almost_http_is_refused_or_means_to_others_what_it_meant_to_us() -> None:
    report = tried((0, 0, INPUTS))
    assert report.failures == []
    assert all(report.verdicts[f"{name}: read"] > INPUTS / 50 for name in CASES), report.verdicts


def lets_any_field_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(grammar, "FIELD", re.compile(rb"(?s)[^:]*:.*"))
    patch.setattr(requests, "DROPPED", grammar.Special(REQUEST_DROPPED | FRAMING))  # one that has read nothing yet


def lets_a_size_have_space(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(body, "SIZE", re.compile(rb" ?([0-9A-Fa-f]{1,16}) ?(?:;[^\r]*)?"))


@pytest.mark.parametrize("bug", [lets_any_field_pass, lets_a_size_have_space])
def test_a_codec_that_lets_too_much_pass_is_found(bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(bug)
    bug(monkeypatch)
    assert tried((0, 0, INPUTS)).failures
