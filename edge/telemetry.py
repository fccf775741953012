"""Tell the cloud every minute how this door is, and soon after something changed that people care about.

Invariant: a report that cannot be sent is forgotten, its loss is logged once; nothing waits for one.
Must not: decide anything, or speak of people.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final, TypeAlias

import structlog

from edge.attend import Attended, AttendedInputs
from edge.attend import DeviceState as Attention
from edge.clock import Clock, monotonic_ms
from edge.controller import Controller
from edge.core.outcome import settings_of
from edge.ports import Camera, Display, PortError, Reader, Reason
from edge.report import Json, rfc3339
from edge.store import Store, StoreError
from wire.errors import WireError
from wire.health import (
    MAX_ALARMS,
    MAX_DEVICES,
    DeviceHealth,
    DeviceKind,
    DeviceState,
    Health,
    Way,
    encode_health,
)
from wire.names import EventKind
from wire.versions import Versions

_SPREAD: Final = 0.1
"""Doors that started together do not report together for ever: every 54 to 66 s."""
_MARKS_S: Final = 1.5
_GONE: Final = frozenset({Reason.LOST, Reason.DEADLINE})
"""As `doorward edge devices` tells lost devices from those at fault."""

_log: Final = structlog.get_logger()

Signature: TypeAlias = tuple[object, ...]


def worth_telling(health: Health) -> Signature:
    """Give of a report what people care about: when this differs, they are told soon."""
    return (health.mode, health.clock, health.alarms, health.devices, health.way)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How often is reported, in seconds.

    Attributes:
        every_s: when nothing changes.
        look_s: between looks for a change, which is reported when it still stands at the next one.
        least_s: between two reports, and before the first: a loose plug makes no more of them.
        restless_s: after which a change is reported although more is changing.
        measure_s: that measuring the machine may take.
    """

    every_s: float = 60.0
    look_s: float = 2.0
    least_s: float = 5.0
    restless_s: float = 10.0
    measure_s: float = 2.0


_USUAL: Final = Times()


@dataclass(slots=True)
class Pace:
    """When a report is due; seconds are monotonic.

    Attributes:
        due_s: when the next regular one is.
    """

    due_s: float
    times: Times = _USUAL
    _told: Signature | None = None
    _told_s: float = float("-inf")
    _seen: Signature | None = None
    _changed_s: float | None = None

    def look(self, now_s: float, seen: Signature) -> bool:
        """Tell whether to report now."""
        still, self._seen = seen == self._seen, seen
        if seen == self._told:
            self._changed_s = None
        elif self._changed_s is None:
            self._changed_s = now_s
        if self._told is None or self._changed_s is None or now_s - self._told_s < self.times.least_s:
            return now_s >= self.due_s
        return now_s >= self.due_s or still or now_s - self._changed_s >= self.times.restless_s

    def told(self, now_s: float, what: Signature, fraction: float) -> None:
        """Note a report; `fraction` is random, 0 to 1."""
        self._told, self._told_s, self._changed_s = what, now_s, None
        self.due_s = now_s + self.times.every_s * (1 + _SPREAD * (2 * fraction - 1))


@dataclass(frozen=True, slots=True)
class Observed:
    """What a report tells of.

    Attributes:
        versions: gives those of the documents in force.
        measure: gives the metrics of the machine; called in a thread.
    """

    clock: Clock
    store: Store
    controller: Controller
    readers: Mapping[str, Attended[Reader]]
    inputs: Sequence[AttendedInputs]
    displays: Mapping[str, Attended[Display]]
    versions: Callable[[], Versions]
    measure: Callable[[], Mapping[str, int]]


class Telemetry:
    """Sends reports.

    Args:
        observed: what they tell of.
        way: gives the one that batches take.
        send: delivers one, and gives why it could not be, None when it was.
        fraction: draws a random number from 0 to 1.
        times: how often.
    """

    def __init__(
        self,
        observed: Observed,
        way: Callable[[], Way],
        send: Callable[[bytes], Awaitable[str | None]],
        fraction: Callable[[], float],
        times: Times = _USUAL,
    ) -> None:
        self._observed = observed
        self._way = way
        self._send = send
        self._fraction = fraction
        self._times = times
        self._started_ms = monotonic_ms()
        self._software = version("doorward")
        self._marks = (0, 0, 0)
        self._measuring: asyncio.Task[Mapping[str, int]] | None = None
        self._sent_wall_ms: int | None = None
        self._fault: str | None = None

    async def run(self) -> None:
        """Report until cancelled."""
        pace = Pace(monotonic_ms() / 1000 + self._times.least_s, self._times)
        try:
            while True:
                await asyncio.sleep(self._times.look_s)
                health = await self.gather()
                if pace.look(monotonic_ms() / 1000, worth_telling(health)):
                    await self._report(health)
                    pace.told(monotonic_ms() / 1000, worth_telling(health), self._fraction())
        finally:
            if self._measuring is not None:
                self._measuring.cancel()

    async def gather(self) -> Health:
        """Put a report together, without the metrics."""
        seen, now = self._observed, self._observed.clock.now()
        unreadable = await self._read_marks()
        failed = unreadable or seen.controller.storage_failed  # a full disk still tells what it holds
        state = seen.controller.state
        alarms = state.door.alarms | ({EventKind.STORAGE_FAULT} if failed else set())
        if settings_of(state).maintenance:
            alarms |= {EventKind.MAINTENANCE_STARTED}
        last, durable, backed_up = self._marks
        return Health(
            at_ms=now.wall_ms,
            software=self._software,
            uptime_s=(monotonic_ms() - self._started_ms) // 1000,
            clock=now.clock,
            uncertainty_ms=now.uncertainty_ms,
            mode=state.orders.rest,
            epoch=seen.store.epoch,
            last=last,
            durable=durable,
            backed_up=backed_up,
            versions=seen.versions(),
            devices=tuple(self._devices())[:MAX_DEVICES],
            alarms=tuple(sorted(alarms))[:MAX_ALARMS],
            way=self._way(),
            metrics={},
        )

    def plain(self) -> dict[str, Json]:
        """Tell when the cloud was last reported to, and why it could not be since."""
        sent_ms = self._sent_wall_ms
        return {"last_reported": None if sent_ms is None else rfc3339(sent_ms), "error": self._fault}

    async def _report(self, health: Health) -> None:
        try:
            fault = await self._send(encode_health(replace(health, metrics=await self._measured())))
        except WireError as error:
            fault = f"the report breaks its own format ({error}); tell those who maintain this software"
        if fault is None:
            self._sent_wall_ms = self._observed.clock.now().wall_ms
        elif self._fault is None:
            _log.warning("health_not_reported", sentence=fault)
        self._fault = fault

    async def _read_marks(self) -> bool:
        """Read the journal's marks, and tell whether that failed; those read last stand then."""
        try:
            async with asyncio.timeout(_MARKS_S):
                marks = await self._observed.store.marks()
        except (StoreError, TimeoutError):
            return True
        self._marks = (marks.last, marks.durable, marks.backed_up)
        return False

    async def _measured(self) -> Mapping[str, int]:
        """Measure, one thread at a time; a dying disk may take longer than that is waited for."""
        if self._measuring is None:
            self._measuring = asyncio.create_task(asyncio.to_thread(self._observed.measure))
        await asyncio.wait((self._measuring,), timeout=self._times.measure_s)
        if not self._measuring.done():
            return {}
        found, self._measuring = self._measuring.result(), None
        return found

    def _devices(self) -> list[DeviceHealth]:
        seen = self._observed
        lock = DeviceState.WORKING if seen.controller.state.door.lock_answers else DeviceState.LOST
        found = [DeviceHealth("lock", DeviceKind.LOCK, lock)]
        for name, reader in seen.readers.items():
            kind = DeviceKind.CAMERA if isinstance(reader.device, Camera) else DeviceKind.READER
            found.append(DeviceHealth(name, kind, _state(reader.state, reader.error)))
        found += [DeviceHealth(each.id, DeviceKind.INPUTS, _state(each.state, each.error)) for each in seen.inputs]
        for name, display in seen.displays.items():
            found.append(DeviceHealth(name, DeviceKind.DISPLAY, _state(display.state, display.error)))
        return found


def _state(attention: Attention, error: PortError | None) -> DeviceState:
    """Tell how a device is; one that was never opened is not there yet."""
    if attention is Attention.OPEN:
        return DeviceState.WORKING
    return DeviceState.LOST if error is None or error.reason in _GONE else DeviceState.FAULT
