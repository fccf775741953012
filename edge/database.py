"""The door's SQLite database: every statement the store runs, in one thread's hands.

Invariant: an event's number, hash chain, replay mark and memos are committed together (WAL, synchronous=FULL), and what
`append` returns is on the disk.
Must not: be used from two threads; `edge/store.py` owns the one that may.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from edge.core.effects import EventDraft, ReplayMark
from edge.core.memory import Memo, Memory
from edge.core.replay import horizon_of
from edge.memo_table import memos, remember
from edge.recording import Kept
from edge.recording_tables import Checkpoint, RecordingLimits, Recordings, Run
from edge.schema import migrate
from edge.status_tables import DamagedError, KeptStatuses, UndoLimits, put_status, statuses
from wire.batch import Acknowledgement
from wire.errors import WireError
from wire.event import CHAIN_START, Event, chain_hash, encode_event, parse_event
from wire.names import ClockState, DeviceId, DoorId
from wire.status_list import StatusList

KEPT_VERSIONS: Final = 16
"""Signed documents kept of each kind, so that a past decision can be explained."""
MOST_VERSIONS: Final = 64
"""Kept of each kind at most, when recordings name them; 32 MiB of the largest policies there can be."""
CHECKED_AT_OPEN: Final = 200
"""Newest events whose chain is checked at start: what a torn write could have hurt."""
KEPT_RECENT: Final = 50_000
"""Backed-up events kept for the technician at the door: as many as the kept recordings cause, about 15 MB."""
TRIM_AT_ONCE: Final = 2_000
PARTS_DROPPED: Final = 8
"""Parts of a roster that are deleted in one transaction: a megabyte, so that a grant's commit does not wait long."""
ROSTER_SNAPSHOT: Final = "roster_snapshot"
"""Which snapshot's parts are in force; 0 for none. What others there are were not finished, or are to be deleted."""
REPLAY_HORIZON: Final = "replay_horizon_ms"
"""Presentations signed up to here may have had a mark that is forgotten (edge/core/replay.py)."""


PAST_ROSTERS: Final = 256
"""Replaced deltas kept for decisions that are run again: ten days of hourly refreshes, which take 300 bytes each."""


class Document(Enum):
    """Kinds of signed documents."""

    TRUST = "trust"
    POLICY = "policy"


class HeadMismatchError(Exception):
    """An acknowledgement names another head than this journal's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who writes the journal; repeated in every event."""

    device: DeviceId
    door: DoorId
    access_point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is journaled in one transaction: an event, a grant's replay mark, what to remember, inputs to record."""

    draft: EventDraft
    mark: ReplayMark | None = None
    memos: tuple[Memo, ...] = ()
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Journaled:
    """An event as it was committed."""

    seq: int
    data: bytes
    event: Event


@dataclass(frozen=True, slots=True)
class RecordingMark:
    """Where the recordings stand: the number of the next input (None: interrupted), and of the next event."""

    expected: int | None
    next_seq: int


@dataclass(frozen=True, slots=True)
class JournalMarks:
    """How far the journal has come; sequence numbers, 0 for none. `first` is the oldest kept."""

    durable: int
    backed_up: int
    first: int
    last: int

    @property
    def only_in_cloud(self) -> int:
        """How many events were forgotten here before a backup held them: the cloud's database alone has them."""
        return max(0, self.first - 1 - self.backed_up)


class Database:
    """One open database.

    Args:
        path: the file; made when absent.
        identity: who writes.
        new_epoch: 8 random bytes for a journal that is made now.

    Attributes:
        recalled: what the door remembered when the database was opened.

    Raises:
        sqlite3.Error: it cannot be opened or written.
        DamagedError: its newest events do not chain, or a memo is none.
        SchemaTooNewError: a newer release wrote it.
    """

    def __init__(self, path: Path, identity: Identity, *, new_epoch: bytes) -> None:
        with suppress(OSError):  # what cannot be made here is complained about below
            path.touch(mode=0o600)
            path.chmod(0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
        try:
            self._open(identity, new_epoch)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, identity: Identity, new_epoch: bytes) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA wal_autocheckpoint = 1000")
        migrate(self._connection)
        self._identity = identity
        self._recordings = Recordings(self._connection, RecordingLimits())
        with self._transaction():
            run("INSERT OR IGNORE INTO fact_bytes VALUES ('epoch', ?)", (new_epoch,))
            self.set_number("boot", self.number("boot") + 1)
        self.epoch: bytes = run("SELECT value FROM fact_bytes WHERE name = 'epoch'").fetchone()[0]
        self.boot = self.number("boot")
        self._last, self._head = self._check_tail()
        self.recalled = Memory().with_memos(memos(self._connection))

    def _check_tail(self) -> tuple[int, bytes]:
        """Give number and hash of the newest event; the oldest events go first, so an empty journal is a new one."""
        last, head = 0, None
        for seq, data in self.newest_events(CHECKED_AT_OPEN):
            try:
                event = parse_event(data)
            except WireError as error:
                raise DamagedError(f"event {seq} cannot be read") from error
            if event.seq != seq or (head is not None and event.prev != head):
                raise DamagedError(f"event {seq} does not follow the one before it")
            last, head = seq, chain_hash(data)
        return last, CHAIN_START if head is None else head

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the block writes, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def number(self, name: str) -> int:
        """Give a small fact, 0 when it was never set."""
        row = self._connection.execute("SELECT value FROM fact_number WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """Keep small facts that belong together, in one transaction."""
        with self._transaction():
            for name, value in numbers.items():
                self.set_number(name, value)

    def set_number(self, name: str, value: int) -> None:
        """Keep a small fact."""
        self._connection.execute(
            "INSERT INTO fact_number VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    # --- journal -------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> list[Journaled]:
        """Commit events, replay marks and memos in one transaction; durable on return.

        Raises:
            sqlite3.Error: nothing was written.
            WireError: a draft that is no valid event; nothing was written.
        """
        with self._recordings.whole():
            return self._append(entries)

    def _append(self, entries: Sequence[Entry]) -> list[Journaled]:
        last, head = self._last, self._head
        done: list[Journaled] = []
        for entry in entries:
            last += 1
            event = self._event(entry.draft, last, head)
            data = encode_event(event)
            head = chain_hash(data)
            done.append(Journaled(last, data, event))
        with self._transaction():
            self._insert(done, [entry.mark for entry in entries if entry.mark is not None])
            remember(self._connection, (memo for entry in entries for memo in entry.memos))
            for entry in entries:
                if entry.run is not None:
                    self._recordings.add(entry.run)
        self._last, self._head = last, head
        return done

    def _insert(self, events: Sequence[Journaled], marks: Sequence[ReplayMark]) -> None:
        run = self._connection.executemany
        run("INSERT INTO journal VALUES (?, ?)", [(each.seq, each.data) for each in events])
        if marks:
            run(
                "INSERT OR REPLACE INTO replay_mark VALUES (?, ?)",
                [(mark.key, mark.expires_wall_ms) for mark in marks],
            )

    def _event(self, draft: EventDraft, seq: int, prev: bytes) -> Event:
        return Event(
            device=self._identity.device,
            boot=self.boot,
            seq=seq,
            wall_ms=max(0, draft.at.wall_ms),
            monotonic_ms=draft.at.monotonic_ms,
            clock=ClockState(draft.at.clock),
            door=self._identity.door,
            access_point=self._identity.access_point,
            kind=draft.kind,
            step=draft.step,
            reason=draft.reason,
            granted=draft.granted,
            credential=draft.credential,
            assurance=draft.assurance,
            reader=draft.reader,
            rule=draft.rule,
            policy_version=draft.policy_version,
            trust_version=draft.trust_version,
            status_sequence=draft.status_sequence,
            status_age_s=draft.status_age_s,
            elapsed_us=draft.elapsed_us,
            count=draft.count,
            prev=prev,
        )

    def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give kept events above `seq`, ascending, at most `limit`."""
        return self._connection.execute(
            "SELECT seq, bytes FROM journal WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        ).fetchall()

    def newest_events(self, limit: int) -> list[tuple[int, bytes]]:
        """Give the newest events, ascending, at most `limit`."""
        rows = self._connection.execute("SELECT seq, bytes FROM journal ORDER BY seq DESC LIMIT ?", (limit,))
        return rows.fetchall()[::-1]

    def marks(self) -> JournalMarks:
        """Give the marks as committed."""
        (first,) = self._connection.execute("SELECT min(seq) FROM journal").fetchone()
        return JournalMarks(self.number("durable"), self.number("backed_up"), first or 0, self._last)

    def acknowledge(self, acknowledgement: Acknowledgement, *, keep: int) -> None:
        """Move the marks, and forget events that may be forgotten.

        Args:
            acknowledgement: verified, of this journal.
            keep: events beyond which also those are forgotten, the oldest first, that are in no backup yet.

        Raises:
            HeadMismatchError: the head named is not this journal's own; nothing has changed.
        """
        durable = acknowledgement.durable
        if durable > self._last or self._hash_at(durable) != acknowledgement.head:
            raise HeadMismatchError
        with self._transaction():
            self.set_number("durable", durable)
            self.set_number("backed_up", acknowledgement.backed_up)
            self._trim(durable, acknowledgement.backed_up, keep)

    def _hash_at(self, seq: int) -> bytes | None:
        if seq == 0:
            return CHAIN_START
        row = self._connection.execute("SELECT bytes FROM journal WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else chain_hash(row[0])

    def _trim(self, durable: int, backed_up: int, keep: int) -> None:
        """Forget the oldest events: backed-up ones beyond KEPT_RECENT, others only beyond `keep`, and no unsent one."""
        (first,) = self._connection.execute("SELECT min(seq) FROM journal").fetchone()
        if first is None:
            return
        limit = max(min(backed_up, self._last - KEPT_RECENT), min(durable, self._last - keep))
        limit = min(limit, durable - 1, first + TRIM_AT_ONCE)
        if limit >= first:
            self._connection.execute("DELETE FROM journal WHERE seq <= ?", (limit,))

    # --- replay marks --------------------------------------------------------------------------------------

    def replay_marks(self) -> list[tuple[bytes, int]]:
        """Give the kept marks as (key, expires_wall_ms)."""
        return self._connection.execute("SELECT key, expires_wall_ms FROM replay_mark").fetchall()

    def forget_marks(self, before_wall_ms: int) -> None:
        """Forget the marks that ended before a Unix millisecond, and keep how far that reaches."""
        with self._transaction():
            rows = self._connection.execute(
                "DELETE FROM replay_mark WHERE expires_wall_ms < ? RETURNING expires_wall_ms", (before_wall_ms,)
            ).fetchall()
            horizons = [horizon_of(expires_wall_ms) for (expires_wall_ms,) in rows]
            self.set_number(REPLAY_HORIZON, max([self.number(REPLAY_HORIZON), *horizons]))

    # --- recordings ----------------------------------------------------------------------------------------

    def record(self, run: Run | None, *, restart_at: int | None) -> RecordingMark:
        """Write a run that no event has taken along.

        Args:
            run: None when nothing waits.
            restart_at: take the runs from this number on, whatever was lost before; None to go on.
        """
        if restart_at is not None:
            self._recordings.restart(restart_at)
        if run is not None:
            with self._recordings.whole(), self._transaction():
                self._recordings.add(run)
        return RecordingMark(self._recordings.expected, self._last + 1)

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, and drop the oldest recordings beyond what is kept."""
        with self._transaction():
            self._recordings.add_checkpoint(checkpoint)

    # --- documents and status lists ------------------------------------------------------------------------

    def put_document(self, kind: Document, version: int, data: bytes) -> None:
        """Keep a signed document, the newest few of its kind, and within bounds those that recordings name."""
        run = self._connection.execute
        with self._transaction():
            run("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (kind.value, version, data))
            rows = run("SELECT version FROM document WHERE kind = ? ORDER BY version DESC", (kind.value,)).fetchall()
            named = self._recordings.oldest_named(Kept(kind.value))
            kept = [each for (each,) in rows[:KEPT_VERSIONS]]
            kept += [each for (each,) in rows[KEPT_VERSIONS:MOST_VERSIONS] if named is not None and each >= named]
            run("DELETE FROM document WHERE kind = ? AND version < ?", (kind.value, kept[-1]))
            self._recordings.forget(Kept(kind.value), 0, below=kept[-1])

    def documents(self, kind: Document) -> list[bytes]:
        """Give the kept documents of a kind, the newest first."""
        rows = self._connection.execute(
            "SELECT bytes FROM document WHERE kind = ? ORDER BY version DESC", (kind.value,)
        ).fetchall()
        return [data for (data,) in rows]

    def put_status(self, status: StatusList) -> None:
        """Keep a status list, and the way back to those before it that recordings name."""
        with self._transaction():
            oldest = put_status(self._connection, status, UndoLimits())
            self._recordings.forget(Kept.STATUS, status.list_id, below=oldest)

    def statuses(self) -> KeptStatuses:
        """Load every kept status list that can be read."""
        return statuses(self._connection)

    # --- the roster ----------------------------------------------------------------------------------------

    def put_roster_part(self, number: int, data: bytes) -> None:
        """Keep a part of the next snapshot, which is not in force yet."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO roster_part VALUES (?, ?, ?)", (self.number(ROSTER_SNAPSHOT) + 1, number, data)
            )

    def settle_roster(self) -> None:
        """Put the next snapshot, now complete, in force; the deltas after the one before go."""
        with self._transaction():
            self.set_number(ROSTER_SNAPSHOT, self.number(ROSTER_SNAPSHOT) + 1)
            self._connection.execute("DELETE FROM roster_delta")
            self._connection.execute("DELETE FROM roster_past")

    def drop_roster_parts(self) -> bool:
        """Delete some parts that are not in force; tells whether there were any."""
        with self._transaction():
            done = self._connection.execute(
                "DELETE FROM roster_part WHERE rowid IN (SELECT rowid FROM roster_part WHERE snapshot != ? LIMIT ?)",
                (self.number(ROSTER_SNAPSHOT), PARTS_DROPPED),
            )
        return done.rowcount > 0

    def roster_part(self, number: int) -> bytes | None:
        """Give a part of the snapshot in force, None beyond its end."""
        row = self._connection.execute(
            "SELECT bytes FROM roster_part WHERE snapshot = ? AND number = ?", (self.number(ROSTER_SNAPSHOT), number)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def put_roster_delta(self, version: int, data: bytes, *, changed: bool, alone: bool) -> tuple[int, int]:
        """Keep a delta after the snapshot in force.

        Args:
            version: to which it leads.
            data: as signed.
            changed: False when it only refreshes; such a one is kept until the next comes.
            alone: it leads from the snapshot itself, so the others go.

        Returns:
            how many deltas are kept now, and their size in bytes.
        """
        run = self._connection.execute
        with self._transaction():
            run(
                "INSERT OR REPLACE INTO roster_past SELECT version, bytes FROM roster_delta WHERE changed = 0 OR ?",
                (alone,),
            )
            run("DELETE FROM roster_delta WHERE changed = 0 OR ?", (alone,))
            run(
                "DELETE FROM roster_past WHERE version NOT IN"
                " (SELECT version FROM roster_past ORDER BY version DESC LIMIT ?)",
                (PAST_ROSTERS,),
            )
            run("INSERT INTO roster_delta VALUES (?, ?, ?)", (version, changed, data))
            count, size_bytes = run("SELECT count(*), sum(length(bytes)) FROM roster_delta").fetchone()
        return count, size_bytes

    def roster_deltas(self) -> list[bytes]:
        """Give the deltas after the snapshot in force, in the order of their versions."""
        return [data for (data,) in self._connection.execute("SELECT bytes FROM roster_delta ORDER BY version")]

    # --- a journal's end -------------------------------------------------------------------------------------

    def copy_to(self, path: Path) -> None:
        """Write all that is committed to a fresh file.

        Raises:
            sqlite3.Error: it could not be written, whole or at all.
        """
        with closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)

    def begin_journal(self, epoch: bytes) -> None:
        """Empty the journal, and the recordings that belong to its events, and begin one with another epoch.

        Documents, lists, the roster, replay marks and what the door remembers stay in force.
        """
        with self._transaction():
            self._connection.execute("DELETE FROM journal")
            self._recordings.clear()
            self._connection.execute("UPDATE fact_bytes SET value = ? WHERE name = 'epoch'", (epoch,))
            for mark in ("durable", "backed_up"):
                self.set_number(mark, 0)
        self.epoch, self._last, self._head = epoch, 0, CHAIN_START

    def close(self) -> None:
        """Close the file; SQLite folds the write-ahead log into it."""
        self._connection.close()
