"""The daemon of one door: the one place where core, store, adapters and synchronisation meet.

Invariant: every task belongs to one TaskGroup; when it ends, the lock is released and the journal closed.
Must not: decide, parse or retry; it wires.
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge.alone import alone
from edge.answers import Answers
from edge.attend import Attended, AttendedInputs, attend_display, attend_inputs, attend_reader
from edge.clock import Clock, LadderClock, RealSystem, SimulatedClock, monotonic_ms
from edge.config import CloudConfig, DeviceConfig, DisplayConfig, EdgeConfig
from edge.controller import Controller
from edge.core.door_state import recalled
from edge.core.effects import ReplayMark
from edge.core.memory import MemoKind
from edge.core.orders import recalled as recalled_orders
from edge.core.replay import KEEP_MS, ReplayMarks
from edge.core.tap import Noted, State
from edge.core.verify import Place
from edge.database import REPLAY_HORIZON, Identity, Journaled
from edge.diagnostics import Diagnostics
from edge.errands import Errands
from edge.logs import log_as_json
from edge.machine import measure
from edge.materials import Materials, read_root
from edge.ports import Camera, Display, Home, InputLine, InputsError, Lock, Reader, Reason
from edge.recorder import FLUSHED_EVERY_S
from edge.report import Json
from edge.screens import Screen
from edge.snapshots import Snapshots
from edge.store import JOURNAL_FILE, Store, open_database
from edge.synchronise import (
    CommandInlet,
    HeldMaterials,
    LoggedNotices,
    StoreJournal,
    plain_sync,
    plain_way,
    reported,
)
from edge.telemetry import Observed, Telemetry
from edge.upkeep import FLOOR, feed_watchdog, keep_house, recall_known
from edge.watchdog import notify
from firmware_adapters.catalogue import (
    check_all_inputs,
    named_wires,
    open_display,
    open_inputs,
    open_lock,
    open_reader,
)
from sync.engine import SyncEngine
from sync.failover import FailoverUplink
from sync.https_uplink import HttpsUplink, open_https_uplink
from sync.ports import Uplink
from sync.surroundings import SystemSurroundings
from sync.tasks import end
from wire.errors import WireError, WireReason
from wire.health import Way
from wire.keys import P256Signer
from wire.names import Action, ClockState, DeviceId, DoorId, EventKind, Tenant

_LOCKS_OUT: Final = (
    "in the cloud, give the door an access level that admits at some time, or order that nobody is admitted; until"
    " then the rules it has stay in force, and a door without any admits nobody and lets everybody out"
)

_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Sync:
    engine: SyncEngine
    uplink: Uplink
    broker: FailoverUplink | None
    broker_missing: str | None
    telemetry: Telemetry

    async def plain(self) -> dict[str, Json]:
        """Give all that `doorward diag status` tells of it."""
        way = plain_way(None if self.broker is None else self.broker.status, self.broker_missing)
        return {**plain_sync(await self.engine.status()), **way, "health": self.telemetry.plain()}

    def works(self) -> list[Coroutine[None, None, None]]:
        """Give what has to run."""
        works = [self.engine.run(), self.telemetry.run()]
        return works if self.broker is None else [*works, self.broker.run()]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a running daemon consists of."""

    config: EdgeConfig
    clock: Clock
    store: Store
    controller: Controller
    sync: _Sync | None
    diagnostics: Diagnostics
    readers: dict[str, Attended[Reader]]
    inputs: Sequence[AttendedInputs]
    displays: Mapping[str, Attended[Display]]
    screens: Sequence[Screen]
    snapshots: Snapshots


@unique
class Ending(Enum):
    """Why the daemon ended."""

    STOPPED = "stopped"
    RESTART = "restart"


def run(config: EdgeConfig) -> Ending:
    """Run the daemon of one door until SIGTERM or SIGINT, or until a command orders that it is started again.

    Raises:
        StoreError, PortError, AdapterError, OSError, WireError: it cannot start; the sentence says what to do.
    """
    log_as_json()
    return asyncio.run(_run_until_signal(config))


async def _run_until_signal(config: EdgeConfig) -> Ending:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await serve(config, stop)


async def serve(config: EdgeConfig, stop: asyncio.Event) -> Ending:
    """Run the daemon until `stop` is set or a command ends it; raises as `run`."""
    errands = Errands()
    async with serving(config, errands):
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, errands.restart)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
    return Ending.STOPPED if stop.is_set() else Ending.RESTART


@contextlib.asynccontextmanager
async def serving(config: EdgeConfig, errands: Errands | None = None) -> AsyncIterator[Controller]:
    """Run the daemon inside the block, which gets its inlet; raises as `run`.

    Args:
        config: of the door.
        errands: where it is told that a command ordered a restart; the block ends for it.
    """
    async with _assembled(config, errands or Errands()) as parts:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in _works(parts)]
            await parts.diagnostics.listening.wait()
            notify("READY=1")
            _log.info("ready", door=config.device.door, device=config.device.id)
            try:
                yield parts.controller
            finally:
                notify("STOPPING=1")
                await end(running)
        parts.controller.feed(Noted(EventKind.STOPPED))
        parts.controller.stop()


@contextlib.asynccontextmanager
async def _assembled(config: EdgeConfig, errands: Errands) -> AsyncIterator[_Parts]:
    """Open everything in order; close it in the opposite one, whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(alone(config.state_folder))
        store, damaged = _open_store(config)
        stack.push_async_callback(store.aclose)
        lock = open_lock(config.lock.url)
        stack.push_async_callback(lock.aclose)
        readers = {each.id: open_reader(each.url, each.id, _home(config)) for each in config.readers}
        for reader in readers.values():
            stack.push_async_callback(reader.aclose)
        inputs = _inputs(config)
        for each in inputs:
            stack.push_async_callback(each.aclose)
            _open_at_start(each)
        screens = [_screen(config, each) for each in config.displays]
        for screen in screens:
            stack.push_async_callback(screen.display.aclose)
        parts = await _wire(config, store, lock, readers, inputs, screens, errands)
        if parts.sync is not None:
            stack.push_async_callback(parts.sync.uplink.aclose)
        if damaged:
            parts.controller.feed(Noted(EventKind.STORAGE_FAULT))
        parts.controller.feed(Noted(EventKind.STARTED))
        yield parts


def _inputs(config: EdgeConfig) -> list[AttendedInputs]:
    check_all_inputs(each.url for each in config.inputs)
    return [
        AttendedInputs(name, url, frozenset(map(InputLine, named_wires(url))), partial(open_inputs, url))
        for name, url in config.inputs_by_id.items()
    ]


def _screen(config: EdgeConfig, display: DisplayConfig) -> Screen:
    """Make a display's screen; at rest it names the door."""
    device = open_display(display.url, display.id)
    return Screen(device, rest=(config.device.door,), readers=frozenset(display.readers))


def _open_at_start(inputs: AttendedInputs) -> None:
    """Open inputs; a board that is not there yet keeps no door from working, one that can never work is refused."""
    try:
        inputs.open()
    except InputsError as error:
        if error.reason is Reason.UNSUPPORTED:
            raise


def _home(config: EdgeConfig) -> Home:
    device = config.device
    return Home(state_folder=config.state_folder, tenant=device.tenant, site=device.site, door=device.door)


def _open_store(config: EdgeConfig) -> tuple[Store, bool]:
    identity = Identity(
        device=DeviceId(config.device.id), door=DoorId(config.device.door), access_point=config.device.access_point
    )
    path = config.state_folder / JOURNAL_FILE
    database, aside = open_database(path, identity, new_epoch=secrets.token_bytes(8))
    if aside is not None:
        _log.error("journal_damaged", put_aside=str(aside), remedy="keep the file and send it to support")
    return Store(database, max_events=config.limits.journal_max_events), aside is not None


async def _wire(
    config: EdgeConfig,
    store: Store,
    lock: Lock,
    readers: dict[str, Reader],
    inputs: Sequence[AttendedInputs],
    screens: Sequence[Screen],
    errands: Errands,
) -> _Parts:
    clock = await _clock(config, store)
    place = Place(tenant=config.device.tenant, site=config.device.site, door=config.device.door)
    cameras = {name: reader for name, reader in readers.items() if isinstance(reader, Camera)}
    snapshots = Snapshots(config.state_folder, store.epoch, cameras=cameras, limits=config.snapshots)
    listeners: list[Diagnostics | Snapshots | SyncEngine] = [snapshots]
    controller = Controller(
        await _first_state(config, store, place, snapshots),
        clock=clock,
        store=store,
        lock=lock,
        readers=readers,
        journaled=partial(_tell, listeners),
        screens=screens,
        errands=errands,
    )
    await controller.keep_recording()
    materials = Materials(store, place, read_root(config.state_folder), controller.feed, lambda: _known_s(clock))
    await _load(materials, config.state_folder)
    held = HeldMaterials(materials, CommandInlet(controller.deliver, _last_command(store)))
    attended = {name: Attended(reader) for name, reader in readers.items()}
    displays = {screen.display.info.id: Attended(screen.display) for screen in screens}
    measured = partial(measure, config.state_folder)
    observed = Observed(clock, store, controller, attended, inputs, displays, held.versions, measured)
    sync = _synchronisation(config, held, observed)
    told = None if sync is None else sync.plain
    errands.take_pictures = snapshots.take
    if sync is not None:
        errands.ask_cloud = sync.engine.refresh
    answers = Answers(config, clock, store, controller, materials, attended, inputs, displays, told)
    diagnostics = Diagnostics(
        config.diagnostics.socket, store, answers.status, answers.why, answers.deliver, snapshots.of_events
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
        displays=displays,
        screens=screens,
        snapshots=snapshots,
    )


async def _first_state(config: EdgeConfig, store: Store, place: Place, snapshots: Snapshots) -> State:
    """Give what a daemon begins with: what its store recalls, and what the door is equipped with."""
    return State(
        place=place,
        replay=await _replay_marks(store),
        memory=store.recalled,
        door=recalled(store.recalled),
        orders=recalled_orders(store.recalled),
        unequipped=_unequipped(config, snapshots),
    )


def _tell(listeners: Sequence[Diagnostics | Snapshots | SyncEngine], event: Journaled) -> None:
    for listener in listeners:
        if isinstance(listener, SyncEngine):
            listener.wake()
        else:
            listener.journaled(event)


def _last_command(store: Store) -> int:
    """Give the counter of the last command that the journal knows."""
    last, *_ = store.recalled.get(MemoKind.COMMAND, b"") or (0,)
    return last


def _unequipped(config: EdgeConfig, snapshots: Snapshots) -> frozenset[Action]:
    """Give the commands that nothing at this door can carry out."""
    lacking = {Action.SNAPSHOT: not snapshots.kept, Action.REFRESH: config.cloud is None}
    return frozenset(action for action, lacks in lacking.items() if lacks)


async def _load(materials: Materials, folder: Path) -> None:
    """Put the documents in force that are here, and log those that are refused."""
    for fault in await materials.load(folder):
        remedy = _LOCKS_OUT if fault.reason is WireReason.LOCKS_OUT else "see `doorward diag status`"
        _log.error("document_refused", field=fault.field, reason=fault.reason.value, remedy=remedy)


async def _clock(config: EdgeConfig, store: Store) -> Clock:
    if config.clock.offset_file is not None:
        return SimulatedClock(config.clock.offset_file)
    floor_ms, known = await store.number(FLOOR), await recall_known(store)
    return LadderClock(RealSystem(), rtc=config.clock.rtc, floor_ms=floor_ms, known=known)


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


def _synchronisation(config: EdgeConfig, materials: HeldMaterials, observed: Observed) -> _Sync | None:
    if config.cloud is None:
        return None
    broker, missing = _failover(config.device, config.cloud)
    uplink = _https(config.cloud) if broker is None else broker
    key = load_pem_private_key(config.cloud.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WireError(WireReason.UNKNOWN_ALGORITHM, str(config.cloud.key))
    engine = SyncEngine(
        journal=StoreJournal(observed.store, DeviceId(config.device.id)),
        materials=materials,
        uplink=uplink,
        signer=P256Signer(key),
        signed_time=observed.clock,
        surroundings=SystemSurroundings(),
        notices=LoggedNotices(),
    )
    telemetry = Telemetry(
        observed,
        lambda: Way.HTTPS if broker is None else broker.status.way,
        partial(reported, uplink),
        SystemSurroundings().fraction,
    )
    return _Sync(engine, uplink, broker, missing, telemetry)


def _https(cloud: CloudConfig) -> HttpsUplink:
    return open_https_uplink(url=cloud.url, certificate=cloud.certificate, key=cloud.key, ca=cloud.ca)


def _failover(device: DeviceConfig, cloud: CloudConfig) -> tuple[FailoverUplink | None, str | None]:
    """Join both ways to the cloud; without a broker there is one way, and why, should a broker be named."""
    if cloud.broker is None:
        return None, None
    try:
        from sync.mqtt_line import MqttLine  # noqa: PLC0415 - an optional package
        from sync.mqtt_session import Broker  # noqa: PLC0415
    except ImportError as error:
        missing = f"the package {error.name} is missing; install it with: pip install 'doorward[mqtt]'"
        _log.error("broker_unusable", broker=cloud.broker, sentence=missing)
        return None, missing
    broker = Broker(
        url=cloud.broker,
        tenant=Tenant(device.tenant),
        device=DeviceId(device.id),
        certificate=cloud.certificate,
        key=cloud.key,
        ca=cloud.ca,
    )
    return FailoverUplink(MqttLine(broker), _https(cloud), SystemSurroundings(), LoggedNotices()), None


# --- the tasks ---------------------------------------------------------------------------------------------


def _works(parts: _Parts) -> list[Coroutine[None, None, None]]:
    controller = parts.controller
    works = [controller.drive_lock(), controller.drive_pins(), parts.diagnostics.run(), parts.snapshots.run()]
    works += [keep_house(parts.store, parts.clock), feed_watchdog(parts.store)]
    works.append(_keep_recording(controller))
    for name, attended in parts.readers.items():
        works += [controller.drive_feedback(name), attend_reader(controller, attended)]
    for screen in parts.screens:
        works += [screen.drive(), attend_display(controller, parts.displays[screen.display.info.id], screen)]
    works += [attend_inputs(controller, each) for each in parts.inputs]
    if parts.sync is not None:
        works += parts.sync.works()
    return works


async def _keep_recording(controller: Controller) -> None:
    while True:
        await asyncio.sleep(FLUSHED_EVERY_S)
        await controller.keep_recording()
