"""A new journal on purpose: the old one is kept, and the door forgets nothing that it decides by."""

from __future__ import annotations

import os
import resource
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.alone import alone
from edge.core.effects import EventDraft, ReplayMark
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind
from edge.database import Database, Document, Entry, Identity
from edge.new_journal import NewJournal, begin_new_journal
from edge.recording_tables import Checkpoint, Run
from edge.store import StoreError, StoreReason
from wire.batch import Acknowledgement
from wire.event import CHAIN_START, chain_hash, parse_event
from wire.names import ClockState, DeviceId, DoorId, EventKind

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
NOW = Instant(wall_ms=1_800_000_000_000, monotonic_ms=1_000, clock=ClockState.TRUSTED)
OLD, NEW = b"epoch-01", b"epoch-02"
COMMAND = Memo(MemoKind.COMMAND, b"", (17, 1_800_000_000))
NOTE = Entry(draft=EventDraft(kind=EventKind.STARTED, at=NOW))


def opened(folder: Path) -> Database:
    return Database(folder / "journal.db", IDENTITY, new_epoch=OLD)


def lived(folder: Path, count: int, *, durable: int) -> list[bytes]:
    """Let a door live: events, an acknowledgement, a document, a replay mark, a memo, a recording."""
    database = opened(folder)
    marked = replace(NOTE, mark=ReplayMark(key=b"k" * 32, expires_wall_ms=9, expires_monotonic_ms=9), memos=(COMMAND,))
    events = [each.data for each in database.append([NOTE] * (count - 1) + [marked])]
    head = chain_hash(events[durable - 1])
    told = Acknowledgement(
        device=IDENTITY.device, epoch=OLD, durable=durable, head=head, backed_up=0, issued_at_ms=NOW.wall_ms
    )
    database.acknowledge(told, keep=1_000)
    database.put_document(Document.POLICY, 3, b"policy")
    database.add_checkpoint(Checkpoint(number=1, first_seq=1, data=b"state", named=()))
    database.record(Run(number=1, count=1, data=b"input", named=()), restart_at=1)
    database.close()
    return events


def test_the_old_journal_is_kept_whole_and_what_was_not_durable_is_counted(tmp_path: Path):
    events = lived(tmp_path, 9, durable=6)
    done = begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    kept = tmp_path / f"journal.db.epoch-{OLD.hex()}"
    assert done == NewJournal(epoch=NEW, kept=kept, old_epoch=OLD, events=9, unsent=3)
    old = Database(kept, IDENTITY, new_epoch=NEW)
    assert (old.epoch, [data for _, data in old.events_after(0, 100)]) == (OLD, events)
    old.close()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", kept.name, "daemon.lock"}


def test_the_new_journal_begins_at_one_with_all_that_the_door_decides_by(tmp_path: Path):
    lived(tmp_path, 9, durable=6)
    begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    database = opened(tmp_path)
    (first,) = database.append([NOTE])
    assert (database.epoch, first.seq, parse_event(first.data).prev) == (NEW, 1, CHAIN_START)
    marks = database.marks()
    assert (marks.durable, marks.backed_up, marks.first, marks.last) == (0, 0, 1, 1)
    assert database.documents(Document.POLICY) == [b"policy"]
    assert database.replay_marks() == [(b"k" * 32, 9)]
    assert database.recalled.get(COMMAND.kind, COMMAND.key) == COMMAND.value
    database.close()
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        for table in ("recorded_run", "checkpoint", "recording_names"):
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608 - named above
    raw.close()


def test_a_second_new_journal_keeps_both_old_ones(tmp_path: Path):
    lived(tmp_path, 2, durable=1)
    first = begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    # as if the first try had been cut off after the copy
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        raw.execute("UPDATE fact_bytes SET value = ? WHERE name = 'epoch'", (OLD,))
    raw.close()
    second = begin_new_journal(tmp_path, IDENTITY, new_epoch=b"epoch-03")
    assert second.kept.name == f"{first.kept.name}-2"
    assert first.kept.exists()
    assert second.events == 0


def test_a_running_daemon_is_not_disturbed(tmp_path: Path):
    lived(tmp_path, 2, durable=1)
    with alone(tmp_path), pytest.raises(StoreError) as caught:
        begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    assert caught.value.reason is StoreReason.BUSY
    database = opened(tmp_path)
    assert database.epoch == OLD
    database.close()


def test_a_damaged_journal_is_kept_as_it_is(tmp_path: Path):
    (tmp_path / "journal.db").write_bytes(b"no database" * 1_000)
    done = begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    assert (done.damaged, done.kept, done.old_epoch) == (True, tmp_path / "journal.db.damaged-1", None)
    assert done.kept.read_bytes() == b"no database" * 1_000
    database = opened(tmp_path)
    assert database.epoch == NEW
    database.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("damaged", [False, True])
def test_what_root_has_made_belongs_to_the_doors_user(tmp_path: Path, *, damaged: bool):
    if damaged:
        (tmp_path / "journal.db").write_bytes(b"no database" * 1_000)
    else:
        lived(tmp_path, 3, durable=1)
    for path in (tmp_path, tmp_path / "journal.db"):
        os.chown(path, 12_345, 12_346)
    begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    owners = {file.name: (file.stat().st_uid, file.stat().st_gid) for file in tmp_path.iterdir()}
    assert set(owners.values()) == {(12_345, 12_346)}, owners


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path):
    lived(tmp_path, 2, durable=1)
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / "daemon.lock").symlink_to(other)
    with pytest.raises(OSError, match=r"daemon\.lock"):
        begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    assert other.read_text() == "kept"


def test_without_a_journal_there_is_nothing_to_begin_anew(tmp_path: Path):
    with pytest.raises(StoreError) as caught:
        begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    assert caught.value.reason is StoreReason.DAMAGED
    assert not (tmp_path / "journal.db").exists()


def test_a_copy_that_cannot_be_written_changes_nothing(tmp_path: Path):
    events = lived(tmp_path, 3, durable=1)
    (tmp_path / "journal.db.new-journal").mkdir()  # something that no copy can be written to
    with pytest.raises(OSError, match=r"new-journal"):
        begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    database = opened(tmp_path)
    assert (database.epoch, [data for _, data in database.events_after(0, 9)]) == (OLD, events)
    database.close()


def test_a_copy_that_the_disk_has_no_room_for_takes_no_room(tmp_path: Path):
    events = lived(tmp_path, 3, durable=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "journal.db").stat().st_size - 4096, hard))
    try:
        with pytest.raises(StoreError, match="nothing was changed"):
            begin_new_journal(tmp_path, IDENTITY, new_epoch=NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", "daemon.lock"}
    database = opened(tmp_path)
    assert (database.epoch, [data for _, data in database.events_after(0, 9)]) == (OLD, events)
    database.close()
