"""The tables of recordings: runs of consecutive inputs, and checkpoints from which they can be run again.

Invariant: inputs are numbered; runs that follow each other without a gap hold every input between, and the events that
these caused are in the journal, but perhaps those of the last input before a gap. What a kept recording names is kept.
Must not: begin or end a transaction when writing; the journal's does, so that inputs stand with the events they caused.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from edge.recording import Kept, Named
from edge.status_tables import forget_undo
from wire.codec import MAX_UINT

BOOT_SHIFT: Final = 32
"""Inputs of one boot are numbered from `boot << 32` on, so that no two boots share a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingLimits:
    """How much is kept; whole segments (a checkpoint and the inputs up to the next) are dropped, the oldest first.

    Attributes:
        inputs: a tap causes about six: a week of a door with a thousand taps a day.
        size_bytes: they take about 10 MB; the rest is for long inputs and large checkpoints.
    """

    inputs: int = 50_000
    size_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive inputs, joined; `number` is that of the first."""

    number: int
    count: int
    data: bytes
    named: tuple[Named, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state, before the input of this number.

    Attributes:
        first_seq: the number in the journal of the first event that the inputs from here on cause.
        data: the state, written.
    """

    number: int
    first_seq: int
    data: bytes
    named: tuple[Named, ...]


class Recordings:
    """Writes recordings, in the thread and the transactions of whoever has the connection.

    Args:
        connection: with the newest schema.
        limits: how much is kept.
    """

    def __init__(self, connection: sqlite3.Connection, limits: RecordingLimits) -> None:
        self._connection = connection
        self._run = connection.execute
        self._limits = limits
        self.expected: int | None = None
        """The number of the next input, None while nothing can be added: something before it was lost."""

    def restart(self, number: int) -> None:
        """Take inputs from this number on, whatever was lost before."""
        self.expected = number

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Take nothing more until `restart` when the block fails: an event or an input is lost with it."""
        try:
            yield
        except BaseException:
            self.expected = None
            raise

    def add(self, run: Run) -> None:
        """Write a run that follows the one before; any other is left out, and so are those that follow it."""
        if run.number != self.expected:
            self.expected = None
            return
        self._run("INSERT INTO recorded_run VALUES (?, ?, ?)", (run.number, run.count, run.data))
        self._name(run.number, run.named)
        self.expected = run.number + run.count

    def _name(self, number: int, named: Sequence[Named]) -> None:
        for each in named:
            place = (each.kind.value, each.list_id, each.version, number)
            self._run("INSERT OR IGNORE INTO recording_names VALUES (?, ?, ?, ?)", place)

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and drop what is beyond the limits."""
        inputs, size_bytes = self._before(checkpoint.number)
        self._run(
            "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)",
            (checkpoint.number, checkpoint.first_seq, inputs, size_bytes, checkpoint.data),
        )
        self._name(checkpoint.number, checkpoint.named)
        (oldest,) = self._run(
            "SELECT min(number) FROM checkpoint WHERE inputs_before >= ? AND bytes_before >= ?",
            (inputs - self._limits.inputs, size_bytes - self._limits.size_bytes),
        ).fetchone()
        self._drop_before(oldest)

    def _before(self, number: int) -> tuple[int, int]:
        """Give how many inputs and bytes were ever recorded before a number."""
        row = self._run(
            "SELECT number, inputs_before, bytes_before + length(state) FROM checkpoint ORDER BY number DESC LIMIT 1"
        ).fetchone()
        last, inputs, size_bytes = row or (0, 0, 0)
        (more, longer) = self._run(
            "SELECT coalesce(sum(count), 0), coalesce(sum(length(bytes)), 0) FROM recorded_run"
            " WHERE number >= ? AND number < ?",
            (last, number),
        ).fetchone()
        return inputs + more, size_bytes + longer

    def oldest_named(self, kind: Kept) -> int | None:
        """Give the lowest version that kept recordings name."""
        (version,) = self._run(
            "SELECT min(version) FROM recording_names WHERE kind = ? AND list = 0", (kind.value,)
        ).fetchone()
        return None if version is None else int(version)

    def forget(self, kind: Kept, list_id: int, *, below: int) -> None:
        """Drop the recordings that need a version below one: it is not kept any more."""
        (last,) = self._run(
            "SELECT max(number) FROM recording_names WHERE kind = ? AND list = ? AND version < ?",
            (kind.value, list_id, below),
        ).fetchone()
        if last is not None:
            (after,) = self._run("SELECT min(number) FROM checkpoint WHERE number > ?", (last,)).fetchone()
            self._drop_before(last + 1 if after is None else after)

    def clear(self) -> None:
        """Forget all recordings, and the way back to older status lists, which only they need."""
        self._drop_before(MAX_UINT)
        self._run("DELETE FROM status_undo")
        self._run("DELETE FROM status_undo_chunk")
        self.expected = None

    def _drop_before(self, number: int) -> None:
        self._run("DELETE FROM recorded_run WHERE number < ?", (number,))
        self._run("DELETE FROM checkpoint WHERE number < ?", (number,))
        self._run("DELETE FROM recording_names WHERE number < ?", (number,))
        # Nothing goes back to status lists that no kept recording names.
        lists = self._run(
            "SELECT list, min(version) FROM recording_names WHERE kind = ? GROUP BY list", (Kept.STATUS.value,)
        )
        for list_id, oldest in lists.fetchall():
            forget_undo(self._connection, list_id, oldest)


# --- reading ---------------------------------------------------------------------------------------------------

_EVENTS_AN_INPUT: Final = 16
"""More than any input causes; bounds what is read where a gap in the recordings follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A checkpoint, the inputs from it on without a gap, and the events that belong to them.

    Attributes:
        first_seq: the number of the first event that these inputs caused.
        end_seq: the number of the first event that belongs to the next checkpoint, or is to come.
        kept_from: the number of the oldest event that the journal still holds.
        state: the checkpoint's, written.
        runs: joined inputs.
        events: as (seq, bytes), ascending; the last may belong to no input.
        previous: the event before the first, None when it is not kept.
        next_state: the next checkpoint's when it follows without a gap: `events` are those of `runs` and no others.
    """

    number: int
    first_seq: int
    end_seq: int
    kept_from: int
    state: bytes
    runs: tuple[bytes, ...]
    events: tuple[tuple[int, bytes], ...]
    previous: bytes | None
    next_state: bytes | None


def checkpoints(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Give the kept checkpoints as (number, first_seq), ascending."""
    return connection.execute("SELECT number, first_seq FROM checkpoint ORDER BY number").fetchall()


def load_segment(connection: sqlite3.Connection, number: int) -> Segment | None:
    """Read one segment in one short transaction: a daemon goes on meanwhile, and its log can be folded.

    Returns:
        None when it was dropped.
    """
    with reading(connection):
        row = connection.execute("SELECT first_seq, state FROM checkpoint WHERE number = ?", (number,)).fetchone()
        return None if row is None else _segment(connection, number, *row)


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Let everything that the block reads be of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _segment(connection: sqlite3.Connection, number: int, first_seq: int, state: bytes) -> Segment:
    run = connection.execute
    after = run(
        "SELECT number, first_seq, state FROM checkpoint WHERE number > ? ORDER BY number LIMIT 1", (number,)
    ).fetchone()
    runs, end = _without_gap(connection, number, MAX_UINT if after is None else after[0])
    first, last = run("SELECT min(seq), max(seq) FROM journal").fetchone()
    end_seq = after[1] if after is not None else max(first_seq, (last or 0) + 1)
    previous = run("SELECT bytes FROM journal WHERE seq = ?", (first_seq - 1,)).fetchone()
    events = run(
        "SELECT seq, bytes FROM journal WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
        (first_seq, end_seq, _EVENTS_AN_INPUT * (end - number + 1)),
    )
    return Segment(
        number=number,
        first_seq=first_seq,
        end_seq=end_seq,
        kept_from=first or end_seq,
        state=state,
        runs=runs,
        events=tuple(events.fetchall()),
        previous=None if previous is None else previous[0],
        next_state=after[2] if after is not None and after[0] == end else None,
    )


def _without_gap(connection: sqlite3.Connection, number: int, below: int) -> tuple[tuple[bytes, ...], int]:
    """Give the runs from a number on up to the first gap, and the number after the last."""
    rows = connection.execute(
        "SELECT number, count, bytes FROM recorded_run WHERE number >= ? AND number < ? ORDER BY number",
        (number, below),
    )
    runs: list[bytes] = []
    for first, count, data in rows.fetchall():
        if first != number:
            break
        runs.append(data)
        number += count
    return tuple(runs), number
