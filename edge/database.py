"""The door's SQLite database: every statement the store runs, in one thread's hands.

Invariant: an event's number, hash chain, replay mark and memos are committed together (WAL, synchronous=FULL), and what
`append` returns is on the disk.
Must not: be used from two threads; `edge/store.py` owns the one that may.
"""

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from edge.core.effects import EventDraft, ReplayMark
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.replay import horizon_of
from edge.schema import migrate
from wire.batch import Acknowledgement
from wire.errors import WireError
from wire.event import CHAIN_START, Event, chain_hash, encode_event, parse_event
from wire.names import ClockState, DeviceId, DoorId
from wire.status_list import StatusList

CHUNK_BYTES: Final = 4096
"""SQLite's page: a changed bit rewrites one page, not the list."""
KEPT_VERSIONS: Final = 16
"""Signed documents kept of each kind, so that a past decision can be explained."""
CHECKED_AT_OPEN: Final = 200
"""Newest events whose chain is checked at start: what a torn write could have hurt."""
KEPT_RECENT: Final = 10_000
"""Backed-up events kept for the technician at the door."""
TRIM_AT_ONCE: Final = 2_000
REPLAY_HORIZON: Final = "replay_horizon_ms"
"""Presentations signed up to here may have had a mark that is forgotten (edge/core/replay.py)."""


class Document(Enum):
    """Kinds of signed documents."""

    TRUST = "trust"
    POLICY = "policy"


class DamagedError(Exception):
    """The database is not what this program wrote: a broken chain or an unreadable page."""


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
    """What is to be journaled in one transaction: an event, for a grant its replay mark, and what to remember."""

    draft: EventDraft
    mark: ReplayMark | None = None
    memos: tuple[Memo, ...] = ()


@dataclass(frozen=True, slots=True)
class Journaled:
    """An event as it was committed."""

    seq: int
    data: bytes
    event: Event


@dataclass(frozen=True, slots=True)
class JournalMarks:
    """How far the journal has come; sequence numbers, 0 for none. `first` is the oldest kept."""

    durable: int
    backed_up: int
    first: int
    last: int


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
        with self._transaction():
            run("INSERT OR IGNORE INTO fact_bytes VALUES ('epoch', ?)", (new_epoch,))
            self.set_number("boot", self.number("boot") + 1)
        self.epoch: bytes = run("SELECT value FROM fact_bytes WHERE name = 'epoch'").fetchone()[0]
        self.boot = self.number("boot")
        self._last, self._head = self._check_tail()
        self.recalled = Memory().with_memos(self._memos())

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
        last, head = self._last, self._head
        done: list[Journaled] = []
        for entry in entries:
            last += 1
            event = self._event(entry.draft, last, head)
            data = encode_event(event)
            head = chain_hash(data)
            done.append(Journaled(last, data, event))
        self._commit(done, entries)
        self._last, self._head = last, head
        return done

    def _commit(self, events: Sequence[Journaled], entries: Sequence[Entry]) -> None:
        marks = [entry.mark for entry in entries if entry.mark is not None]
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO journal VALUES (?, ?)", [(each.seq, each.data) for each in events]
            )
            if marks:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO replay_mark VALUES (?, ?)",
                    [(mark.key, mark.expires_wall_ms) for mark in marks],
                )
            self._remember(memo for entry in entries for memo in entry.memos)

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
        """Move the marks and trim the journal to about `keep` events where the marks allow it.

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
        """Forget the oldest events: backed-up ones beyond KEPT_RECENT, acknowledged ones beyond `keep`."""
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

    # --- memos ---------------------------------------------------------------------------------------------

    def _remember(self, memos: Iterable[Memo]) -> None:
        """Write memos in their order: a later one about the same thing counts."""
        for memo in memos:
            place = (int(memo.kind), memo.key)
            if memo.value is None:
                self._connection.execute("DELETE FROM memo WHERE kind = ? AND key = ?", place)
            else:
                value = struct.pack(f">{len(memo.value)}q", *memo.value)
                self._connection.execute("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", (*place, value))

    def _memos(self) -> Iterator[Memo]:
        """Give the kept memos; kinds that only a newer release knows are left where they are."""
        known = {int(kind): kind for kind in MemoKind}
        for number, key, value in self._connection.execute("SELECT kind, key, value FROM memo"):
            if number in known:
                yield Memo(known[number], key, _numbers(value))

    # --- documents and status lists ------------------------------------------------------------------------

    def put_document(self, kind: Document, version: int, data: bytes) -> None:
        """Keep a signed document, and the newest few of its kind."""
        run = self._connection.execute
        with self._transaction():
            run("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (kind.value, version, data))
            run(
                "DELETE FROM document WHERE kind = ? AND version NOT IN"
                " (SELECT version FROM document WHERE kind = ? ORDER BY version DESC LIMIT ?)",
                (kind.value, kind.value, KEPT_VERSIONS),
            )

    def documents(self, kind: Document) -> list[bytes]:
        """Give the kept documents of a kind, the newest first."""
        rows = self._connection.execute(
            "SELECT bytes FROM document WHERE kind = ? ORDER BY version DESC", (kind.value,)
        ).fetchall()
        return [data for (data,) in rows]

    def put_status(self, status: StatusList) -> None:
        """Keep a status list; only chunks that changed are written."""
        run = self._connection.execute
        starts = range(0, len(status.bits), CHUNK_BYTES)
        with self._transaction():
            known = dict(run("SELECT number, bytes FROM status_chunk WHERE list = ?", (status.list_id,)).fetchall())
            chunks = [(number, status.bits[start : start + CHUNK_BYTES]) for number, start in enumerate(starts)]
            self._connection.executemany(
                "INSERT OR REPLACE INTO status_chunk VALUES (?, ?, ?)",
                [(status.list_id, number, data) for number, data in chunks if known.get(number) != data],
            )
            run("DELETE FROM status_chunk WHERE list = ? AND number >= ?", (status.list_id, len(chunks)))
            run(
                "INSERT OR REPLACE INTO status_list VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    status.list_id,
                    status.tenant,
                    status.sequence,
                    status.issued_at_s,
                    status.expires_at_s,
                    status.ttl_s,
                    len(status.bits),
                ),
            )

    def statuses(self) -> list[StatusList]:
        """Load every kept status list.

        Raises:
            DamagedError: chunks are missing.
        """
        return [self._status(row) for row in self._connection.execute("SELECT * FROM status_list").fetchall()]

    def _status(self, row: tuple[int, str, int, int, int, int, int]) -> StatusList:
        list_id, tenant, sequence, issued_at_s, expires_at_s, ttl_s, size_bytes = row
        chunks = self._connection.execute(
            "SELECT bytes FROM status_chunk WHERE list = ? ORDER BY number", (list_id,)
        ).fetchall()
        bits = b"".join([chunk for (chunk,) in chunks])
        if len(bits) != size_bytes:
            raise DamagedError(f"status list {list_id} has {len(bits)} of {size_bytes} bytes")
        return StatusList(
            tenant=tenant,
            list_id=list_id,
            sequence=sequence,
            issued_at_s=issued_at_s,
            expires_at_s=expires_at_s,
            ttl_s=ttl_s,
            bits=bits,
        )

    def close(self) -> None:
        """Close the file; SQLite folds the write-ahead log into it."""
        self._connection.close()


def _numbers(value: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(f">{len(value) // 8 or 1}q", value)
    except struct.error as error:
        raise DamagedError("a memo cannot be read") from error
