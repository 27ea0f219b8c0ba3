"""Lines of which only some values change from head to head, as a client's do: the id of a trace, a cookie.

What stands between these values was read in an earlier head, so it is compared and not read again. Of a value that may
change nothing matters but which bytes it is made of: only fields that are sent on as they came may have one.
"""

from collections.abc import Container
from typing import Final

from router.codec.grammar import BAD, BYTES, END, block

VALUE: Final = b"\0"
"""Where one stands; it is in no line that was read."""


class Template:
    """Slices are compared, since that is cheaper than asking what the data start with, compiled or not."""

    __slots__ = ("_after", "_came", "_sent", "places")

    def __init__(self, came: list[bytes], sent: list[bytes], places: dict[int, int]) -> None:
        """What stands before, between and after the values: in the lines as they came, with the end of the head, and as
        they are sent on."""
        self.places = places
        """The lines that have these values, by number, and how long most are."""
        self._came, self._sent = came[0], sent[0]
        self._after = list(zip(places.values(), came[1:], sent[1:], strict=True))

    def fill(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """The lines to send on for the head whose fields begin there, and where its body begins. `None` for a head that
        is to be read: it has other fields, or is not whole, or not as it should be."""
        begin, at = at, at + len(self._came)
        if data[begin:at] != self._came:
            return None
        pieces = [self._sent]
        for length, came, sent in self._after:
            end = at + length
            if data[end : end + len(came)] != came:
                end = data.find(b"\r", at)
                if end < 0 or data[end : end + len(came)] != came:
                    return None
            value = data[at:end]
            if BAD in value.translate(BYTES):
                return None
            at = end + len(came)
            pieces.append(value)
            pieces.append(sent)
        return b"".join(pieces), at


NO_TEMPLATE: Final = Template([END], [b""], {})


def derive(before: bytes, now: bytes, *, kept: list[bytes], sent: bytes, also: Container[int]) -> Template | None:
    """From the lines of two heads, if they differ in nothing but values that may change. Of the later head the lines
    that are `kept` stand one behind the other in what is `sent`, after its first one; `also` may change too."""
    lines, others = now.split(b"\r\n")[1:], before.split(b"\r\n")[1:]
    if len(lines) != len(others):
        return None
    stay = set(kept)
    places = {
        number for number, line in enumerate(lines) if line != others[number] or (number in also and line in stay)
    }
    marked = [_marked(line) if number in places else line for number, line in enumerate(lines)]
    if any(lines[number] not in stay or _marked(others[number]) != marked[number] for number in places):
        return None
    first = sent.find(b"\r\n", 1)
    behind = sent[first + len(block(kept)) :]
    of_kept = block([mark for line, mark in zip(lines, marked, strict=True) if line in stay])
    lengths = {number: len(lines[number]) - len(marked[number]) + len(VALUE) for number in sorted(places)}
    return Template((block(marked) + END).split(VALUE), (sent[:first] + of_kept + behind).split(VALUE), lengths)


def _marked(line: bytes) -> bytes:
    return line[: line.find(b":") + 1] + VALUE
