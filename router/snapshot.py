"""The table on the router's disk, so that it boots and serves with etcd away.

One file: a line with a name and the digest of what follows, then the table as an `Update`. It is written beside and
renamed over, so that a crash leaves the one before; one that is damaged is told and not used.
"""

import hashlib
import logging
import os
from pathlib import Path

import msgspec

from router.table import Table, Update

log = logging.getLogger(__name__)

NAME = "table"
FORMAT = b"hotswap-router-table-1"


def save(table: Table, folder: Path) -> None:
    body = msgspec.msgpack.encode(table.whole())
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
        return Table().apply(msgspec.msgpack.decode(body, type=Update))
    except msgspec.MsgspecError as error:
        log.warning("%s is of another release and is not used: %s", folder / NAME, error)
        return None


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
