"""A controller with the real core, the real store and the simulated lock, as one door that a test drives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING

from edge.clock import SimulatedClock
from edge.controller import Controller
from edge.core.credential import Form, Medium, PinEntry, Presentation
from edge.core.effects import Feedback
from edge.core.tap import PinEntered, PolicyReplaced, RosterReplaced, State, Tap
from edge.core.verify import Place
from edge.database import Database, Identity, Journaled
from edge.ports import Capability, LockError, ReaderError, ReaderInfo, Reason
from edge.store import Store
from firmware_adapters.simulated import SimulatedLock
from tests.support.enrolled import Card, roster_of
from tests.support.tenant import TenantKeys, p256, present
from wire.command import Command, seal_command
from wire.names import Action, Assurance, DeviceId, DoorId, EventKind, KeyPurpose
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from edge.core.memory import Memory
    from edge.database import Entry
    from edge.screens import Screen

READER = "qr-1"
SETTINGS = DoorSettings(release_time_ms=60)
CARDS = replace(SETTINGS, minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.PRINTED, pin_attempts=2)


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


class JammingLock(SimulatedLock):
    """The simulated lock, behind a relay that can be made to fail."""

    jammed = False

    async def energise(self, *, hold_ms: int, cause_seq: int) -> None:
        if self.jammed:
            raise LockError(Reason.FAULT, what="the relay does not move", remedy="look at its wires")
        await super().energise(hold_ms=hold_ms, cause_seq=cause_seq)

    async def release(self) -> None:
        if self.jammed:
            raise LockError(Reason.FAULT, what="the relay does not move", remedy="look at its wires")
        await super().release()


@dataclass
class Rig:
    """One door, running."""

    folder: Path
    keys: TenantKeys
    store: SlowStore
    lock: JammingLock
    reader: ShownReader
    controller: Controller
    events: asyncio.Queue[Journaled]

    def tap(self, index: int = 1, *, at_s: int | None = None) -> bytes:
        holder = p256("holder")
        text = present(self.keys.issue(holder, index=index), holder, at_s=int(time.time()) if at_s is None else at_s)
        self.controller.feed(Tap(Presentation(READER, Medium.QR, text, time.monotonic_ns() // 1_000_000)))
        return text

    def take(self, card: Card, *, settings: DoorSettings | None = None) -> None:
        """Put rules into force under which a card opens with its PIN, and hold the card before the reader."""
        rules = self.keys.policy_state(UTC, settings=settings or CARDS)
        self.controller.feed(PolicyReplaced(rules, None))
        self.controller.feed(RosterReplaced(roster_of(card, issued_at_s=int(time.time())), None))
        self.controller.feed(Tap(Presentation(READER, Medium.NFC, card.number, 0, Form.CARD_NUMBER)))

    def key_in(self, digits: bytes) -> None:
        self.controller.feed(PinEntered(PinEntry(READER, digits, 0)))

    def command(self, *, counter: int = 1, action: Action = Action.UNLOCK, door: str = "main") -> bytes:
        now_s = int(time.time())
        command = Command(
            command_id=bytes(16),
            target=DoorId(door),
            action=action,
            issued_at_s=now_s,
            expires_at_s=now_s + 30,
            counter=counter,
        )
        return seal_command(command, self.keys.signers[KeyPurpose.COMMAND])

    async def next_event(self, kind: EventKind) -> Journaled:
        async with asyncio.timeout(10):
            while True:
                journaled = await self.events.get()
                if journaled.event.kind is kind:
                    return journaled

    async def next_feedback(self) -> Feedback:
        """Give what is shown next, but for being told to wait: a disk that has much to do may take that long."""
        while (feedback := await self.next_shown()) is Feedback.WAIT:
            pass
        return feedback

    async def next_shown(self) -> Feedback:
        async with asyncio.timeout(10):
            return await self.reader.shown.get()

    def recalled(self) -> Memory:
        """Give what a daemon that starts now would remember."""
        identity = Identity(device=DeviceId("dev-b"), door=DoorId("main"), access_point="in")
        with contextlib.closing(Database(self._copied(), identity, new_epoch=bytes(8))) as database:
            return database.recalled

    def _copied(self) -> Path:
        """Copy the journal as a power cut would leave it."""
        copies = self.folder / "copies"
        copies.mkdir(exist_ok=True)
        for suffix in ("", "-wal"):
            shutil.copy(self.folder / f"journal.db{suffix}", copies / f"journal.db{suffix}")
        (copies / "journal.db-shm").unlink(missing_ok=True)
        return copies / "journal.db"

    def relay(self) -> list[dict[str, object]]:
        file = self.folder / "relay.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.asynccontextmanager
async def running_rig(tmp_path: Path, screens: Sequence[Screen] = ()) -> AsyncIterator[Rig]:
    """Run a door in a folder inside the block; its screens are driven by the test."""
    keys = TenantKeys("north", int(time.time()) - 100)
    identity = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
    store = SlowStore(Database(tmp_path / "journal.db", identity, new_epoch=bytes(8)), max_events=1_000)
    lock = JammingLock(str(tmp_path))
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
        screens=screens,
    )
    works = (controller.drive_lock(), controller.drive_pins(), controller.drive_feedback(READER))
    tasks = [asyncio.create_task(work) for work in works]
    yield Rig(tmp_path, keys, store, lock, reader, controller, events)
    controller.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await lock.aclose()
    await store.aclose()
