"""A door without a reader or a cloud: the real store, controller, documents and lock, fed by a test and recorded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.clock import SimulatedClock, monotonic_ms
from edge.controller import Controller
from edge.core.credential import Medium, Presentation
from edge.core.tap import Noted, State, Tap
from edge.core.verify import Place
from edge.database import Database, Identity, Journaled
from edge.materials import Materials, read_root
from edge.store import Store
from firmware_adapters.simulated import SimulatedLock
from tests.support.tenant import TenantKeys, p256, present
from tests.support.waiting import until
from wire.names import DeviceId, DoorId, EventKind, PassKind
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

READER = "qr-1"
PLACE = Place(tenant="north", site="hq", door="main")
SETTINGS = DoorSettings(release_time_ms=60)


@dataclass
class RunningDoor:
    """A door whose controller runs."""

    keys: TenantKeys
    store: Store
    controller: Controller
    materials: Materials
    events: asyncio.Queue[Journaled] = field(default_factory=asyncio.Queue)

    def show(self, text: bytes) -> None:
        """Present what a reader read."""
        self.controller.feed(Tap(Presentation(READER, Medium.QR, text, time.monotonic_ns() // 1_000_000)))

    def code(self, index: int = 1, *, kind: PassKind = PassKind.STANDARD) -> bytes:
        """Make a fresh code for a pass."""
        holder = p256("holder")
        return present(self.keys.issue(holder, index=index, kind=kind), holder, at_s=int(time.time()))

    async def tap(self, index: int = 1, *, kind: PassKind = PassKind.STANDARD) -> Journaled:
        """Present a fresh code, in a millisecond that has seen nothing else, and give the decision.

        A replay tells by the millisecond to which input an event belongs.
        """
        before_ms = monotonic_ms()
        await until(lambda: monotonic_ms() > before_ms)
        self.show(self.code(index, kind=kind))
        return await self.decided()

    async def decided(self) -> Journaled:
        """Wait for the next decision."""
        async with asyncio.timeout(10):
            while (journaled := await self.events.get()).event.granted is None:
                pass
        return journaled

    async def noted(self, kind: EventKind) -> Journaled:
        """Wait for the next event of a kind."""
        async with asyncio.timeout(10):
            while (journaled := await self.events.get()).event.kind is not kind:
                pass
        return journaled


@contextlib.asynccontextmanager
async def running_door(folder: Path, keys: TenantKeys, *, stopped: bool = True) -> AsyncIterator[RunningDoor]:
    """Run a door in a provisioned folder as the daemon does; it ends as by SIGTERM, or without a word."""
    identity = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
    store = Store(Database(folder / "journal.db", identity, new_epoch=bytes(8)), max_events=10_000)
    lock = SimulatedLock(str(folder / "door"))
    events: asyncio.Queue[Journaled] = asyncio.Queue()
    controller = Controller(
        State(place=PLACE),
        clock=SimulatedClock(folder / "offset"),
        store=store,
        lock=lock,
        readers={},
        journaled=events.put_nowait,
    )
    await controller.keep_recording()
    materials = Materials(store, PLACE, read_root(folder), controller.feed, lambda: int(time.time()))
    assert await materials.load(folder) == []
    controller.feed(Noted(EventKind.STARTED))
    driving = asyncio.create_task(controller.drive_lock())
    try:
        yield RunningDoor(keys, store, controller, materials, events)
    finally:
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        if stopped:
            controller.feed(Noted(EventKind.STOPPED))
        controller.stop()
        await store.aclose()
        await lock.aclose()


def provisioned(folder: Path) -> TenantKeys:
    """Write what provisioning leaves; gives the tenant's keys."""
    keys = TenantKeys("north", int(time.time()) - 60)
    keys.write_materials(folder, settings=SETTINGS)
    return keys
