"""The controller with the real core, the real store and the simulated lock: what is seen at the door."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from edge.clock import SimulatedClock
from edge.controller import LATE_COMMIT_S, SLOW_COMMIT_S, Controller
from edge.core.credential import Medium, Presentation
from edge.core.door_state import InputLine, LineState
from edge.core.effects import Feedback
from edge.core.tap import LineChanged, State, Tap
from edge.core.verify import Place
from edge.database import Database, Identity, Journaled
from edge.ports import Capability, ReaderError, ReaderInfo, Reason
from edge.store import Store
from firmware_adapters.simulated import SimulatedLock
from tests.support.tenant import TenantKeys, p256, present
from tests.support.waiting import until
from wire.names import DeviceId, DoorId, EventKind
from wire.names import Reason as Why
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.database import Entry

READER = "qr-1"
SETTINGS = DoorSettings(release_time_ms=60)


class ShownReader:
    """A reader with a display whose texts a test reads; it is driven by nobody."""

    def __init__(self) -> None:
        self.info = ReaderInfo(READER, frozenset({Medium.QR}), frozenset({Capability.DISPLAY}), 1024)
        self.shown: asyncio.Queue[Feedback] = asyncio.Queue()
        self.broken = False
        self.nothing: tuple[Presentation, ...] = ()

    async def presentations(self) -> AsyncIterator[Presentation]:
        for never in self.nothing:
            yield never

    async def opened(self) -> None:
        """Always open."""

    async def show(self, feedback: Feedback) -> None:
        if self.broken:
            raise ReaderError(Reason.LOST, what="the display is gone", remedy="plug it in")
        self.shown.put_nowait(feedback)

    async def aclose(self) -> None:
        """Nothing to release."""


class SlowStore(Store):
    """The real store behind a disk that can be made to wait."""

    held: asyncio.Event | None = None

    def append(self, entry: Entry) -> asyncio.Future[Journaled]:
        if self.held is None:
            return super().append(entry)
        return asyncio.ensure_future(self._later(entry, self.held))

    async def _later(self, entry: Entry, held: asyncio.Event) -> Journaled:
        await held.wait()
        return await super().append(entry)


@dataclass
class Rig:
    """One door, running."""

    folder: Path
    keys: TenantKeys
    store: SlowStore
    reader: ShownReader
    controller: Controller
    events: asyncio.Queue[Journaled]
    holder: object = field(default_factory=lambda: p256("holder"))

    def tap(self, index: int = 1, *, at_s: int | None = None) -> bytes:
        holder = p256("holder")
        text = present(self.keys.issue(holder, index=index), holder, at_s=int(time.time()) if at_s is None else at_s)
        self.controller.feed(Tap(Presentation(READER, Medium.QR, text, time.monotonic_ns() // 1_000_000)))
        return text

    async def next_event(self, kind: EventKind) -> Journaled:
        async with asyncio.timeout(10):
            while True:
                journaled = await self.events.get()
                if journaled.event.kind is kind:
                    return journaled

    async def next_feedback(self) -> Feedback:
        async with asyncio.timeout(10):
            return await self.reader.shown.get()

    def relay(self) -> list[dict[str, object]]:
        file = self.folder / "relay.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    keys = TenantKeys("north", int(time.time()) - 100)
    identity = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
    store = SlowStore(Database(tmp_path / "journal.db", identity, new_epoch=bytes(8)), max_events=1_000)
    lock = SimulatedLock(str(tmp_path))
    reader = ShownReader()
    events: asyncio.Queue[Journaled] = asyncio.Queue()
    controller = Controller(
        State(
            place=Place(tenant="north", site="hq", door="main"),
            trust=keys.trust_state(revoked={9}),
            policy=keys.policy_state(UTC, settings=SETTINGS),
        ),
        clock=SimulatedClock(tmp_path / "offset"),
        store=store,
        lock=lock,
        readers={READER: reader},
        journaled=events.put_nowait,
    )
    tasks = [asyncio.create_task(controller.drive_lock()), asyncio.create_task(controller.drive_feedback(READER))]
    yield Rig(tmp_path, keys, store, reader, controller, events)
    controller.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await lock.aclose()
    await store.aclose()


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
    assert await rig.next_feedback() is Feedback.WAIT
    assert not rig.relay() or all(line["action"] != "energise" for line in rig.relay())
    rig.store.held.set()
    assert await rig.next_feedback() is Feedback.GRANTED
    assert SLOW_COMMIT_S < LATE_COMMIT_S


async def test_a_commit_that_is_too_late_is_refused_and_alarmed_and_never_unlocks(rig: Rig):
    held = rig.store.held = asyncio.Event()
    rig.tap()
    assert await rig.next_feedback() is Feedback.WAIT
    assert await rig.next_feedback() is Feedback.TRY_AGAIN
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


async def test_a_broken_display_holds_nobody_up(rig: Rig):
    rig.reader.broken = True
    rig.tap()
    await rig.next_event(EventKind.ACCESS_GRANTED)
    rig.reader.broken = False
    rig.tap(index=2)
    await rig.next_event(EventKind.ACCESS_GRANTED)
    assert await rig.next_feedback() is Feedback.GRANTED


async def test_a_lock_that_cannot_be_driven_is_journaled(rig: Rig):
    await rig.controller._lock.aclose()
    rig.tap()
    await rig.next_event(EventKind.LOCK_FAILED)


async def test_a_flood_is_journaled_as_a_number(rig: Rig):
    for _ in range(2_000):
        rig.controller.feed(Tap(Presentation(READER, Medium.QR, b"garbage", 0)))
    rig.controller.feed(LineChanged(InputLine.CONTACT, LineState.ACTIVE))
    await rig.next_event(EventKind.DOOR_OPENED)
    assert (await rig.store.marks()).last < 30
