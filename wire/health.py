"""What a door says about itself every minute (docs/spec/health.md).

Invariant: bounded, and complete: each report stands for itself, so that a lost one costs nothing.
Must not: prove anything: it is not signed, and no decision about access rests on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from wire.batch import EPOCH_BYTES
from wire.codec import MAX_TIME_MS, Fields, Value, array, decode, encode, member, text, uint
from wire.errors import WireError, WireReason
from wire.names import ClockState, DoorMode, EventKind
from wire.passes import slug
from wire.versions import Versions, read_versions, versions_item

MAX_HEALTH_BYTES: Final = 10_240
MAX_DEVICES: Final = 64
MAX_ALARMS: Final = 32
MAX_METRICS: Final = 32
MAX_NAME_CHARACTERS: Final = 32
MAX_SOFTWARE_CHARACTERS: Final = 64
_DEVICE_MEMBERS: Final = 3


@unique
class DeviceKind(IntEnum):
    """What a device at the door is for."""

    READER = 1
    CAMERA = 2
    INPUTS = 3
    DISPLAY = 4
    LOCK = 5


@unique
class DeviceState(IntEnum):
    """How a device at the door is."""

    WORKING = 0
    LOST = 1  # not there
    FAULT = 2  # there, and of no use


@unique
class Way(IntEnum):
    """How batches reach the cloud."""

    HTTPS = 0
    MQTT = 1


_CLOCKS: Final = {int(state): state for state in ClockState}
_MODES: Final = {int(mode): mode for mode in DoorMode}
_KINDS: Final = {int(kind): kind for kind in DeviceKind}
_STATES: Final = {int(state): state for state in DeviceState}
_WAYS: Final = {int(way): way for way in Way}
_ALARMS: Final = {int(kind): kind for kind in EventKind}


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """One device at the door: its name in the journal, what it is for, how it is."""

    name: str
    kind: DeviceKind
    state: DeviceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a door is.

    Attributes:
        at_ms: when the report was put together, Unix milliseconds by the door's clock.
        software: the version of Doorward.
        uptime_s: since the daemon started.
        clock, uncertainty_ms: how well the door knows the time.
        mode: how the door is to rest.
        epoch: of its journal, 8 bytes.
        last, durable, backed_up: the journal's marks; what lies between the first two waits for the cloud.
        versions: the documents in force.
        devices: what is attached.
        alarms: kinds of event that began something which has not ended.
        way: how batches travel now.
        metrics: name -> whole number, e.g. "rss_mb"; names that a reader does not know are kept.
    """

    at_ms: int
    software: str
    uptime_s: int
    clock: ClockState
    uncertainty_ms: int
    mode: DoorMode
    epoch: bytes
    last: int
    durable: int
    backed_up: int
    versions: Versions
    devices: tuple[DeviceHealth, ...] = ()
    alarms: tuple[EventKind, ...] = ()
    way: Way = Way.HTTPS
    metrics: Mapping[str, int]


def encode_health(health: Health) -> bytes:
    """Write a report and check that it reads back.

    Raises:
        WireError: when it breaks a rule of the format.
    """
    devices: list[Value] = [[each.name, int(each.kind), int(each.state)] for each in health.devices]
    alarms: list[Value] = [int(each) for each in health.alarms]
    metrics: dict[int | str, Value] = dict(health.metrics.items())
    claims: dict[int | str, Value] = {
        1: health.at_ms,
        2: health.software,
        3: health.uptime_s,
        4: int(health.clock),
        5: health.uncertainty_ms,
        6: int(health.mode),
        7: health.epoch,
        8: health.last,
        9: health.durable,
        10: health.backed_up,
        11: versions_item(health.versions),
        12: devices,
        13: alarms,
        14: int(health.way),
        15: metrics,
    }
    data = encode(claims, field="health")
    parse_health(data)
    return data


def parse_health(data: bytes) -> Health:
    """Read a report.

    Raises:
        WireError: a fault of form.
    """
    fields = Fields(decode(data, field="health", max_bytes=MAX_HEALTH_BYTES), "health")
    found = Health(
        at_ms=fields.uint(1, "at", MAX_TIME_MS),
        software=fields.text(2, "software", MAX_SOFTWARE_CHARACTERS),
        uptime_s=fields.uint(3, "uptime"),
        clock=fields.member(4, "clock", _CLOCKS),
        uncertainty_ms=fields.uint(5, "uncertainty"),
        mode=fields.member(6, "mode", _MODES),
        epoch=fields.octets(7, "epoch", EPOCH_BYTES, EPOCH_BYTES),
        last=fields.uint(8, "last"),
        durable=fields.uint(9, "durable"),
        backed_up=fields.uint(10, "backed_up"),
        versions=read_versions(fields.value(11, "versions")),
        devices=tuple(map(_device, fields.array(12, "devices", MAX_DEVICES))),
        alarms=tuple(member(each, "health.alarm", _ALARMS) for each in fields.array(13, "alarms", MAX_ALARMS)),
        way=fields.member(14, "way", _WAYS),
        metrics=_metrics(fields.value(15, "metrics")),
    )
    fields.close()
    return found


def _device(item: Value) -> DeviceHealth:
    parts = array(item, "health.device", _DEVICE_MEMBERS)
    if len(parts) != _DEVICE_MEMBERS:
        raise WireError(WireReason.OUT_OF_RANGE, "health.device")
    name, kind, state = parts
    return DeviceHealth(
        slug(text(name, "health.device.name", MAX_NAME_CHARACTERS), "health.device.name"),
        member(kind, "health.device.kind", _KINDS),
        member(state, "health.device.state", _STATES),
    )


def _metrics(item: Value) -> dict[str, int]:
    if type(item) is not dict:
        raise WireError(WireReason.WRONG_TYPE, "health.metrics")
    if len(item) > MAX_METRICS:
        raise WireError(WireReason.OUT_OF_RANGE, "health.metrics")
    return {text(name, "health.metric", MAX_NAME_CHARACTERS): _number(value) for name, value in item.items()}


def _number(value: Value) -> int:
    """Check a whole number; unlike elsewhere it may be below zero, as temperatures are."""
    if type(value) is not int:
        raise WireError(WireReason.WRONG_TYPE, "health.metric")
    uint(abs(value), "health.metric")
    return value
