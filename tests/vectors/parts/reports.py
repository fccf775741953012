"""Vectors of what is not signed: announcements of versions and reports of health."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import cbor2

from tests.vectors.parts.events import EPOCH
from tests.vectors.parts.kit import accepted, array, collection, mapping, num, pairs, plain, refused, text
from wire.codec import MAX_UINT, encode
from wire.errors import WireReason
from wire.health import (
    MAX_ALARMS,
    MAX_DEVICES,
    MAX_HEALTH_BYTES,
    MAX_METRICS,
    MAX_NAME_CHARACTERS,
    MAX_SOFTWARE_CHARACTERS,
    DeviceHealth,
    DeviceKind,
    DeviceState,
    Health,
    Way,
    encode_health,
)
from wire.names import ClockState, DoorMode, EventKind
from wire.status_list import MAX_LIST_ID
from wire.versions import MAX_STATUS_LISTS, MAX_VERSIONS_BYTES, Versions, encode_versions, parse_versions

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json

_VERSIONS: Final[Entries] = {1: num(12), 2: num(17), 3: mapping({0: num(881), 1: num(4)}), 4: num(9), 5: num(3)}
_MANY_LISTS: Final = dict.fromkeys(range(MAX_LIST_ID - MAX_STATUS_LISTS + 1, MAX_LIST_ID + 1), MAX_UINT)


def versions() -> dict[str, Json]:
    """versions.json."""
    largest = Versions(MAX_UINT, MAX_UINT, _MANY_LISTS, MAX_UINT, MAX_UINT)
    good = {"usual": parse_versions(mapping(_VERSIONS)), "nothing yet": Versions(0, 0, {}), "largest": largest}
    too_many = mapping({number: num(0) for number in range(MAX_STATUS_LISTS + 1)})
    no_number = pairs((text("a"), num(1)))
    out, wrong = WireReason.OUT_OF_RANGE, WireReason.WRONG_TYPE
    faults = [
        ("lists in an array", mapping(_VERSIONS, {3: array()}), wrong, "versions.status"),
        ("257 lists", mapping(_VERSIONS, {3: too_many}), out, "versions.status"),
        ("a list without number", mapping(_VERSIONS, {3: no_number}), wrong, "versions.list"),
        ("list 65536", mapping(_VERSIONS, {3: mapping({MAX_LIST_ID + 1: num(1)})}), out, "versions.list"),
        ("a sequence below zero", mapping(_VERSIONS, {3: mapping({0: num(-1)})}), out, "versions.sequence"),
        ("trust below zero", mapping(_VERSIONS, {1: num(-1)}), out, "versions.trust"),
        ("no commands", mapping(_VERSIONS, {5: None}), WireReason.MISSING_FIELD, "versions.commands"),
        ("one member more", mapping(_VERSIONS, {6: num(0)}), WireReason.UNKNOWN_FIELD, "versions"),
        ("an array", array(), wrong, "versions"),
        ("too large", bytes(MAX_VERSIONS_BYTES + 1), WireReason.TOO_LARGE, "versions"),
        ("empty", b"", WireReason.EMPTY, "versions"),
    ]
    vectors: list[Case] = [accepted(case, encode_versions(found), plain(found)) for case, found in good.items()]
    vectors += [refused(case, data, reason, field) for case, data, reason, field in faults]
    return collection("What exists for a door, as announced over MQTT.", "docs/spec/mqtt.md", vectors)


USUAL_HEALTH: Final = Health(
    at_ms=1_772_442_006_000,
    software="1.0.0",
    uptime_s=86_400,
    clock=ClockState.TRUSTED,
    uncertainty_ms=20,
    mode=DoorMode.LOCKED,
    epoch=EPOCH,
    last=120,
    durable=118,
    backed_up=100,
    versions=Versions(12, 17, {0: 881}, 9, 3),
    devices=(
        DeviceHealth("entry", DeviceKind.READER, DeviceState.WORKING),
        DeviceHealth("gpio-1", DeviceKind.INPUTS, DeviceState.LOST),
    ),
    alarms=(EventKind.FORCED_OPEN,),
    way=Way.MQTT,
    metrics={"rss_mb": 71, "temperature_c": -4},
)


def _entries(data: bytes) -> dict[int, bytes]:
    """The members of a map, each as it is encoded."""
    found = cbor2.loads(data)
    return {key: encode(value) for key, value in found.items()}


def health() -> dict[str, Json]:
    """health.json."""
    least = replace(USUAL_HEALTH, devices=(), alarms=(), way=Way.HTTPS, metrics={}, versions=Versions(0, 0, {}))
    device = DeviceHealth("d" * MAX_NAME_CHARACTERS, DeviceKind.LOCK, DeviceState.FAULT)
    largest = replace(
        USUAL_HEALTH,
        software="v" * MAX_SOFTWARE_CHARACTERS,
        versions=Versions(MAX_UINT, MAX_UINT, _MANY_LISTS, MAX_UINT, MAX_UINT),
        devices=(device,) * MAX_DEVICES,
        alarms=(EventKind.STORAGE_FAULT,) * MAX_ALARMS,
        metrics={f"{number:032}": -MAX_UINT for number in range(MAX_METRICS)},
    )
    good = {"usual": USUAL_HEALTH, "least": least, "largest": largest}
    usual = _entries(encode_health(USUAL_HEALTH))
    one = [text("entry"), num(1), num(0)]
    out, wrong, unknown = WireReason.OUT_OF_RANGE, WireReason.WRONG_TYPE, WireReason.UNKNOWN_VALUE
    many_metrics = pairs(*((text(chr(97 + number)), num(0)) for number in range(MAX_METRICS + 1)))
    faults = [
        ("a device of two parts", mapping(usual, {12: array(array(*one[:2]))}), out, "health.device"),
        ("a device of four parts", mapping(usual, {12: array(array(*one, num(0)))}), out, "health.device"),
        ("a device that is none", mapping(usual, {12: array(num(1))}), wrong, "health.device"),
        (
            "a device with a space",
            mapping(usual, {12: array(array(text("a b"), *one[1:]))}),
            WireReason.WRONG_ALPHABET,
            "health.device.name",
        ),
        ("a nameless device", mapping(usual, {12: array(array(num(1), *one[1:]))}), wrong, "health.device.name"),
        ("device kind 6", mapping(usual, {12: array(array(one[0], num(6), one[2]))}), unknown, "health.device.kind"),
        ("device state 3", mapping(usual, {12: array(array(*one[:2], num(3)))}), unknown, "health.device.state"),
        ("alarm 0", mapping(usual, {13: array(num(0))}), unknown, "health.alarm"),
        ("metrics in an array", mapping(usual, {15: array()}), wrong, "health.metrics"),
        ("33 metrics", mapping(usual, {15: many_metrics}), out, "health.metrics"),
        ("a metric without name", mapping(usual, {15: mapping({1: num(0)})}), wrong, "health.metric"),
        ("a metric that is text", mapping(usual, {15: pairs((text("a"), text("b")))}), wrong, "health.metric"),
        ("too large", bytes(MAX_HEALTH_BYTES + 1), WireReason.TOO_LARGE, "health"),
        ("empty", b"", WireReason.EMPTY, "health"),
    ]
    vectors: list[Case] = [accepted(case, encode_health(found), plain(found)) for case, found in good.items()]
    vectors += [refused(case, data, reason, field) for case, data, reason, field in faults]
    return collection("What a door says about itself.", "docs/spec/health.md", vectors)
