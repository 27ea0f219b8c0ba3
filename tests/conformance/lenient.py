"""What is not yet as the tables have it. Each of these must fail, so that it is struck out when it no longer does."""

STATUS = "the parser refuses it too, but by another status"
METHODS = "the parser has a closed list of methods"

GENERAL: dict[str, str] = {
    "F6-gzip-field": STATUS,
    "F6-identity": STATUS,
    "F6-unknown": STATUS,
    "F6-twice": STATUS,
    "F6-twice-field": STATUS,
    "F6-parameter": STATUS,
    "F8-zeros": "the parser counts no digits, only what they amount to",
    "F12-framing": "the parser refuses a trailer that would frame the message, where it should be dropped",
    "H17-unknown": METHODS,
    "H17-lower-case": METHODS,
    "H17-token": METHODS,
    "H19-2.0": "the parser takes HTTP/2.0 for a version of its own",
    "H19-3.0": STATUS,
    "H20-line": STATUS,
    "H20-fields": STATUS,
    "H20-head": "the parser bounds each field and how many there are, and not the head as a whole",
}
LENIENT = {"general": GENERAL}
"""By lane, then by case: why it fails. A lane that is not here is excused for nothing."""


def excuse(lane: str, case: str) -> str | None:
    return LENIENT.get(lane, {}).get(case)
