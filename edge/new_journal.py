"""A new journal on purpose: when the one before was copied, damaged or forked.

Invariant: the old journal is on the disk under another name before anything of it is forgotten.
Must not: delete a file, or run beside a daemon.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.alone import alone
from edge.database import Database, Identity
from edge.store import JOURNAL_FILE, StoreError, StoreReason, open_database

_DRAFT: Final = ".new-journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJournal:
    """What was done.

    Attributes:
        epoch: of the new journal.
        kept: where the old one is.
        damaged: the old one could not be read; it is kept as it was, and how far it had come is not known.
        old_epoch: of the old one, None when it was damaged.
        events: how many the old one holds.
        unsent: those of them that the cloud has not acknowledged.
    """

    epoch: bytes
    kept: Path
    damaged: bool = False
    old_epoch: bytes | None = None
    events: int = 0
    unsent: int = 0


def begin_new_journal(folder: Path, identity: Identity, *, new_epoch: bytes) -> NewJournal:
    """Keep a door's journal under another name and begin one that is empty.

    What the door decides by, and what it remembers of codes, people and commands, stays in force.

    Args:
        folder: the door's state folder.
        identity: who writes.
        new_epoch: 8 random bytes.

    Raises:
        StoreError: BUSY while a daemon runs; DAMAGED when there is no journal; FULL, DISK or SCHEMA as `open_database`.
        OSError: the folder cannot be used.
    """
    path = folder / JOURNAL_FILE
    with alone(folder):
        if not path.exists():
            raise StoreError(StoreReason.DAMAGED, f"there is no journal in {folder}; the daemon begins one by itself")
        database, aside = open_database(path, identity, new_epoch=new_epoch)
        try:
            if aside is not None:
                _make_durable(path, like=aside)
                return NewJournal(epoch=new_epoch, kept=aside, damaged=True)
            return _begin(database, path, new_epoch)
        except sqlite3.Error as error:
            sentence = f"the journal could not be copied ({error}); nothing was changed; free space or replace the card"
            raise StoreError(StoreReason.DISK, sentence) from error
        finally:
            database.close()


def _begin(database: Database, path: Path, new_epoch: bytes) -> NewJournal:
    marks, old_epoch = database.marks(), database.epoch
    kept = _free_name(path.with_name(f"{path.name}.epoch-{old_epoch.hex()}"))
    draft = path.with_name(path.name + _DRAFT)
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    try:
        database.copy_to(draft)
        _make_durable(draft, like=path)
    except (sqlite3.Error, OSError):
        draft.unlink(missing_ok=True)  # on a full disk the daemon could write no event, and let nobody in
        raise
    draft.rename(kept)
    _sync(path.parent)
    database.begin_journal(new_epoch)
    return NewJournal(
        epoch=new_epoch,
        kept=kept,
        old_epoch=old_epoch,
        events=marks.last - marks.first + 1 if marks.last else 0,
        unsent=marks.last - marks.durable,
    )


def _free_name(path: Path) -> Path:
    """Give the name, or the first numbered one when an earlier try has left a copy."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _make_durable(path: Path, *, like: Path) -> None:
    """Give a file to whoever owns the other, and have it on the disk."""
    owner = like.stat()
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
