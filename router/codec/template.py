"""Lines of which only some values change from head to head, as a client's do: the id of a trace, a cookie.

What stands between these values was read in an earlier head, so it is compared and not read again. Of a value that may
change nothing matters but which bytes it is made of: only fields that are sent on as they came may have one.
"""

from router.codec.grammar import TEXT_BYTES, block

END = b"\r\n\r\n"
VALUE = b"\0"
"""Where one stands; it is in no line that was read."""


class Template:
    __slots__ = ("_after", "_came", "_sent", "places")

    def __init__(self, came: list[bytes], sent: list[bytes], places: frozenset[int] = frozenset()) -> None:
        """What stands before, between and after the values, in the lines as they came and as they are sent on."""
        self.places = places
        """The numbers of the lines with these values."""
        self._came, self._sent = came[0], sent[0]
        self._after = list(zip(came[1:], sent[1:], strict=True))

    def fill(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """The lines to send on for the head whose fields begin there, and where its body begins. `None` for a head that
        is to be read: it has other fields, or is not whole, or not as it should be."""
        if not data.startswith(self._came, at):
            return None
        at += len(self._came)
        pieces = [self._sent]
        for came, sent in self._after:
            end = data.find(b"\r\n", at)
            value = data[at:end]
            if end < 0 or value.translate(None, TEXT_BYTES) or not data.startswith(came, end):
                return None
            at = end + len(came)
            pieces.append(value)
            pieces.append(sent)
        return (b"".join(pieces), at + len(END)) if data.startswith(END, at) else None


NO_TEMPLATE = Template([b""], [b""])


def derive(before: bytes, now: bytes, *, kept: list[bytes], sent: bytes, also: frozenset[int]) -> Template | None:
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
    return Template(block(marked).split(VALUE), (sent[:first] + of_kept + behind).split(VALUE), frozenset(places))


def _marked(line: bytes) -> bytes:
    return line[: line.find(b":") + 1] + VALUE
