"""The store: what it says is durable is there after anything."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog

from edge.core.effects import EventDraft, ReplayMark
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.replay import horizon_of
from edge.database import REPLAY_HORIZON, Database, Document, Entry, HeadMismatchError, Identity
from edge.schema import MIGRATIONS, SchemaTooNewError, migrate
from edge.status_tables import DamagedError
from edge.store import Store, StoreError, StoreReason, open_database
from edge.synchronise import StoreJournal
from wire.batch import Acknowledgement
from wire.errors import WireError
from wire.event import CHAIN_START, chain_hash, parse_event
from wire.names import ClockState, DeviceId, DoorId, EventKind
from wire.status_list import StatusList

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

IDENTITY = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
NOW = Instant(wall_ms=1_800_000_000_000, monotonic_ms=1_000, clock=ClockState.TRUSTED)
EPOCH = b"epoch-01"


def note(kind: EventKind = EventKind.STARTED) -> Entry:
    return Entry(draft=EventDraft(kind=kind, at=NOW))


def database(path: Path, epoch: bytes = EPOCH) -> Database:
    return Database(path, IDENTITY, new_epoch=epoch)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(database(tmp_path / "journal.db"), max_events=100)
    yield opened
    await opened.aclose()


def acknowledgement(
    journal: list[bytes], durable: int, *, backed_up: int = 0, head: bytes | None = None
) -> Acknowledgement:
    own = chain_hash(journal[durable - 1]) if journal and durable else CHAIN_START
    return Acknowledgement(
        device=IDENTITY.device,
        epoch=EPOCH,
        durable=durable,
        head=own if head is None else head,
        backed_up=backed_up,
        issued_at_ms=NOW.wall_ms,
    )


def test_events_are_numbered_and_chained_across_restarts(tmp_path: Path):
    first = database(tmp_path / "journal.db")
    first.append([note(), note()])
    first.close()
    second = database(tmp_path / "journal.db", b"epoch-02")
    second.append([note()])
    rows = second.events_after(0, 10)
    second.close()
    events = [parse_event(data) for _, data in rows]
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.boot for event in events] == [1, 1, 2]
    assert [event.prev for event in events] == [CHAIN_START, chain_hash(rows[0][1]), chain_hash(rows[1][1])]
    assert second.epoch == EPOCH


async def test_appends_that_wait_together_keep_their_order(store: Store):
    done = await asyncio.gather(*(store.append(note()) for _ in range(300)))
    assert [each.seq for each in done] == list(range(1, 301))
    assert len(await store.events_after(0, 1_000)) == 300


async def test_whoever_is_cancelled_while_the_answer_comes_ends(store: Store, tmp_path: Path):
    """Else the daemon's tasks would live on after SIGTERM, whenever the store has just answered one of them."""
    asking = asyncio.create_task(store.number("unset"))
    after = asyncio.create_task(store.set_numbers({"answered": 1}))
    await asyncio.sleep(0)  # both questions are on their way
    answered = None
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        while answered is None:  # without giving the loop a turn: the first answer waits for one now
            answered = other.execute("SELECT value FROM fact_number WHERE name = 'answered'").fetchone()
    asyncio.get_running_loop().call_soon(asking.cancel)
    await after
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_mark_is_committed_with_its_event(store: Store):
    mark = ReplayMark(key=bytes(32), expires_wall_ms=5_000, expires_monotonic_ms=9_000)
    await store.append(Entry(draft=note().draft, mark=mark))
    assert await store.replay_marks() == [(bytes(32), 5_000)]
    await store.forget_marks(5_000)
    assert await store.replay_marks() == [(bytes(32), 5_000)]
    await store.forget_marks(5_001)
    assert await store.replay_marks() == []


PRESENT = Memo(MemoKind.PRESENCE, b"holder-1", (5, NOW.wall_s))


def remembered(path: Path, *memos: Memo) -> Memory:
    """Commit an event with these memos, and give what the next start recalls."""
    opened = database(path)
    opened.append([Entry(draft=note().draft, memos=memos)])
    opened.close()
    again = database(path)
    again.close()
    return again.recalled


def test_memos_are_committed_with_their_event_and_recalled_at_the_next_start(tmp_path: Path):
    command = Memo(MemoKind.COMMAND, b"", (2**63 - 1, NOW.wall_s))
    recalled = remembered(tmp_path / "journal.db", PRESENT, command)
    assert recalled == Memory().with_memos([PRESENT, command])
    assert recalled.present.get(5) == 1


def test_a_later_memo_about_the_same_thing_counts_and_none_forgets(tmp_path: Path):
    path = tmp_path / "journal.db"
    moved = replace(PRESENT, value=(6, NOW.wall_s + 1))
    assert remembered(path, PRESENT, moved) == Memory().with_memo(moved)
    assert remembered(path, replace(PRESENT, value=None)) == Memory()


def test_a_memo_is_not_written_without_its_event(tmp_path: Path):
    path = tmp_path / "journal.db"
    opened = database(path)
    bad = Entry(draft=EventDraft(kind=EventKind.STARTED, at=NOW, reader="Not A Name"), memos=(PRESENT,))
    with pytest.raises(WireError):
        opened.append([bad])
    opened.close()
    again = database(path)
    again.close()
    assert again.recalled == Memory()


def test_a_memo_of_a_newer_release_is_left_alone_and_one_that_is_none_is_damage(tmp_path: Path):
    path = tmp_path / "journal.db"
    database(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO memo VALUES (99, x'', x'01')")
    raw.close()
    later = database(path)
    later.close()
    assert later.recalled == Memory()
    for value in (b"\x00", b"", bytes(9)):
        with sqlite3.connect(path) as raw:
            raw.execute("INSERT OR REPLACE INTO memo VALUES (1, x'', ?)", (value,))
        raw.close()
        with pytest.raises(DamagedError):
            database(path)
    again, aside = open_database(path, IDENTITY, new_epoch=b"epoch-02")
    again.close()
    assert aside is not None


def test_a_database_of_the_release_before_is_brought_up_to_date(tmp_path: Path):
    path = tmp_path / "journal.db"
    raw = sqlite3.connect(path, isolation_level=None)
    migrate(raw, MIGRATIONS[:1])
    raw.execute("INSERT INTO fact_number VALUES ('boot', 7)")
    raw.close()
    opened = database(path)
    opened.close()
    assert (opened.boot, opened.recalled) == (8, Memory())


async def test_what_a_forgotten_mark_stood_for_is_remembered_by_its_time(store: Store):
    mark = ReplayMark(key=bytes(32), expires_wall_ms=NOW.wall_ms, expires_monotonic_ms=9_000)
    await store.append(Entry(draft=note().draft, mark=mark))
    await store.forget_marks(NOW.wall_ms + 1)
    assert await store.number(REPLAY_HORIZON) == horizon_of(NOW.wall_ms)
    await store.forget_marks(NOW.wall_ms + 2)
    assert await store.number(REPLAY_HORIZON) == horizon_of(NOW.wall_ms)


async def test_nothing_is_written_of_a_group_with_an_invalid_event(store: Store):
    bad = Entry(draft=EventDraft(kind=EventKind.STARTED, at=NOW, reader="Not A Name"))
    results = await asyncio.gather(store.append(bad), store.append(bad), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    journaled = await store.append(note())
    assert journaled.seq == 1


async def test_an_acknowledgement_with_another_head_changes_nothing(store: Store):
    await store.append(note())
    wrong = acknowledgement([], 1, head=bytes(32))
    with pytest.raises(HeadMismatchError):
        await store.acknowledge(wrong)
    assert (await store.marks()).durable == 0


async def test_an_acknowledgement_of_events_that_never_were_is_refused(store: Store):
    await store.append(note())
    with pytest.raises(HeadMismatchError):
        await store.acknowledge(acknowledgement([], 7, head=bytes(32)))


async def test_a_restored_cloud_may_take_its_mark_back(store: Store):
    journal = [(await store.append(note())).data for _ in range(5)]
    await store.acknowledge(acknowledgement(journal, 5))
    await store.acknowledge(acknowledgement(journal, 2))
    assert (await store.marks()).durable == 2
    await store.acknowledge(acknowledgement(journal, 0))
    assert (await store.marks()).durable == 0


async def test_acknowledged_events_are_dropped_oldest_first_beyond_the_limit(store: Store):
    journal = [(await store.append(note())).data for _ in range(150)]
    await store.acknowledge(acknowledgement(journal, 150))
    marks = await store.marks()
    assert (marks.first, marks.last, marks.durable) == (51, 150, 150)


async def test_unacknowledged_events_are_never_dropped(store: Store):
    journal = [(await store.append(note())).data for _ in range(150)]
    await store.acknowledge(acknowledgement(journal, 10))
    marks = await store.marks()
    assert marks.first == 10  # what the mark itself is checked against stays
    assert store.alarmed


async def test_backed_up_events_go_first_and_the_fact_that_others_went_is_told(store: Store):
    journal = [(await store.append(note())).data for _ in range(150)]
    await store.acknowledge(acknowledgement(journal, 140, backed_up=60))
    marks = await store.marks()
    assert (marks.first, marks.only_in_cloud, store.only_in_cloud) == (51, 0, 0)
    journal += [(await store.append(note())).data for _ in range(20)]
    await store.acknowledge(acknowledgement(journal, 170, backed_up=60))
    marks = await store.marks()
    assert (marks.first, marks.only_in_cloud, store.only_in_cloud) == (71, 10, 10)
    await store.acknowledge(acknowledgement(journal, 170, backed_up=70))
    assert store.only_in_cloud == 0


async def test_events_in_no_backup_are_kept_as_long_as_the_journal_has_room(store: Store):
    journal = [(await store.append(note())).data for _ in range(100)]
    await store.acknowledge(acknowledgement(journal, 100))
    marks = await store.marks()
    assert (marks.first, marks.only_in_cloud) == (1, 0)


async def test_the_log_tells_once_that_events_are_in_no_backup_and_once_that_they_are(store: Store):
    synchronised = StoreJournal(store, IDENTITY.device)
    with structlog.testing.capture_logs() as log:
        journal = [(await store.append(note())).data for _ in range(150)]
        await synchronised.acknowledge(acknowledgement(journal, 150))
        await synchronised.acknowledge(acknowledgement(journal, 150))
        await synchronised.acknowledge(acknowledgement(journal, 150, backed_up=50))
    assert [(entry["event"], entry.get("events")) for entry in log] == [
        ("journal_not_backed_up", 50),
        ("journal_backed_up", None),
    ]


async def test_twice_the_limit_of_unsent_events_refuses_more(store: Store):
    await asyncio.gather(*(store.append(note()) for _ in range(200)))
    with pytest.raises(StoreError) as caught:
        await store.append(note())
    assert caught.value.reason is StoreReason.FULL


async def test_a_closed_store_says_so(tmp_path: Path):
    store = Store(database(tmp_path / "journal.db"), max_events=10)
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreError) as caught:
        await store.append(note())
    assert caught.value.reason is StoreReason.CLOSED


async def test_a_full_disk_is_named_and_survived(store: Store):
    pages = store._database._connection.execute("PRAGMA page_count").fetchone()[0]
    await store.append(note())
    store._database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError) as caught:
        await asyncio.gather(*(store.append(note()) for _ in range(200)))
    assert caught.value.reason is StoreReason.FULL
    before = (await store.marks()).last
    store._database._connection.execute("PRAGMA max_page_count = 100000")
    assert (await store.append(note())).seq == before + 1


@pytest.mark.parametrize("damage", [b"this is no database at all" * 300, b""])
def test_a_damaged_file_is_set_aside_and_a_new_epoch_begins(tmp_path: Path, damage: bytes):
    path = tmp_path / "journal.db"
    path.write_bytes(damage)
    opened, aside = open_database(path, IDENTITY, new_epoch=EPOCH)
    opened.append([note()])
    opened.close()
    assert (aside is None) == (damage == b"")
    if aside is not None:
        assert aside.read_bytes() == damage


def test_a_broken_chain_is_found_at_start(tmp_path: Path):
    path = tmp_path / "journal.db"
    opened = database(path)
    opened.append([note(), note(), note()])
    opened.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE journal SET bytes = (SELECT bytes FROM journal WHERE seq = 1) WHERE seq = 2")
    raw.close()
    again, aside = open_database(path, IDENTITY, new_epoch=b"epoch-02")
    assert aside is not None
    assert again.epoch == b"epoch-02"
    again.close()


def test_unreadable_event_bytes_are_found_at_start(tmp_path: Path):
    path = tmp_path / "journal.db"
    opened = database(path)
    opened.append([note()])
    opened.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE journal SET bytes = x'00'")
    raw.close()
    again, aside = open_database(path, IDENTITY, new_epoch=b"epoch-02")
    again.close()
    assert aside is not None


def test_a_schema_of_a_newer_release_is_refused(tmp_path: Path):
    path = tmp_path / "journal.db"
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaTooNewError):
        migrate(raw)
    raw.close()
    with pytest.raises(StoreError) as caught:
        open_database(path, IDENTITY, new_epoch=EPOCH)
    assert caught.value.reason is StoreReason.SCHEMA


def test_migrating_twice_changes_nothing(tmp_path: Path):
    raw = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    migrate(raw)
    migrate(raw)
    assert raw.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    raw.close()


def test_a_database_of_the_first_release_keeps_what_it_holds(tmp_path: Path):
    raw = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    migrate(raw, MIGRATIONS[:1])
    raw.execute("INSERT INTO document VALUES ('policy', 7, x'01')")
    raw.close()
    opened = database(tmp_path / "journal.db")
    assert opened.documents(Document.POLICY) == [b"\x01"]
    assert (opened.roster_part(0), opened.roster_deltas()) == (None, [])
    opened.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(StoreError) as caught:
        open_database(tmp_path / "absent" / "journal.db", IDENTITY, new_epoch=EPOCH)
    assert caught.value.reason is StoreReason.DISK


async def test_documents_are_kept_by_version_and_bounded(store: Store):
    assert await store.documents(Document.TRUST) == []
    for version in range(1, 30):
        await store.put_document(Document.TRUST, version, b"trust %d" % version)
    assert await store.documents(Document.TRUST) == [b"trust %d" % version for version in range(29, 13, -1)]
    assert await store.documents(Document.POLICY) == []


def status(bits: bytes, sequence: int) -> StatusList:
    return StatusList(tenant="north", list_id=3, sequence=sequence, issued_at_s=1, expires_at_s=2, ttl_s=3, bits=bits)


async def test_a_status_list_is_kept_in_chunks_and_may_shrink(store: Store):
    large, small = status(bytes(range(256)) * 40, 1), status(b"\x01" * 5_000, 2)
    await store.put_status(large)
    assert (await store.statuses()).lists == [large]
    await store.put_status(small)
    assert (await store.statuses()).lists == [small]


async def test_numbers_are_kept(store: Store):
    assert await store.number("floor_ms") == 0
    await store.set_numbers({"floor_ms": 17, "known_ms": 18})
    assert (await store.number("floor_ms"), await store.number("known_ms")) == (17, 18)
