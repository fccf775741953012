"""The daemon of one door: the one place where core, store, adapters and synchronisation meet.

Invariant: every task belongs to one TaskGroup; when it ends, the lock is released and the journal closed.
Must not: decide, parse or retry; it wires.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge.clock import Clock, LadderClock, RealSystem, SimulatedClock, monotonic_ms
from edge.config import EdgeConfig
from edge.controller import Controller
from edge.core.effects import ReplayMark
from edge.core.replay import KEEP_MS, ReplayMarks
from edge.core.tap import LineChanged, Noted, State, Tap
from edge.core.verify import Place
from edge.database import REPLAY_HORIZON, Identity, Journaled
from edge.diagnostics import Diagnostics
from edge.explain import why
from edge.logs import log_as_json
from edge.materials import Materials, read_root
from edge.ports import Camera, InputLine, Inputs, LineState, Lock, PortError, Reader
from edge.report import Json, plain_explanation, plain_state, rfc3339
from edge.snapshots import Snapshots
from edge.store import Store, StoreError, StoreReason, open_database
from edge.synchronise import HeldMaterials, LoggedNotices, StoreJournal, plain_sync
from edge.watchdog import interval_s, notify
from firmware_adapters.catalogue import open_inputs, open_lock, open_reader
from sync.engine import SyncEngine
from sync.https_uplink import HttpsUplink, open_https_uplink
from sync.surroundings import SystemSurroundings
from wire.errors import WireError, WireReason
from wire.keys import P256Signer
from wire.names import ClockState, DeviceId, DoorId, EventKind

HOUSEKEEPING_S: Final = 30.0
INPUTS_RETRY_S: Final = 1.0

_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Sync:
    engine: SyncEngine
    uplink: HttpsUplink


class ReaderState(Enum):
    """What is known of a reader."""

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"


@dataclass(slots=True)
class _Attended:
    """A reader and how it stands."""

    reader: Reader
    state: ReaderState = ReaderState.OPENING


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a running daemon consists of."""

    config: EdgeConfig
    clock: Clock
    store: Store
    controller: Controller
    sync: _Sync | None
    diagnostics: Diagnostics
    readers: dict[str, _Attended]
    inputs: Inputs | None
    snapshots: Snapshots


def run(config: EdgeConfig) -> None:
    """Run the daemon of one door until SIGTERM or SIGINT.

    Raises:
        StoreError, PortError, AdapterError, OSError, WireError: it cannot start; the sentence says what to do.
    """
    log_as_json()
    asyncio.run(_run_until_signal(config))


async def _run_until_signal(config: EdgeConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, stop)


async def serve(config: EdgeConfig, stop: asyncio.Event) -> None:
    """Run the daemon until `stop` is set; raises as `run`."""
    async with _assembled(config) as parts:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in _works(parts)]
            await parts.diagnostics.listening.wait()
            notify("READY=1")
            _log.info("ready", door=config.device.door, device=config.device.id)
            await stop.wait()
            notify("STOPPING=1")
            for task in running:
                task.cancel()
        parts.controller.feed(Noted(EventKind.STOPPED))
        parts.controller.stop()


@contextlib.asynccontextmanager
async def _assembled(config: EdgeConfig) -> AsyncIterator[_Parts]:
    """Open everything in order; close it in the opposite one, whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_alone(config.state_folder))
        store, damaged = _open_store(config)
        stack.push_async_callback(store.aclose)
        lock = open_lock(config.lock.url)
        stack.push_async_callback(lock.aclose)
        readers = {each.id: open_reader(each.url, each.id) for each in config.readers}
        for reader in readers.values():
            stack.push_async_callback(reader.aclose)
        inputs = None if config.inputs is None else open_inputs(config.inputs.url)
        if inputs is not None:
            stack.push_async_callback(inputs.aclose)
        parts = await _wire(config, store, lock, readers, inputs)
        if parts.sync is not None:
            stack.push_async_callback(parts.sync.uplink.aclose)
        if damaged:
            parts.controller.feed(Noted(EventKind.STORAGE_FAULT))
        parts.controller.feed(Noted(EventKind.STARTED))
        yield parts


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the kernel lets go of it whatever way the process ends.

    Raises:
        StoreError: BUSY, another daemon has it: two writers would break the journal's chain.
    """
    with (folder / "daemon.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            sentence = f"another daemon runs in {folder}; stop it first (systemctl stop doorward-edge)"
            raise StoreError(StoreReason.BUSY, sentence) from error
        yield


def _open_store(config: EdgeConfig) -> tuple[Store, bool]:
    identity = Identity(
        device=DeviceId(config.device.id), door=DoorId(config.device.door), access_point=config.device.access_point
    )
    path = config.state_folder / "journal.db"
    database, aside = open_database(path, identity, new_epoch=secrets.token_bytes(8))
    if aside is not None:
        _log.error("journal_damaged", put_aside=str(aside), remedy="keep the file and send it to support")
    return Store(database, max_events=config.limits.journal_max_events), aside is not None


async def _wire(
    config: EdgeConfig, store: Store, lock: Lock, readers: dict[str, Reader], inputs: Inputs | None
) -> _Parts:
    clock = await _clock(config, store)
    place = Place(tenant=config.device.tenant, site=config.device.site, door=config.device.door)
    cameras = {name: reader for name, reader in readers.items() if isinstance(reader, Camera)}
    snapshots = Snapshots(config.state_folder, store.epoch, cameras=cameras, limits=config.snapshots)
    listeners: list[Diagnostics | Snapshots | SyncEngine] = [snapshots]

    def journaled(event: Journaled) -> None:
        for listener in listeners:
            if isinstance(listener, SyncEngine):
                listener.wake()
            else:
                listener.journaled(event)

    controller = Controller(
        State(place=place, replay=await _replay_marks(store)),
        clock=clock,
        store=store,
        lock=lock,
        readers=readers,
        journaled=journaled,
    )
    materials = Materials(store, place, read_root(config.state_folder), controller.feed, lambda: _known_s(clock))
    for fault in await materials.load(config.state_folder):
        _log.error("document_refused", field=fault.field, reason=fault.reason.value)
    sync = _synchronisation(config, store, materials, clock)
    attended = {name: _Attended(reader) for name, reader in readers.items()}
    parts_status = _Status(config, clock, store, controller, sync, attended)
    diagnostics = Diagnostics(
        config.diagnostics.socket, store, parts_status.plain, parts_status.why, snapshots.of_events
    )
    listeners.extend([diagnostics] if sync is None else [diagnostics, sync.engine])
    return _Parts(
        config=config,
        clock=clock,
        store=store,
        controller=controller,
        sync=sync,
        diagnostics=diagnostics,
        readers=attended,
        inputs=inputs,
        snapshots=snapshots,
    )


async def _clock(config: EdgeConfig, store: Store) -> Clock:
    if config.clock.offset_file is not None:
        return SimulatedClock(config.clock.offset_file)
    return LadderClock(RealSystem(), rtc=config.clock.rtc, floor_ms=await store.number("floor_ms"))


def _known_s(clock: Clock) -> int | None:
    now = clock.now()
    return None if now.clock is ClockState.SUSPECT else now.wall_s


async def _replay_marks(store: Store) -> ReplayMarks:
    """Take over the marks of the run before; its monotonic clock means nothing now, so they live a full time."""
    until = monotonic_ms() + KEEP_MS
    kept = await store.replay_marks()
    return ReplayMarks(
        {key: ReplayMark(key=key, expires_wall_ms=wall, expires_monotonic_ms=until) for key, wall in kept},
        horizon_ms=await store.number(REPLAY_HORIZON),
    )


def _synchronisation(config: EdgeConfig, store: Store, materials: Materials, clock: Clock) -> _Sync | None:
    if config.cloud is None:
        return None
    uplink = open_https_uplink(
        url=config.cloud.url, certificate=config.cloud.certificate, key=config.cloud.key, ca=config.cloud.ca
    )
    key = load_pem_private_key(config.cloud.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WireError(WireReason.UNKNOWN_ALGORITHM, str(config.cloud.key))
    engine = SyncEngine(
        journal=StoreJournal(store, DeviceId(config.device.id)),
        materials=HeldMaterials(materials),
        uplink=uplink,
        signer=P256Signer(key),
        signed_time=clock,
        surroundings=SystemSurroundings(),
        notices=LoggedNotices(),
    )
    return _Sync(engine, uplink)


@dataclass(frozen=True, slots=True)
class _Status:
    """Puts together what `doorward diag status` prints."""

    config: EdgeConfig
    clock: Clock
    store: Store
    controller: Controller
    sync: _Sync | None
    readers: dict[str, _Attended]

    async def plain(self) -> dict[str, Json]:
        """Give the daemon's state, as of now."""
        now = self.clock.now()
        marks = await self.store.marks()
        return {
            "as_of": rfc3339(now.wall_ms),
            "device": self.config.device.id,
            **plain_state(self.controller.state, now.wall_s),
            "clock": {"state": now.clock.name, "uncertainty_ms": now.uncertainty_ms},
            "journal": {
                "epoch": self.store.epoch.hex(),
                "boot": self.store.boot,
                "first": marks.first,
                "last": marks.last,
                "durable": marks.durable,
                "alarmed": self.store.alarmed,
            },
            "sync": None if self.sync is None else plain_sync(await self.sync.engine.status()),
            "lock": self.config.lock.url,
            "readers": [
                {"id": each.id, "url": each.url, "state": self.readers[each.id].state.value}
                for each in self.config.readers
            ],
        }

    def why(self, credential: str, at_ms: int | None) -> dict[str, Json]:
        """Tell what a credential would meet, now or at a Unix millisecond."""
        now = self.clock.now()
        if at_ms is not None:
            now = replace(now, wall_ms=at_ms, clock=ClockState.TRUSTED, uncertainty_ms=0)
        draft, explanation = why(self.controller.state, credential.encode(), now)
        reason = None if draft.reason is None else draft.reason.name
        told: dict[str, Json] = {"at": rfc3339(now.wall_ms), "granted": draft.granted, "reason": reason}
        return {**told, "rule": draft.rule, **plain_explanation(explanation)}


# --- the tasks ---------------------------------------------------------------------------------------------


def _works(parts: _Parts) -> list[Coroutine[None, None, None]]:
    works = [parts.controller.drive_lock(), parts.diagnostics.run(), _keep_house(parts), _feed_watchdog(parts)]
    for name, reader in parts.readers.items():
        works += [parts.controller.drive_feedback(name), _read(parts.controller, reader)]
    works.append(parts.snapshots.run())
    if parts.inputs is not None:
        works.append(_watch_inputs(parts.controller, parts.inputs))
    if parts.sync is not None:
        works.append(parts.sync.engine.run())
    return works


async def _read(controller: Controller, attended: _Attended) -> None:
    """Feed what a reader reads; that it is lost and that it is back are journaled once each."""
    reader = attended.reader
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(_await_open(controller, attended))
        while True:
            try:
                async for presentation in reader.presentations():
                    controller.feed(Tap(presentation))
            except PortError as error:
                _log.warning("reader_lost", reader=reader.info.id, reason=error.reason.value, sentence=str(error))
                if attended.state is not ReaderState.LOST:
                    controller.feed(Noted(EventKind.READER_LOST, reader.info.id))
                attended.state = ReaderState.LOST
                if opening.done():
                    opening = tasks.create_task(_await_open(controller, attended))
            else:
                break
        opening.cancel()


async def _await_open(controller: Controller, attended: _Attended) -> None:
    await attended.reader.opened()
    if attended.state is ReaderState.LOST:
        controller.feed(Noted(EventKind.READER_RESTORED, attended.reader.info.id))
    attended.state = ReaderState.OPEN


async def _watch_inputs(controller: Controller, inputs: Inputs) -> None:
    """Feed the door's wires; while they cannot be watched, that is journaled once."""
    lost = False
    while True:
        try:
            async for change in inputs.changes():
                if lost:
                    controller.feed(Noted(EventKind.INPUTS_RESTORED))
                lost = False
                controller.feed(LineChanged(change.line, change.state))
        except PortError as error:
            _log.error("inputs_lost", reason=error.reason.value, sentence=str(error))
            if not lost:
                controller.feed(Noted(EventKind.INPUTS_LOST))
                for line in (InputLine.CONTACT, InputLine.FIRE):  # nobody watches them: what they said last is no more
                    controller.feed(LineChanged(line, LineState.UNKNOWN))
            lost = True
            await asyncio.sleep(INPUTS_RETRY_S)
        else:
            return


async def _keep_house(parts: _Parts) -> None:
    """Persist the clock's floor and forget replay marks whose time is over."""
    kept_ms = parts.clock.floor_ms
    while True:
        await asyncio.sleep(HOUSEKEEPING_S)
        try:
            if parts.clock.floor_ms > kept_ms:
                kept_ms = parts.clock.floor_ms
                await parts.store.set_number("floor_ms", kept_ms)
            await parts.store.forget_marks(parts.clock.now().wall_ms - KEEP_MS)
        except StoreError as error:
            _log.warning("housekeeping", sentence=str(error))


async def _feed_watchdog(parts: _Parts) -> None:
    """Feed systemd's watchdog while this loop turns and the store answers."""
    every_s = interval_s(dict(os.environ))
    while every_s is not None:
        await asyncio.sleep(every_s)
        try:
            await parts.store.marks()
        except StoreError as error:
            _log.error("self_check", sentence=str(error))
        else:
            notify("WATCHDOG=1")
