"""An immutable mapping by name whose successor costs as much as what changes, and not as much as there is.

A plain dictionary would be copied whole for every change: with 10,000 functions and 1,000 changes a second that is most
of what a worker does. Here the names are spread over parts by their hash; a successor copies the parts that it changes
and shares the others, so that a reader can also tell by identity which parts are still as they were.

A value may stand there packed, as MessagePack. It is unpacked when it is first asked for: a worker is told ten thousand
functions and may be asked for a hundred.
"""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, overload

import msgspec

V = TypeVar("V")
D = TypeVar("D")

PARTS = 256
"""A power of two. With 10,000 names a part has 40."""

Part = dict[str, V | msgspec.Raw]


class Shards(Mapping[str, V], Generic[V]):
    __slots__ = ("_decoder", "parts")

    def __init__(self, kind: type[V]) -> None:
        """An empty one; `kind` is what a packed value is."""
        self._decoder = msgspec.msgpack.Decoder(kind)
        self.parts: tuple[Part[V], ...] = ({},) * PARTS

    def __getitem__(self, name: str) -> V:
        part = self.parts[hash(name) % PARTS]
        value = part[name]
        return self._unpack(part, name, value) if isinstance(value, msgspec.Raw) else value

    @overload
    def get(self, name: str, default: None = None, /) -> V | None: ...
    @overload
    def get(self, name: str, default: V | D, /) -> V | D: ...
    def get(self, name: str, default: V | D | None = None, /) -> V | D | None:
        """That of `Mapping` raises an error inside for each name that is not there, as all are in a first table."""
        part = self.parts[hash(name) % PARTS]
        value = part.get(name, default)
        return self._unpack(part, name, value) if isinstance(value, msgspec.Raw) else value

    def __contains__(self, name: object) -> bool:
        return name in self.parts[hash(name) % PARTS]

    def __iter__(self) -> Iterator[str]:
        return (name for part in self.parts for name in part)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def changed(self, values: Mapping[str, V | msgspec.Raw | None]) -> "Shards[V]":
        """With these values; those that are `None` are taken out."""
        drafts: dict[int, Part[V]] = {}
        for name, value in values.items():
            number = hash(name) % PARTS
            draft = drafts.get(number)
            if draft is None:
                draft = drafts[number] = dict(self.parts[number])
            if value is None:
                draft.pop(name, None)
            else:
                draft[name] = value
        parts = list(self.parts)
        for number, draft in drafts.items():
            parts[number] = draft
        return self._of(tuple(parts))

    def packed(self) -> dict[str, msgspec.Raw]:
        """All values as they may be given to `changed` elsewhere."""
        pack = msgspec.msgpack.Encoder().encode
        return {name: msgspec.Raw(pack(value)) for part in self.parts for name, value in part.items()}

    def _of(self, parts: tuple[Part[V], ...]) -> "Shards[V]":
        made: Shards[V] = object.__new__(Shards)
        made._decoder, made.parts = self._decoder, parts
        return made

    def _unpack(self, part: Part[V], name: str, packed: msgspec.Raw) -> V:
        value = part[name] = self._decoder.decode(packed)
        return value
