"""Recordings on the disk: without a gap or with a visible one, bounded, and never without what they name."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from edge.database import KEPT_VERSIONS, MOST_VERSIONS, Database, Document, Identity
from edge.recording import Kept, Named
from edge.recording_tables import (
    Checkpoint,
    RecordingLimits,
    Recordings,
    Run,
    checkpoints,
    load_segment,
)
from edge.schema import migrate
from edge.status_tables import UndoLimits, put_status
from tests.edge.test_status_tables import status
from wire.names import DeviceId, DoorId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDENTITY = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
LIMITS = RecordingLimits(inputs=20, size_bytes=1_000)


def run(number: int, count: int = 1, *named: Named, data: bytes = b"run") -> Run:
    return Run(number=number, count=count, data=data, named=named)


def checkpoint(number: int, *named: Named, first_seq: int = 1, data: bytes = b"state") -> Checkpoint:
    return Checkpoint(number=number, first_seq=first_seq, data=data, named=named)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def recordings(connection: sqlite3.Connection) -> Recordings:
    return Recordings(connection, LIMITS)


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM recorded_run ORDER BY number").fetchall()]


def test_nothing_is_taken_before_the_first_restart(connection: sqlite3.Connection, recordings: Recordings):
    recordings.add(run(0))
    assert numbers(connection) == []


def test_runs_that_follow_each_other_are_taken(connection: sqlite3.Connection, recordings: Recordings):
    recordings.restart(10)
    recordings.add(run(10, 3))
    recordings.add(run(13, 1))
    assert recordings.expected == 14
    assert numbers(connection) == [10, 13]


@pytest.mark.parametrize("number", [12, 14])
def test_after_a_gap_nothing_is_taken_until_a_restart(
    connection: sqlite3.Connection, recordings: Recordings, number: int
):
    recordings.restart(10)
    recordings.add(run(10, 3))
    recordings.add(run(number))
    recordings.add(run(13))
    assert numbers(connection) == [10]
    recordings.restart(20)
    recordings.add(run(20))
    assert numbers(connection) == [10, 20]


def test_whatever_fails_with_an_event_interrupts(recordings: Recordings):
    recordings.restart(10)
    with pytest.raises(KeyError), recordings.whole():
        raise KeyError
    assert recordings.expected is None


def test_a_segment_is_read_up_to_its_first_gap(connection: sqlite3.Connection, recordings: Recordings):
    recordings.restart(10)
    recordings.add_checkpoint(checkpoint(10))
    for number in (10, 11):
        recordings.add(run(number, data=b"%d" % number))
    recordings.restart(13)
    recordings.add(run(13))
    segment = load_segment(connection, 10)
    assert segment is not None
    assert (segment.runs, segment.next_state) == ((b"10", b"11"), None)
    assert load_segment(connection, 11) is None


@pytest.mark.parametrize(("number", "follows"), [(12, True), (13, False)])
def test_the_next_checkpoint_belongs_to_a_segment_without_a_gap(
    connection: sqlite3.Connection, recordings: Recordings, number: int, *, follows: bool
):
    recordings.restart(10)
    recordings.add_checkpoint(checkpoint(10, first_seq=5))
    recordings.add(run(10, 2))
    recordings.restart(number)
    recordings.add_checkpoint(checkpoint(number, first_seq=9, data=b"next"))
    segment = load_segment(connection, 10)
    assert segment is not None
    assert (segment.first_seq, segment.end_seq) == (5, 9)
    assert segment.next_state == (b"next" if follows else None)


def fill(recordings: Recordings, segments: int, *, inputs: int, data: bytes = b"", state: bytes = b"") -> None:
    """Record segments of so many inputs, numbered from 0 on; the last has none yet."""
    for number in range(segments):
        recordings.restart(number * inputs)
        recordings.add_checkpoint(checkpoint(number * inputs, data=state))
        recordings.add(run(number * inputs, inputs, data=data))
    recordings.add_checkpoint(checkpoint(segments * inputs, data=state))


@pytest.mark.parametrize(("segments", "oldest"), [(2, 0), (3, 10), (4, 20)])
def test_whole_segments_are_dropped_beyond_the_limit_of_inputs(
    connection: sqlite3.Connection, recordings: Recordings, segments: int, oldest: int
):
    fill(recordings, segments, inputs=10)
    assert checkpoints(connection)[0] == (oldest, 1)
    assert numbers(connection)[0] == oldest


@pytest.mark.parametrize(("state_bytes", "oldest"), [(100, 0), (101, 5)])
def test_whole_segments_are_dropped_beyond_the_limit_of_bytes(
    connection: sqlite3.Connection, recordings: Recordings, state_bytes: int, oldest: int
):
    fill(recordings, 2, inputs=5, data=bytes(400), state=bytes(state_bytes))
    assert checkpoints(connection)[0][0] == oldest


def test_the_newest_checkpoint_stays_however_large(connection: sqlite3.Connection, recordings: Recordings):
    for number in (0, 5):
        recordings.restart(number)
        recordings.add_checkpoint(checkpoint(number, data=bytes(5_000)))
    assert checkpoints(connection) == [(5, 1)]


def test_recordings_go_with_a_version_that_they_name(connection: sqlite3.Connection, recordings: Recordings):
    fill(recordings, 2, inputs=5)
    recordings.add(run(10, 1, Named(Kept.POLICY, 0, 4)))
    assert recordings.oldest_named(Kept.POLICY) == 4
    assert recordings.oldest_named(Kept.TRUST) is None
    recordings.forget(Kept.POLICY, 0, below=4)
    assert [number for number, _ in checkpoints(connection)] == [0, 5, 10]
    recordings.forget(Kept.POLICY, 0, below=5)
    assert checkpoints(connection) == []
    assert numbers(connection) == []


def test_only_the_segments_up_to_the_one_that_names_it_go(connection: sqlite3.Connection, recordings: Recordings):
    recordings.restart(0)
    recordings.add_checkpoint(checkpoint(0, Named(Kept.STATUS, 2, 7)))
    recordings.add(run(0, 1, Named(Kept.STATUS, 2, 8)))
    recordings.add_checkpoint(checkpoint(1, Named(Kept.STATUS, 2, 9), Named(Kept.STATUS, 3, 1)))
    recordings.forget(Kept.STATUS, 3, below=1)
    recordings.forget(Kept.TRUST, 2, below=100)
    assert len(checkpoints(connection)) == 2
    recordings.forget(Kept.STATUS, 2, below=9)
    assert checkpoints(connection) == [(1, 1)]
    assert numbers(connection) == []


def test_the_way_back_to_status_lists_is_forgotten_with_the_recordings(connection: sqlite3.Connection):
    recordings = Recordings(connection, RecordingLimits(inputs=0))
    for sequence in (1, 2, 3):
        put_status(connection, status(sequence, b"%d" % sequence), UndoLimits())
        recordings.restart(sequence)
        recordings.add_checkpoint(checkpoint(sequence, Named(Kept.STATUS, 3, sequence)))
        recordings.add(run(sequence))
    kept = connection.execute("SELECT sequence FROM status_undo").fetchall()
    assert kept == []
    assert [number for number, _ in checkpoints(connection)] == [3]


# --- what is kept for them -------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "journal.db", IDENTITY, new_epoch=bytes(8))
    yield opened
    opened.close()


def versions(database: Database, kind: Document) -> list[int]:
    rows = database._connection.execute("SELECT version FROM document WHERE kind = ? ORDER BY version", (kind.value,))
    return [version for (version,) in rows.fetchall()]


def put(database: Database, *numbers: int) -> None:
    for number in numbers:
        database.put_document(Document.POLICY, number, b"policy %d" % number)


def test_without_recordings_the_newest_documents_are_kept(database: Database):
    put(database, *range(1, KEPT_VERSIONS + 1))
    assert versions(database, Document.POLICY)[0] == 1
    put(database, KEPT_VERSIONS + 1)
    assert versions(database, Document.POLICY)[0] == 2


def test_documents_that_recordings_name_are_kept_longer(database: Database):
    put(database, 1, 2)
    database.record(None, restart_at=5)
    database.add_checkpoint(checkpoint(5, Named(Kept.POLICY, 0, 2)))
    put(database, *range(3, MOST_VERSIONS + 2))
    assert versions(database, Document.POLICY) == list(range(2, MOST_VERSIONS + 2))
    assert checkpoints(database._connection) == [(5, 1)]


def test_but_not_for_ever_and_the_recordings_go_with_them(database: Database):
    put(database, 1)
    database.record(None, restart_at=5)
    database.add_checkpoint(checkpoint(5, Named(Kept.POLICY, 0, 1)))
    put(database, *range(2, MOST_VERSIONS + 1))
    assert checkpoints(database._connection) == [(5, 1)]
    put(database, MOST_VERSIONS + 1)
    assert checkpoints(database._connection) == []
    assert versions(database, Document.POLICY)[0] == 2
    put(database, MOST_VERSIONS + 2)
    assert len(versions(database, Document.POLICY)) == KEPT_VERSIONS


def test_a_status_list_beyond_the_way_back_takes_its_recordings_along(database: Database):
    database.put_status(status(1, b"1"))
    database.record(None, restart_at=5)
    database.add_checkpoint(checkpoint(5, Named(Kept.STATUS, 3, 1)))
    limit = UndoLimits().steps
    for sequence in range(2, limit + 2):
        database.put_status(status(sequence, b"%d" % sequence))
    assert checkpoints(database._connection) == [(5, 1)]
    database.put_status(status(limit + 2, b"more"))
    assert checkpoints(database._connection) == []


def test_the_database_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "journal.db"
    path.touch(0o644)
    Database(path, IDENTITY, new_epoch=bytes(8)).close()
    assert path.stat().st_mode & 0o777 == 0o600
    fresh = Database(tmp_path / "other.db", IDENTITY, new_epoch=bytes(8))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("other.db*")} == {0o600}
    fresh.close()
