"""The table on the router's disk, so that it boots and serves with etcd away.

One file: a line with a name and the digest of what follows, then the functions as MessagePack, in the parts in which
the table holds them. It is written beside and renamed over, so that a crash leaves the one before; one that is damaged
is told and not used.

While a part is encoded nothing else runs. So parts that are as they were are not encoded again, and after each of the
others there is a rest: a thread that only calculates gives way every 5 ms, and as long would every change have to wait.
"""

import hashlib
import logging
import os
import time
from pathlib import Path

import msgspec

from router.shards import Part, Shards
from router.table import FunctionTable, Revisions, Table

log = logging.getLogger(__name__)

NAME = "table"
FORMAT = b"hotswap-router-table-3"
REST = 0.001
"""Seconds."""

Pieces = dict[int, tuple[Part[FunctionTable], msgspec.Raw]]
"""By number, each part as it was last encoded."""


class _Saved(msgspec.Struct, array_like=True):
    revisions: Revisions
    parts: list[msgspec.Raw]


class _Loaded(msgspec.Struct, array_like=True):
    revisions: Revisions
    parts: list[list[FunctionTable]]


def save(table: Table, folder: Path, pieces: Pieces) -> None:
    """`pieces` are those of the last time, and are kept for the next."""
    parts = [_encoded(number, part, pieces) for number, part in enumerate(table.functions.parts)]
    body = msgspec.msgpack.encode(_Saved(table.revisions, parts))
    head = b"%s %s\n" % (FORMAT, hashlib.sha256(body).hexdigest().encode())
    beside = folder / f"{NAME}.new"
    with beside.open("wb") as file:
        file.write(head + body)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / NAME)
    _sync_folder(folder)


def load(folder: Path) -> Table | None:
    """The table as it was last saved; `None` when there is none, or none that is whole."""
    try:
        head, _, body = (folder / NAME).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read and is not used: %s", folder / NAME, error)
        return None
    if head != b"%s %s" % (FORMAT, hashlib.sha256(body).hexdigest().encode()):
        log.warning("%s is damaged, or of another release; it is not used", folder / NAME)
        return None
    try:
        loaded = msgspec.msgpack.decode(body, type=_Loaded)
    except msgspec.MsgspecError as error:
        log.warning("%s is of another release and is not used: %s", folder / NAME, error)
        return None
    functions = {function.name: function for part in loaded.parts for function in part}
    return Table(Shards(FunctionTable).changed(functions), loaded.revisions)


def _encoded(number: int, part: Part[FunctionTable], pieces: Pieces) -> msgspec.Raw:
    known = pieces.get(number)
    if known is None or known[0] is not part:
        known = pieces[number] = part, msgspec.Raw(msgspec.msgpack.encode(list(part.values())))
        time.sleep(REST)
    return known[1]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
