"""The controller with the real core, the real store and the simulated lock: what is seen at the door."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from edge.controller import LATE_COMMIT_S, SLOW_COMMIT_S
from edge.core.credential import Medium, Presentation
from edge.core.door_state import InputLine, LineState
from edge.core.effects import Feedback
from edge.core.state import Noted
from edge.core.tap import LineChanged, Tap
from tests.support.rig import READER, Rig, running_rig
from tests.support.waiting import until
from wire.event import parse_event
from wire.names import EventKind
from wire.names import Reason as Why

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


async def test_a_grant_is_journaled_then_the_relay_moves_then_it_relocks(rig: Rig):
    rig.tap()
    granted = await rig.next_event(EventKind.ACCESS_GRANTED)
    assert await rig.next_feedback() is Feedback.GRANTED
    await rig.next_event(EventKind.DOOR_RELOCKED)
    energised = [line for line in rig.relay() if line["action"] == "energise"]
    assert [line["cause_seq"] for line in energised] == [granted.seq]
    assert granted.event.elapsed_us is not None
    assert rig.relay()[-1]["action"] == "release"


async def test_a_replayed_code_does_not_move_the_relay(rig: Rig):
    text = rig.tap()
    await rig.next_event(EventKind.ACCESS_GRANTED)
    rig.controller.feed(Tap(Presentation(READER, Medium.QR, text, 0)))
    denied = await rig.next_event(EventKind.ACCESS_DENIED)
    assert denied.event.reason is Why.REPLAYED
    assert len([line for line in rig.relay() if line["action"] == "energise"]) == 1


async def test_a_replayed_code_is_refused_while_its_first_commit_is_still_under_way(rig: Rig):
    rig.store.held = asyncio.Event()
    text = rig.tap()
    rig.controller.feed(Tap(Presentation(READER, Medium.QR, text, 0)))
    rig.store.held.set()
    assert (await rig.next_event(EventKind.ACCESS_DENIED)).event.reason is Why.REPLAYED


async def test_a_revoked_pass_is_told_by_class_only(rig: Rig):
    rig.tap(index=9)
    assert (await rig.next_event(EventKind.ACCESS_DENIED)).event.reason is Why.REVOKED
    assert await rig.next_feedback() is Feedback.DENIED_EXPIRED


async def test_egress_does_not_wait_for_the_disk(rig: Rig):
    rig.store.held = asyncio.Event()
    rig.controller.feed(LineChanged(InputLine.REX, LineState.ACTIVE))
    await until(lambda: any(line["action"] == "energise" for line in rig.relay()))
    rig.store.held.set()
    await rig.next_event(EventKind.EGRESS)


async def test_a_slow_commit_shows_wait_and_is_carried_out_when_durable(rig: Rig):
    rig.store.held = asyncio.Event()
    rig.tap()
    assert await rig.next_shown() is Feedback.WAIT
    assert not rig.relay() or all(line["action"] != "energise" for line in rig.relay())
    rig.store.held.set()
    assert await rig.next_shown() is Feedback.GRANTED
    assert SLOW_COMMIT_S < LATE_COMMIT_S


async def test_a_commit_that_is_too_late_is_refused_and_alarmed_and_never_unlocks(rig: Rig):
    held = rig.store.held = asyncio.Event()
    rig.tap()
    assert await rig.next_shown() is Feedback.WAIT
    assert await rig.next_shown() is Feedback.TRY_AGAIN
    rig.store.held = None
    held.set()
    late = await rig.next_event(EventKind.ACCESS_GRANTED)
    rig.tap(index=2)
    second = await rig.next_event(EventKind.ACCESS_GRANTED)
    assert await rig.next_feedback() is Feedback.GRANTED
    causes = [line["cause_seq"] for line in rig.relay() if line["action"] == "energise"]
    assert late.seq not in causes
    assert second.seq in causes


async def test_a_refused_write_denies_and_is_journaled_when_the_disk_is_back(rig: Rig):
    rig.store._database._connection.execute("PRAGMA query_only = ON")
    rig.tap()
    assert await rig.next_feedback() is Feedback.TRY_AGAIN
    assert all(line["action"] != "energise" for line in rig.relay())
    rig.store._database._connection.execute("PRAGMA query_only = OFF")
    rig.tap(index=2)
    await rig.next_event(EventKind.ACCESS_GRANTED)
    await rig.next_event(EventKind.STORAGE_RESTORED)


async def test_what_is_committed_together_is_told_in_its_order(rig: Rig):
    free = threading.Event()
    busy = asyncio.create_task(rig.store._call(lambda _database: free.wait(10)))
    try:
        await asyncio.sleep(0)  # the task above comes first
        rig.tap()
        rig.controller.feed(Noted(EventKind.READER_LOST))
    finally:
        free.set()
    assert await busy
    told = [await asyncio.wait_for(rig.events.get(), 10) for _ in range(2)]
    assert [each.event.kind for each in told] == [EventKind.ACCESS_GRANTED, EventKind.READER_LOST]
    assert [each.seq for each in told] == [1, 2]


async def test_a_broken_display_holds_nobody_up(rig: Rig):
    rig.reader.broken = True
    rig.tap()
    await rig.next_event(EventKind.ACCESS_GRANTED)
    rig.reader.broken = False
    rig.tap(index=2)
    await rig.next_event(EventKind.ACCESS_GRANTED)
    assert await rig.next_feedback() is Feedback.GRANTED


async def test_a_lock_that_cannot_be_driven_is_journaled_once_and_so_is_that_it_works_again(rig: Rig):
    rig.lock.jammed = True
    for index in (1, 2):
        rig.tap(index)
        await rig.next_event(EventKind.DOOR_RELOCKED)
    assert rig.controller.state.door.alarms == {EventKind.LOCK_FAILED}
    rig.lock.jammed = False
    rig.tap(3)
    await rig.next_event(EventKind.LOCK_RESTORED)
    assert rig.controller.state.door.alarms == frozenset()
    kinds = [parse_event(data).kind for _, data in await rig.store.newest_events(100)]
    assert (kinds.count(EventKind.LOCK_FAILED), kinds.count(EventKind.LOCK_RESTORED)) == (1, 1)


async def test_what_a_wire_said_and_since_when_is_known(rig: Rig):
    assert rig.controller.lines == {}
    rig.controller.feed(LineChanged(InputLine.TAMPER, LineState.FAULT))
    said = rig.controller.lines[InputLine.TAMPER]
    assert said.state is LineState.FAULT
    assert said.since_ms <= time.time_ns() // 1_000_000
    await rig.next_event(EventKind.TAMPER)


async def test_a_flood_is_journaled_as_a_number(rig: Rig):
    for _ in range(2_000):
        rig.controller.feed(Tap(Presentation(READER, Medium.QR, b"garbage", 0)))
    rig.controller.feed(LineChanged(InputLine.CONTACT, LineState.ACTIVE))
    await rig.next_event(EventKind.DOOR_OPENED)
    assert (await rig.store.marks()).last < 30
