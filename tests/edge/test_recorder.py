"""The recorder on a real store: inputs stand with the events they caused, and a gap is never hidden."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge.core.credential import Medium, Presentation
from edge.core.effects import EventDraft
from edge.core.instant import Instant
from edge.core.tap import Input, Noted, State, Tap, TimeDue
from edge.core.verify import Place
from edge.database import Database, Entry, Identity, Journaled
from edge.recorder import MOST_BYTES, SEGMENT_INPUTS, Recorder
from edge.recording import RecordingReader, RecordingWriter
from edge.recording_tables import BOOT_SHIFT, Segment, checkpoints, load_segment
from edge.store import Store
from tests.edge.test_recording import OneVersion
from wire.names import ClockState, DeviceId, DoorId, EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

IDENTITY = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
STATE = State(place=Place(tenant="north", site="hq", door="main"))
NOW = Instant(wall_ms=1_800_000_000_000, monotonic_ms=5, clock=ClockState.TRUSTED)
FIRST = 1 << BOOT_SHIFT


@dataclass(frozen=True, slots=True)
class Stranger(Noted):
    """An input that no recording knows."""


@dataclass
class Rig:
    """A recorder and what its store holds."""

    store: Store
    recorder: Recorder
    connection: sqlite3.Connection

    def take(self, event: Input) -> None:
        self.recorder.take(event, NOW)

    def append(self, kind: EventKind = EventKind.STARTED) -> asyncio.Future[Journaled]:
        appended = self.store.append(Entry(draft=EventDraft(kind=kind, at=NOW), run=self.recorder.hand_over()))
        self.recorder.watch(appended)
        return appended

    def segments(self) -> list[Segment]:
        found = [load_segment(self.connection, number) for number, _ in checkpoints(self.connection)]
        return [each for each in found if each is not None]

    def inputs(self) -> list[list[Input]]:
        """Give the recorded inputs, segment by segment."""
        reader = RecordingReader(OneVersion())
        return [[event for data in each.runs for event, _ in reader.inputs(data)] for each in self.segments()]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    path = tmp_path / "journal.db"
    store = Store(Database(path, IDENTITY, new_epoch=bytes(8)), max_events=50)
    connection = sqlite3.connect(path, isolation_level=None)
    yield Rig(store, Recorder(store), connection)
    connection.close()
    await store.aclose()


def long_tap(size: int) -> Tap:
    return Tap(Presentation("qr-1", Medium.QR, bytes(size), 5))


async def test_nothing_is_recorded_before_the_first_flush(rig: Rig):
    rig.take(TimeDue())
    await rig.append()
    assert rig.inputs() == []


async def test_inputs_are_committed_with_the_event_that_follows_them(rig: Rig):
    await rig.recorder.flush(STATE)
    rig.take(TimeDue())
    rig.take(Noted(EventKind.STARTED))
    assert rig.inputs() == [[]]
    await rig.append()
    assert rig.inputs() == [[TimeDue(), Noted(EventKind.STARTED)]]
    (segment,) = rig.segments()
    assert (segment.number, segment.first_seq, len(segment.events)) == (FIRST, 1, 1)
    assert RecordingReader(OneVersion()).state(segment.state) == STATE


async def test_what_caused_no_event_is_written_by_the_flush_and_only_then(rig: Rig):
    await rig.recorder.flush(STATE)
    written = rig.connection.execute("PRAGMA data_version").fetchone()
    await rig.recorder.flush(STATE)
    assert rig.connection.execute("PRAGMA data_version").fetchone() == written
    rig.take(TimeDue())
    await rig.recorder.flush(STATE)
    assert rig.connection.execute("PRAGMA data_version").fetchone() != written
    assert rig.inputs() == [[TimeDue()]]


async def test_a_checkpoint_knows_which_event_comes_first(rig: Rig):
    await rig.append()
    waiting = [rig.append() for _ in range(20)]
    await rig.recorder.flush(STATE)
    await asyncio.gather(*waiting)
    assert checkpoints(rig.connection) == [(FIRST, 22)]


@pytest.mark.parametrize(("inputs", "segments"), [(SEGMENT_INPUTS - 1, 1), (SEGMENT_INPUTS, 2)])
async def test_a_checkpoint_is_due_after_so_many_inputs(rig: Rig, inputs: int, segments: int):
    await rig.recorder.flush(STATE)
    for number in range(inputs):
        rig.take(TimeDue())
        if number % 500 == 499:
            await rig.recorder.flush(STATE)
    await rig.recorder.flush(STATE)
    rig.take(Noted(EventKind.STARTED))
    await rig.append()
    found = rig.inputs()
    assert [len(each) for each in found] == ([inputs + 1] if segments == 1 else [inputs, 1])
    assert (rig.segments()[0].next_state is not None) is (segments == 2)


async def test_an_input_that_cannot_be_recorded_breaks_off_until_the_next_flush(rig: Rig):
    await rig.recorder.flush(STATE)
    rig.take(TimeDue())
    await rig.append()
    rig.take(TimeDue())
    rig.take(Stranger(EventKind.STARTED))
    await rig.append()
    rig.take(TimeDue())
    await rig.recorder.flush(STATE)
    rig.take(Noted(EventKind.STARTED))
    await rig.append()
    assert rig.inputs() == [[TimeDue()], [Noted(EventKind.STARTED)]]
    assert rig.segments()[0].next_state is None


async def test_a_flood_is_not_worth_the_disk(rig: Rig):
    await rig.recorder.flush(STATE)
    empty = len(RecordingWriter().input(long_tap(70_000), NOW).data) - 70_000
    fits = long_tap(MOST_BYTES - empty + 2)  # the head of a shorter byte string is shorter by 2
    assert len(RecordingWriter().input(fits, NOW).data) == MOST_BYTES
    rig.take(fits)
    await rig.append()
    assert rig.inputs() == [[fits]]
    rig.take(TimeDue())
    await rig.append()
    assert rig.inputs() == [[fits]]
    await rig.recorder.flush(STATE)
    rig.take(TimeDue())
    await rig.append()
    assert rig.inputs() == [[fits], [TimeDue()]]


async def test_what_breaks_off_in_a_flush_begins_anew_in_it(rig: Rig):
    await rig.recorder.flush(STATE)
    rig.take(TimeDue())
    await rig.append()
    rig.take(Stranger(EventKind.STARTED))
    await rig.recorder.flush(STATE)
    rig.take(Noted(EventKind.STOPPED))
    await rig.append()
    assert rig.inputs() == [[TimeDue()], [Noted(EventKind.STOPPED)]]
    assert rig.segments()[0].next_state is None


async def test_a_flood_takes_no_memory_either(rig: Rig):
    await rig.recorder.flush(STATE)
    for _ in range(1_000):
        rig.take(long_tap(10_000))
    assert not rig.recorder.running


async def test_an_event_that_is_refused_at_once_breaks_off(rig: Rig):
    await rig.recorder.flush(STATE)
    await asyncio.gather(*(rig.append() for _ in range(100)))
    rig.take(TimeDue())
    with pytest.raises(Exception, match="twice its limit"):
        await rig.append()
    rig.take(TimeDue())
    assert rig.recorder.hand_over() is None


async def test_an_event_that_the_disk_refuses_breaks_off_and_leaves_a_gap(rig: Rig):
    await rig.recorder.flush(STATE)
    rig.take(TimeDue())
    await rig.append()
    disk = rig.store._database._connection
    disk.execute("PRAGMA query_only = ON")
    rig.take(TimeDue())
    refused = rig.append()
    rig.take(TimeDue())
    also_refused = rig.append()  # fed before anybody knows
    await asyncio.gather(refused, also_refused, return_exceptions=True)
    await rig.recorder.flush(STATE)
    assert rig.recorder.hand_over() is None
    disk.execute("PRAGMA query_only = OFF")
    await rig.append()
    await rig.recorder.flush(STATE)
    rig.take(Noted(EventKind.STOPPED))
    await rig.append()
    assert rig.inputs() == [[TimeDue()], [Noted(EventKind.STOPPED)]]
    first, second = rig.segments()
    assert (first.end_seq, first.next_state) == (3, None)
    assert second.first_seq == 3


async def test_a_lost_event_without_inputs_of_its_own_leaves_a_gap_too(rig: Rig):
    await rig.recorder.flush(STATE)
    rig.take(TimeDue())
    await rig.append()
    disk = rig.store._database._connection
    disk.execute("PRAGMA query_only = ON")
    refused = rig.append()  # the second event of one input
    await asyncio.wait([refused])
    disk.execute("PRAGMA query_only = OFF")
    await rig.recorder.flush(STATE)
    assert rig.segments()[0].next_state is None


async def test_two_boots_share_no_numbers(tmp_path: Path):
    for boot in (1, 2):
        store = Store(Database(tmp_path / "journal.db", IDENTITY, new_epoch=bytes(8)), max_events=50)
        await Recorder(store).flush(STATE)
        await store.aclose()
        assert boot == store.boot
    for connection in opened(tmp_path / "journal.db"):
        assert [number >> BOOT_SHIFT for number, _ in checkpoints(connection)] == [1, 2]


def opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()
