"""Bodies, piece by piece, without their framing: of a length that was told, or in chunks (RFC 9112 section 7.1)."""

import re
from enum import IntEnum
from typing import Final

from router.codec.grammar import FIELD, TEXT

MOST_EXTENSION: Final = 16_384
"""Bytes of a body's chunk extensions and trailers together: they say nothing to us."""
SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;" + TEXT + rb"*)?")
"""No space around it: where one reader skips it another one may read a size that differs."""
PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
BEGUN: Final = re.compile(rb"(?:" + SIZE.pattern + rb")?\r?")
"""What may become a size with the bytes that come."""
NO_LINE: Final = b"\0"
"""Not the size of any chunk."""
LAST_CHUNK: Final = b"0\r\n\r\n"


class BadBody(ValueError):
    """Not the body that its head tells of."""


class Body:
    done = False
    """All of it has been read."""

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        """What of the data is of the body, and what comes after it. Raises `BadBody`."""
        raise NotImplementedError


class Sized(Body):
    def __init__(self, length: int) -> None:
        self.done = not length
        self._left = length

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self._left, self.done = 0, True
        return part(data, 0, left), data[left:]


class UntilClosed(Body):
    """A body that ends with its connection."""

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""


class _Within(IntEnum):
    SIZE = 0
    DATA = 1
    DATA_END = 2
    TRAILERS = 3


_SIZE: Final = _Within.SIZE
_DATA: Final = _Within.DATA
_DATA_END: Final = _Within.DATA_END
_TRAILERS: Final = _Within.TRAILERS


class Chunked(Body):
    """Extensions and trailers are validated and dropped."""

    def __init__(self) -> None:
        self._within = _Within.SIZE
        self._left = 0
        self._digits = 0
        """Where those of the last size end."""
        self._extension = 0
        self._partial = b""

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        data = self._begun(data)
        pieces: list[bytes] = []
        at: int | None = 0
        while at is not None and not self.done:
            here, within = at, self._within
            at = self._step(data, here)
            if at is None:
                self._partial = data[here:]
            elif within is _DATA:
                pieces.append(part(data, here, at))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), b"" if at is None else data[at:]

    def _begun(self, data: bytes) -> bytes:
        """With what was kept of the data before."""
        if not self._partial:
            return data
        partial, self._partial = self._partial, b""
        return partial + data

    def _step(self, data: bytes, at: int) -> int | None:
        """Where that ends which begins there; `None` if it is to be looked at again with the bytes that come."""
        within = self._within
        if within is _SIZE:
            return self._size(data, at)
        if within is _DATA:
            return self._data(data, at)
        return self._data_end(data, at) if within is _DATA_END else self._trailer(data, at)

    def _size(self, data: bytes, at: int) -> int | None:
        end = data.find(b"\r\n", at)
        if end < 0:
            self._check_length(len(data) - at)
            if not BEGUN.fullmatch(data, at):
                raise BadBody("a chunk has no size")
            return None
        size = SIZE.fullmatch(data, at, end)
        if size is None:
            raise BadBody("a chunk has no size")
        self._digits = size.end(1)
        self._spend(end - self._digits)
        self._left = int(size[1], 16)
        self._within = _Within.DATA if self._left else _Within.TRAILERS
        return end + 2

    def _data(self, data: bytes, at: int) -> int | None:
        length = min(len(data) - at, self._left)
        if not length:
            return None
        self._left -= length
        if not self._left:
            self._within = _Within.DATA_END
        return at + length

    def _data_end(self, data: bytes, at: int) -> int | None:
        end = data[at : at + 2]
        if end != b"\r\n"[: len(end)]:
            raise BadBody("a chunk is longer than its size")
        if len(end) < 2:
            return None
        self._within = _Within.SIZE
        return at + 2

    def _trailer(self, data: bytes, at: int) -> int | None:
        end = data.find(b"\r\n", at)
        if end < 0:
            self._check_length(len(data) - at)
            if b"\n" in data[at:]:
                raise BadBody("a trailer is not a field")
            return None
        if end == at:
            self.done = True
        elif not FIELD.fullmatch(data, at, end):
            raise BadBody("a trailer is not a field")
        self._spend(end - at)
        return end + 2

    def _check_length(self, length: int) -> None:
        if self._extension + length > MOST_EXTENSION:
            raise BadBody("the chunks carry too much that is not the body")

    def _spend(self, length: int) -> None:
        self._check_length(length)
        self._extension += length


class StillFramed(Chunked):
    """Its pieces are the chunks as they came, without extensions and trailers: for whoever passes them on in chunks, so
    that long ones need not be copied to be framed anew."""

    def __init__(self) -> None:
        super().__init__()
        self._line = NO_LINE
        """The last plain size, and what it says: chunks of a body are often of one size."""
        self._length = 0

    def read(self, data: bytes) -> tuple[bytes, bytes]:
        data = self._begun(data)
        at: int | None = self._plain(data)
        if at == len(data):
            return data, b""
        kept: list[bytes] = []
        begin = end = 0
        while at is not None and not self.done:
            here, within = at, self._within
            at = self._step(data, here)
            if at is None:
                self._partial, end = data[here:], here
            elif within is _SIZE and self._digits < at - 2:
                kept.append(data[begin : self._digits])
                begin = at - 2
            elif within is _TRAILERS and not self.done:
                kept.append(data[begin:here])
                begin = at
        kept.append(part(data, begin, end if at is None else at))
        return kept[0] if len(kept) == 1 else b"".join(kept), b"" if at is None else data[at:]

    def _plain(self, data: bytes) -> int:
        """How far it goes in chunks without extensions, as nearly all are."""
        at, end, left, within = 0, len(data), self._left, self._within
        line, length = self._line, self._length
        if within is _DATA_END and data[:2] == b"\r\n":
            at, within = 2, _SIZE
        while at < end:
            if within is _SIZE:
                if data[at : at + len(line)] != line:
                    found = PLAIN_SIZE.match(data, at)
                    if found is None or not (told := int(found[1], 16)):
                        break
                    line, length = found[0], told
                at, left, within = at + len(line), length, _DATA
            if within is not _DATA:
                break
            if left > end - at:
                at, left = end, left - (end - at)
                break
            at, left, within = at + left, 0, _DATA_END
            if data[at : at + 2] != b"\r\n":
                break
            at, within = at + 2, _SIZE
        self._left, self._within = left, within
        self._line, self._length = line, length
        return at


def part(data: bytes, begin: int, end: int) -> bytes:
    """Itself, where that is the whole: compiled code would copy it."""
    return data if end - begin == len(data) else data[begin:end]


def framed(piece: bytes) -> bytes:
    """A chunk; nothing for nothing, since an empty one would be the last."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
