"""What one event costs to journal beyond the commit itself.

The subject is the door's database appending one event: form, number, hash chain, insert, commit. Its floor is the same
bytes inserted into the same table of another file in the same folder, in a bare transaction with the same pragmas.
"""

import sqlite3
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.measure import compared, in_turn
from benchmarks.result import Result
from edge.core.effects import EventDraft, ReplayMark
from edge.core.instant import Instant
from edge.database import Database, Entry, Identity
from wire.names import Assurance, ClockState, DeviceId, DoorId, EventKind, Step

IDENTITY: Final = Identity(device=DeviceId("door-0001"), door=DoorId("main-entrance"), access_point="entry")
ROUNDS: Final = 1_000
_WARM_UP: Final = 50


class BareJournal:
    """A SQLite file with the journal's and the marks' tables, and nothing of ours around it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._run = self._connection.execute
        self._run("PRAGMA journal_mode = WAL")
        self._run("PRAGMA synchronous = FULL")
        self._run("PRAGMA wal_autocheckpoint = 1000")
        self._run("CREATE TABLE journal (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")
        self._run(
            "CREATE TABLE replay_mark (key BLOB PRIMARY KEY, expires_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID"
        )

    def commit(self, seq: int, data: bytes, mark: ReplayMark | None = None) -> None:
        """Insert one event, and one replay mark if there is one, and commit."""
        self._run("BEGIN IMMEDIATE")
        self._run("INSERT INTO journal VALUES (?, ?)", (seq, data))
        if mark is not None:
            self._run("INSERT INTO replay_mark VALUES (?, ?)", (mark.key, mark.expires_wall_ms))
        self._run("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def granted(now: Instant) -> EventDraft:
    """Give an event with every field that a granted tap fills."""
    return EventDraft(
        kind=EventKind.ACCESS_GRANTED,
        at=now,
        step=Step.GRANT,
        granted=True,
        credential=b"\x00\x00\x00\x00\x00\x2a",
        assurance=Assurance.ROTATING,
        reader="outside",
        rule="level-7",
        policy_version=17,
        trust_version=2,
        status_sequence=881,
        status_age_s=40,
        elapsed_us=2_345,
    )


def append() -> Iterable[Result]:
    """Measure `journal-append`, one event a transaction."""
    now = Instant(wall_ms=int(time.time() * 1000), monotonic_ms=1_000_000, clock=ClockState.TRUSTED)
    entry = Entry(draft=granted(now))
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as folder:
        database = Database(Path(folder, "journal.db"), IDENTITY, new_epoch=bytes(8))
        bare = BareJournal(Path(folder, "bare.db"))
        data = database.append([entry])[0].data
        floor, subject = in_turn(
            lambda turn: bare.commit(turn + 1, data),
            lambda _turn: database.append([entry]),
            rounds=ROUNDS,
            warm_up=_WARM_UP,
        )
        database.close()
        bare.close()
    yield compared("journal-append", subject, floor, must="<= 1.3 of the floor", note=_NOTE)


_NOTE = (
    "one event of a granted tap: form, hash chain, insert, commit (WAL, synchronous=FULL); floor: the same bytes in a "
    "bare transaction of another file in the same folder"
)
