"""What a door's report amounts to: working, in need of somebody, or in maintenance.

Invariant: the words for people and the number in the database come from one list of faults.
Must not: read a clock; whether a device is heard at all is `cloud.devices.status`'s to say.
"""

from collections.abc import Iterator
from enum import IntEnum, unique
from typing import Final

from wire.health import DeviceState, Health
from wire.names import ClockState, EventKind


@unique
class Condition(IntEnum):
    """As `device_health.condition` has it."""

    WORKING = 0
    ERROR = 1
    MAINTENANCE = 2


_FAULTS: Final = {
    EventKind.LOCK_FAILED: "the lock does not do what it is told",
    EventKind.CONTACT_FAULT: "the door contact contradicts the lock or does not answer",
    EventKind.TAMPER: "the housing is open",
    EventKind.POWER_LOST: "the mains are gone",
    EventKind.READER_LOST: "a reader is gone",
    EventKind.INPUTS_LOST: "inputs are gone",
    EventKind.STORAGE_FAULT: "the memory card cannot be written",
}
"""Alarms of the device. Those of the door (forced, held open, fire) are for guards and leave the device working."""
_STATES: Final = {DeviceState.LOST: "is gone", DeviceState.FAULT: "is there but cannot be used"}


def condition_of(health: Health) -> Condition:
    """Judge a report. Whoever works on a door knows of its faults: maintenance comes first."""
    if EventKind.MAINTENANCE_STARTED in health.alarms:
        return Condition.MAINTENANCE
    return Condition.ERROR if any(faults(health)) else Condition.WORKING


def faults(health: Health) -> Iterator[str]:
    """Say what is wrong, a clause each."""
    for device in health.devices:
        if device.state is not DeviceState.WORKING:
            yield f"{device.kind.name.lower()} {device.name} {_STATES[device.state]}"
    yield from (_FAULTS[kind] for kind in health.alarms if kind in _FAULTS)
    if health.clock is ClockState.SUSPECT:
        yield "it does not know the time"
