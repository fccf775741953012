"""One simulated door: the real synchronisation over a journal, documents and people that are simulated.

Invariant: the lock moves only for an event that the journal holds, and the record of that is kept.
Must not: check a credential; who is let in is drawn, not decided (edge/core decides at real doors).
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from doorward.fleet.journal import DoorRecord, FleetJournal
from doorward.fleet.materials import FleetMaterials, Shared
from doorward.fleet.people import Ending, Granted, Refused, Visit
from edge.telemetry import Pace, Times, worth_telling
from sync.backoff import Backoff
from sync.engine import SyncEngine
from sync.ports import Fetched, Notice, Reason, Surroundings, Uplink, UplinkError
from wire.codec import decode
from wire.command import Command, open_command
from wire.errors import WireError
from wire.event import Event
from wire.health import DeviceHealth, DeviceKind, DeviceState, Health, Way, encode_health
from wire.keys import P256Signer, PublicKey, parse_key
from wire.messages import DEVICE_BOOTSTRAP
from wire.names import Action, Assurance, ClockState, DeviceId, DoorId, DoorMode, EventKind, Step, Tenant
from wire.names import Reason as Denial
from wire.trust import TrustedKey

_MAX_BOOTSTRAP_BYTES: Final = 4096
_MAX_ROOT_BYTES: Final = 256
_EPOCH_BYTES: Final = 8
READER: Final = "qr-1"
_SOFTWARE: Final = f"{version('doorward')} simulated"
_DEVICES: Final = (
    DeviceHealth("lock", DeviceKind.LOCK, DeviceState.WORKING),
    DeviceHealth(READER, DeviceKind.READER, DeviceState.WORKING),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorParts:
    """What a simulated door is made of.

    Attributes:
        access_point: of its events.
        signer: the device's key.
        uplink: closed by `FleetDoor.run`.
        session: keeps the session with a broker while it runs; None without one.
        by_broker: tells whether batches go through the broker now.
        times: how often it reports its health.
        journal_file: where its journal goes on; None where the process's life is enough.
        chance: decides its epoch; seeded for a run that can be repeated.
    """

    tenant: Tenant
    door: DoorId
    device: DeviceId
    signer: P256Signer
    uplink: Uplink
    shared: Shared
    surroundings: Surroundings
    chance: random.Random
    session: Callable[[], Awaitable[None]] | None = None
    by_broker: Callable[[], bool] = bool
    times: Times = field(default_factory=Times)
    journal_file: Path | None = None
    access_point: str = "entry"


class FleetDoor:
    """One door.

    Args:
        parts: what it is made of.
        continues: a journal of which it holds a copy; it begins one of its own without.

    Attributes:
        journal: its events.
        materials: its documents.
        unlocks: numbers of the events for which the lock was moved.
        notice_now: what keeps synchronisation from working, None while all is well.
        ready: set once it knows its root key.
    """

    def __init__(self, parts: DoorParts, *, continues: FleetJournal | None = None) -> None:
        self.parts = parts
        self.unlocks: list[int] = []
        self.notice_now: Notice | None = None
        self.ready = asyncio.Event()
        self.journal = (
            FleetJournal(parts.device, parts.chance.randbytes(_EPOCH_BYTES), grown=self._wake, file=parts.journal_file)
            if continues is None
            else continues.copy(grown=self._wake)
        )
        self.materials = FleetMaterials(
            parts.shared, tenant=parts.tenant, door=parts.door, tell=self._tell, obey=self._obey
        )
        self._engine = SyncEngine(
            journal=self.journal,
            materials=self.materials,
            uplink=parts.uplink,
            signer=parts.signer,
            signed_time=_NoClock(),
            surroundings=parts.surroundings,
            notices=self,
        )
        self._timers: set[asyncio.TimerHandle] = set()

    async def run(self) -> None:
        """Start, and synchronise until cancelled."""
        try:
            self.materials.root = await self._bootstrap()
            self._tell(EventKind.STARTED)
            self.ready.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._engine.run())
                tasks.create_task(self._report())
                if self.parts.session is not None:
                    tasks.create_task(_keep(self.parts.session))
        finally:
            self.leave_alone()
            await self.parts.uplink.aclose()

    def notice(self, notice: Notice) -> None:
        """Keep what synchronisation says (`sync.ports.Notices`)."""
        self.notice_now = None if notice.reason is None else notice

    def visit(self, visit: Visit) -> None:
        """Let somebody come: journal the decision, move the lock, and let the rest happen in its time."""
        match visit:
            case Refused(credential, step, reason):
                self._decide(EventKind.ACCESS_DENIED, credential, step=step, reason=reason, granted=False)
            case Granted(credential, level, ending):
                rule = f"level-{level}"
                seq = self._decide(EventKind.ACCESS_GRANTED, credential, step=Step.GRANT, rule=rule, granted=True)
                self.unlocks.append(seq)
                self._later(ending)

    def leave_alone(self) -> None:
        """Let nothing happen any more of what people have begun."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def drained(self) -> bool:
        """Tell whether the cloud has every event."""
        return self.journal.durable == self.journal.last

    def record(self) -> DoorRecord:
        """Give what this door knows of itself."""
        return DoorRecord(
            tenant=self.parts.tenant,
            device=self.parts.device,
            epoch=self.journal.epoch,
            hashes=self.journal.hashes,
            unlocks=tuple(self.unlocks),
            durable=self.journal.durable,
        )

    def _wake(self) -> None:
        self._engine.wake()

    def _later(self, ending: Ending) -> None:
        loop = asyncio.get_running_loop()
        self._timers.update(loop.call_later(delay_s, self._tell, kind) for delay_s, kind in ending.events)
        # What has happened is forgotten now and then, so that the set stays as small as the number of people inside.
        self._timers = {timer for timer in self._timers if timer.when() > loop.time()}

    def _decide(
        self,
        kind: EventKind,
        credential: bytes,
        *,
        step: Step,
        granted: bool,
        reason: Denial | None = None,
        rule: str | None = None,
    ) -> int:
        elapsed_us = self.parts.chance.randint(900, 4_000)
        return self.journal.write(
            partial(
                self._event,
                kind=kind,
                step=step,
                reason=reason,
                granted=granted,
                credential=credential,
                assurance=Assurance.ROTATING,
                reader=READER,
                rule=rule,
                elapsed_us=elapsed_us,
                **self._asked_list(),
            )
        )

    def _asked_list(self) -> dict[str, Any]:
        status = self.materials.statuses.get(0)
        if status is None:
            return {}
        age_s = self.parts.surroundings.wall_ms() // 1000 - status.issued_at_s
        return {"status_sequence": status.sequence, "status_age_s": max(0, age_s)}

    def _tell(self, kind: EventKind) -> None:
        self.journal.write(partial(self._event, kind=kind))

    def _event(self, seq: int, prev: bytes, *, kind: EventKind, **told: Any) -> Event:  # noqa: ANN401 - Event's members
        held = self.materials.versions()
        return Event(
            device=self.parts.device,
            boot=1,
            seq=seq,
            wall_ms=self.parts.surroundings.wall_ms(),
            monotonic_ms=self.parts.surroundings.monotonic_ms(),
            clock=ClockState.TRUSTED,
            door=self.parts.door,
            access_point=self.parts.access_point,
            kind=kind,
            policy_version=held.policy,
            trust_version=held.trust,
            prev=prev,
            **told,
        )

    def _obey(self, data: bytes, key: TrustedKey | None, taken: int) -> int:
        """Judge one command, journal that, and act; gives the counter that counts as taken."""
        try:
            command = None if key is None else open_command(data, key.key)
        except WireError:
            command = None
        reason = self._refusal(command, taken)
        if command is None or reason is not None:
            name = None if command is None else command.command_id
            self.journal.write(partial(self._event, kind=EventKind.COMMAND_REFUSED, reason=reason, credential=name))
            return taken
        seq = self.journal.write(partial(self._event, kind=EventKind.COMMAND_EXECUTED, credential=command.command_id))
        if command.action is Action.UNLOCK:
            self.unlocks.append(seq)
        return command.counter

    def _refusal(self, command: Command | None, taken: int) -> Denial | None:
        if command is None:
            return Denial.SIGNATURE_INVALID
        if command.target != self.parts.door:
            return Denial.COMMAND_FOREIGN
        if command.counter <= taken:
            return Denial.COMMAND_REPLAYED
        expired = self.parts.surroundings.wall_ms() >= command.expires_at_s * 1000
        return Denial.COMMAND_EXPIRED if expired else None

    async def _report(self) -> None:
        """Report health as often as real doors do; a report that is lost costs nothing."""
        surroundings, times = self.parts.surroundings, self.parts.times
        started_s = surroundings.monotonic_ms() / 1000
        pace = Pace(started_s + times.least_s, times)
        while True:
            await surroundings.sleep(times.look_s)
            now_s = surroundings.monotonic_ms() / 1000
            health = await self._health(uptime_s=int(now_s - started_s))
            if pace.look(now_s, worth_telling(health)):
                with suppress(UplinkError):
                    await self.parts.uplink.report(encode_health(health))
                pace.told(now_s, worth_telling(health), surroundings.fraction())

    async def _health(self, *, uptime_s: int) -> Health:
        marks = await self.journal.marks()
        policy = self.materials.policy
        return Health(
            at_ms=self.parts.surroundings.wall_ms(),
            software=_SOFTWARE,
            uptime_s=uptime_s,
            clock=ClockState.TRUSTED,
            uncertainty_ms=0,
            mode=DoorMode.LOCKED if policy is None else policy.settings.mode,
            epoch=self.journal.epoch,
            last=marks.last,
            durable=marks.durable,
            backed_up=marks.backed_up,
            versions=self.materials.versions(),
            devices=_DEVICES,
            way=Way.MQTT if self.parts.by_broker() else Way.HTTPS,
            metrics={},
        )

    async def _bootstrap(self) -> PublicKey:
        """Ask who we are and which root key to pin, until there is an answer, as a door does that is set up."""
        backoff = Backoff()
        while True:
            try:
                found = await self.parts.uplink.fetch(
                    DEVICE_BOOTSTRAP, etag=None, query={}, max_bytes=_MAX_BOOTSTRAP_BYTES
                )
            except UplinkError as error:
                if error.reason in (Reason.NOT_ENROLLED, Reason.CLOSED):
                    raise
                backoff = backoff.failed()
                delay_s = backoff.delay_s(self.parts.surroundings.fraction(), error.retry_after_s)
                await self.parts.surroundings.sleep(delay_s)
                continue
            if isinstance(found, Fetched):
                return _root_of(found.data)


async def _keep(session: Callable[[], Awaitable[None]]) -> None:
    await session()


class _NoClock:
    """`sync.ports.SignedTime` of a door whose clock is the machine's."""

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        """Learn nothing."""


def _root_of(data: bytes) -> PublicKey:
    told = json.loads(data)
    return parse_key(decode(bytes.fromhex(told["root_key"]), field="root", max_bytes=_MAX_ROOT_BYTES), "root")
