"""Vectors of the event, the batch and the acknowledgement."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    ACKNOWLEDGEMENT,
    AT,
    DEVICE,
    DOOR,
    FALSE,
    HALF_ONE,
    MAX_UINT,
    NULL,
    STRANGER,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
    head,
    header,
    mapping,
    num,
    octets,
    pairs,
    plain,
    refused,
    sign1,
    text,
)
from wire.batch import MAX_BATCH_EVENTS, Acknowledgement, seal_acknowledgement
from wire.codec import MAX_TIME_MS
from wire.errors import WireReason
from wire.event import CHAIN_START, FIELD_NAMES, MAX_EVENT_BYTES, Event, chain_hash, encode_event
from wire.names import Assurance, ClockState, DeviceId, DoorId, EventKind, ExternalAad, Reason, Step

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import Signer

DEVICE_ID: Final = DeviceId("main-entrance-7f3a")
EPOCH: Final = bytes.fromhex("1d0c5a9e77b24f31")
GRANTED: Final = Event(
    device=DEVICE_ID,
    boot=3,
    seq=1,
    wall_ms=AT * 1000 + 125,
    monotonic_ms=81_224_310,
    clock=ClockState.TRUSTED,
    door=DoorId(DOOR),
    access_point="entry",
    kind=EventKind.ACCESS_GRANTED,
    step=Step.GRANT,
    granted=True,
    credential=bytes.fromhex("00000000004d"),
    assurance=Assurance.ROTATING,
    reader="outside",
    rule="level-7",
    policy_version=17,
    trust_version=12,
    status_sequence=41,
    status_age_s=600,
    elapsed_us=412,
)
DENIED: Final = replace(
    GRANTED,
    seq=2,
    wall_ms=GRANTED.wall_ms + 4_000,
    monotonic_ms=GRANTED.monotonic_ms + 4_000,
    kind=EventKind.ACCESS_DENIED,
    step=Step.REPLAY,
    reason=Reason.REPLAYED,
    granted=False,
    rule=None,
    prev=chain_hash(encode_event(GRANTED)),
)
RELOCKED: Final = Event(
    device=DEVICE_ID,
    boot=3,
    seq=3,
    wall_ms=GRANTED.wall_ms + 5_000,
    monotonic_ms=GRANTED.monotonic_ms + 5_000,
    clock=ClockState.TRUSTED,
    door=DoorId(DOOR),
    access_point="entry",
    kind=EventKind.DOOR_RELOCKED,
    policy_version=17,
    trust_version=12,
    prev=chain_hash(encode_event(DENIED)),
)
LARGEST: Final = Event(
    device=DeviceId("d" * 32),
    boot=MAX_UINT,
    seq=MAX_UINT,
    wall_ms=MAX_TIME_MS,
    monotonic_ms=MAX_UINT,
    clock=ClockState.SUSPECT,
    door=DoorId("d" * 32),
    access_point="a" * 32,
    kind=EventKind.STORAGE_RESTORED,
    step=Step.GRANT,
    reason=Reason.COMMAND_FOREIGN,
    granted=False,
    credential=b"\xff" * 16,
    assurance=Assurance.NONCE_BOUND,
    reader="r" * 32,
    rule="r" * 32,
    policy_version=MAX_UINT,
    trust_version=MAX_UINT,
    status_sequence=MAX_UINT,
    status_age_s=MAX_UINT,
    elapsed_us=MAX_UINT,
    count=MAX_UINT,
    prev=b"\xff" * 32,
)
_AT: Final = {name: number for number, name in enumerate(FIELD_NAMES)}


def raw_event(changes: Entries | None = None) -> bytes:
    """The bytes of the granted event with some members replaced, added or left out."""
    values: dict[int, bytes | None] = {
        0: num(1),
        1: text(GRANTED.device),
        2: num(3),
        3: num(1),
        4: num(GRANTED.wall_ms),
        5: num(GRANTED.monotonic_ms),
        6: num(0),
        7: text(DOOR),
        8: text("entry"),
        9: num(1),
        10: num(15),
        11: NULL,
        12: TRUE,
        13: octets(bytes.fromhex("00000000004d")),
        14: num(3),
        15: text("outside"),
        16: text("level-7"),
        17: num(17),
        18: num(12),
        19: num(41),
        20: num(600),
        21: num(412),
        22: NULL,
        23: octets(CHAIN_START),
    }
    return mapping(values, changes)


def events() -> dict[str, Json]:
    """event.json."""
    return collection(
        "Events of a door's journal. `hash` is what the next one carries as prev.",
        "docs/spec/event.md",
        [*_events_accepted(), *_field_faults(), *_form_faults()],
    )


def _events_accepted() -> list[Case]:
    suppressed = replace(RELOCKED, kind=EventKind.DENIALS_SUPPRESSED, count=250)
    numbers = {
        f"seq of {number}": replace(GRANTED, seq=number)
        for number in (0, 23, 24, 255, 256, 0xFFFF, 0x10000, 0xFFFF_FFFF, 0x1_0000_0000)
    }
    found = {
        "granted": GRANTED,
        "denied": DENIED,
        "relocked": RELOCKED,
        "largest": LARGEST,
        "suppressed": suppressed,
        "names of 23 characters": replace(GRANTED, reader="r" * 23),
        "names of 24 characters": replace(GRANTED, reader="r" * 24),
        "credential of one byte": replace(GRANTED, credential=b"\x00"),
        **numbers,
        **{f"kind {kind.name.lower()}": replace(RELOCKED, kind=kind) for kind in EventKind},
        **{f"reason {reason.name.lower()}": replace(DENIED, reason=reason) for reason in Reason},
    }
    return [
        accepted(name, encode_event(event), {"event": plain(event), "hash": chain_hash(encode_event(event)).hex()})
        for name, event in found.items()
    ]


def _field_faults() -> list[Case]:
    values: dict[str, dict[str, bytes | None]] = {
        "schema": {"2": num(2), "null": NULL},
        "device": {
            "empty": text(""),
            "in upper case": text("Main"),
            "of 33 characters": text("d" * 33),
            "as bytes": octets(b"door"),
        },
        "boot": {"negative": num(-1), "of 2^63": num(2**63), "null": NULL},
        "seq": {"as float": HALF_ONE, "in more bytes than needed": num(1, extra_bytes=1)},
        "wall_ms": {
            "beyond the latest moment": num(MAX_TIME_MS + 1),
            "in nine bytes, where five do": num(1 << 20, extra_bytes=8),
            "as text": text("now"),
        },
        "clock": {"3": num(3), "null": NULL},
        "door": {"null": NULL, "with an underscore": text("main_door")},
        "access_point": {"beyond ASCII": text("entr\u00e9e")},
        "kind": {"null": NULL, "of 256": num(256), "in more bytes than needed": num(1, extra_bytes=1)},
        "step": {"0": num(0), "16": num(16)},
        "reason": {"of 256": num(256), "as text": text("REPLAYED")},
        "granted": {"1": num(1), "undefined": b"\xf7"},
        "credential": {
            "empty": octets(b""),
            "of 17 bytes": octets(bytes(17)),
            "in more bytes than needed": octets(b"a", extra_bytes=1),
        },
        "assurance": {"5": num(5), "false": FALSE},
        "reader": {"with a line end": text("outside\n")},
        "rule": {"as number": num(7)},
        "policy_version": {"null": NULL},
        "trust_version": {"null": NULL},
        "status_sequence": {"negative": num(-1)},
        "status_age_s": {"as tag": b"\xc1" + num(1)},
        "elapsed_us": {"as float": HALF_ONE},
        "count": {"of indefinite length": b"\x5f\xff"},
        "prev": {"of 31 bytes": octets(bytes(31)), "of 33 bytes": octets(bytes(33)), "null": NULL},
    }
    return [
        refused(f"{name} {what}", raw_event({_AT[name]: value}), WireReason.NOT_CANONICAL, "event")
        for name, items in values.items()
        for what, value in items.items()
    ]


def _form_faults() -> list[Case]:
    good = raw_event()
    assert good == encode_event(GRANTED)
    swapped = pairs((num(1), text("d")), (num(0), num(1)))
    unknown = [
        ("kind that is not listed", {_AT["kind"]: num(250)}),
        ("reason that is not listed", {_AT["reason"]: num(250)}),
    ]
    faults = [
        ("empty", b""),
        ("cut by one byte", good[:-1]),
        ("one byte after it", good + b"\x00"),
        ("without its last member", raw_event({23: None})),
        ("one member more", raw_event({24: NULL})),
        ("count of members in three bytes", head(5, 24, extra_bytes=2) + good[2:]),
        ("of indefinite length", b"\xbf" + good[2:] + b"\xff"),
        ("first two members swapped", good[:2] + swapped[1:] + good[len(swapped) :]),
        ("an array", array(num(1))),
    ]
    return [
        *(refused(name, raw_event(change), WireReason.UNKNOWN_VALUE, "event") for name, change in unknown),
        *(refused(name, data, WireReason.NOT_CANONICAL, "event") for name, data in faults),
        refused("512 bytes", good + bytes(MAX_EVENT_BYTES - len(good)), WireReason.NOT_CANONICAL, "event"),
        refused("513 bytes", good + bytes(MAX_EVENT_BYTES + 1 - len(good)), WireReason.TOO_LARGE, "event"),
    ]


# --- batches -----------------------------------------------------------------------------------------------

_DEVICE_KEY: Final = {"key": cose_key(DEVICE.public_key).hex()}
_RUN: Final = tuple(encode_event(event) for event in (GRANTED, DENIED, RELOCKED))


def _batch(changes: Entries | None = None, *, signer: Signer = DEVICE, aad: ExternalAad = ExternalAad.BATCH) -> bytes:
    entries = {
        1: text(DEVICE_ID),
        2: octets(EPOCH),
        3: num(1),
        4: num(3),
        5: array(*map(octets, _RUN)),
        6: octets(chain_hash(_RUN[-1])),
    }
    return sign1(header(DEVICE), mapping(entries, changes), signer, aad)


def _batch_of(*items: bytes, first: int = 1, last: int | None = None) -> bytes:
    """A batch of these events, or whatever they are, with a head that fits."""
    end = first + len(items) - 1 if last is None else last
    return _batch({3: num(first), 4: num(end), 5: array(*map(octets, items)), 6: octets(chain_hash(items[-1]))})


def _batch_expect(items: tuple[bytes, ...], first: int) -> Json:
    return {
        "device": DEVICE_ID,
        "epoch": EPOCH.hex(),
        "first": first,
        "events": [item.hex() for item in items],
        "head": hashlib.sha256(items[-1]).hexdigest(),
    }


def batches() -> dict[str, Json]:
    """batch.json."""
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("no event", {4: num(0), 5: array()}, WireReason.OUT_OF_RANGE, "batch.last"),
        ("first of 0", {3: num(0), 4: num(2)}, WireReason.OUT_OF_RANGE, "batch.last"),
        ("last too low", {4: num(2)}, WireReason.OUT_OF_RANGE, "batch.last"),
        ("last too high", {4: num(4)}, WireReason.OUT_OF_RANGE, "batch.last"),
        ("head of the event before", {6: octets(chain_hash(_RUN[1]))}, WireReason.HASH_MISMATCH, "batch.head"),
        ("head of 31 bytes", {6: octets(bytes(31))}, WireReason.OUT_OF_RANGE, "batch.head"),
        ("epoch of 7 bytes", {2: octets(bytes(7))}, WireReason.OUT_OF_RANGE, "batch.epoch"),
        ("device in upper case", {1: text("Door")}, WireReason.WRONG_ALPHABET, "batch.device"),
        (
            "event that is empty",
            {5: array(octets(b""), *map(octets, _RUN[1:]))},
            WireReason.OUT_OF_RANGE,
            "batch.events",
        ),
        (
            "event of 513 bytes",
            {5: array(octets(bytes(513)), *map(octets, _RUN[1:]))},
            WireReason.OUT_OF_RANGE,
            "batch.events",
        ),
        ("event not wrapped", {5: array(*_RUN)}, WireReason.WRONG_TYPE, "batch.events"),
        ("events as map", {5: mapping({})}, WireReason.WRONG_TYPE, "batch.events"),
        ("first true", {3: TRUE}, WireReason.WRONG_TYPE, "batch.first"),
        ("member added", {7: NULL}, WireReason.UNKNOWN_FIELD, "batch"),
        ("member missing", {6: None}, WireReason.MISSING_FIELD, "batch.head"),
    ]
    one = _RUN[:1]
    flipped = _batch()[:-1] + bytes((_batch()[-1] ^ 1,))
    as_command = _batch(aad=ExternalAad.COMMAND)
    too_many = _batch_of(*[b"\x00"] * (MAX_BATCH_EVENTS + 1))
    vectors = [
        accepted("three events", _batch(), _batch_expect(_RUN, 1), **_DEVICE_KEY),
        accepted("one event", _batch_of(*one), _batch_expect(one, 1), **_DEVICE_KEY),
        accepted(
            "up to 2^63 - 1", _batch_of(*_RUN, first=MAX_UINT - 2), _batch_expect(_RUN, MAX_UINT - 2), **_DEVICE_KEY
        ),
        *(refused(name, _batch(changes), reason, field, **_DEVICE_KEY) for name, changes, reason, field in faults),
        refused("501 events", too_many, WireReason.OUT_OF_RANGE, "batch.events", **_DEVICE_KEY),
        refused("signed by a stranger", _batch(signer=STRANGER), WireReason.SIGNATURE_INVALID, "batch", **_DEVICE_KEY),
        refused("last bit flipped", flipped, WireReason.SIGNATURE_INVALID, "batch", **_DEVICE_KEY),
        refused("signed as a command", as_command, WireReason.SIGNATURE_INVALID, "batch", **_DEVICE_KEY),
    ]
    return collection(
        "Batches of events, read under the device's key. The events inside are read one by one (event.json).",
        "docs/spec/sync.md",
        vectors,
    )


# --- acknowledgements --------------------------------------------------------------------------------------

_ACK_KEY: Final = {"key": cose_key(ACKNOWLEDGEMENT.public_key).hex()}
USUAL_ACK: Final = Acknowledgement(
    device=DEVICE_ID,
    epoch=EPOCH,
    durable=3,
    head=chain_hash(_RUN[-1]),
    backed_up=2,
    issued_at_ms=AT * 1000 + 6_000,
)


def _acknowledgement(
    changes: Entries | None = None,
    *,
    signer: Signer = ACKNOWLEDGEMENT,
    aad: ExternalAad = ExternalAad.ACKNOWLEDGEMENT,
) -> bytes:
    entries = {
        1: text(DEVICE_ID),
        2: octets(EPOCH),
        3: num(3),
        4: octets(USUAL_ACK.head),
        5: num(2),
        6: num(USUAL_ACK.issued_at_ms),
    }
    return sign1(header(ACKNOWLEDGEMENT), mapping(entries, changes), signer, aad)


def acknowledgements() -> dict[str, Json]:
    """acknowledgement.json."""
    here = "acknowledgement"
    nothing = replace(USUAL_ACK, durable=0, head=CHAIN_START, backed_up=0)
    everything = replace(USUAL_ACK, backed_up=3, issued_at_ms=MAX_TIME_MS)
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("more backed up than durable", {5: num(4)}, WireReason.OUT_OF_RANGE, f"{here}.backed_up"),
        ("nothing durable, but a head", {3: num(0), 5: num(0)}, WireReason.HASH_MISMATCH, f"{here}.head"),
        ("head of 33 bytes", {4: octets(bytes(33))}, WireReason.OUT_OF_RANGE, f"{here}.head"),
        ("epoch of 9 bytes", {2: octets(bytes(9))}, WireReason.OUT_OF_RANGE, f"{here}.epoch"),
        ("durable negative", {3: num(-1)}, WireReason.OUT_OF_RANGE, f"{here}.durable"),
        ("time missing", {6: None}, WireReason.MISSING_FIELD, f"{here}.iat_ms"),
        ("time beyond the latest moment", {6: num(MAX_TIME_MS + 1)}, WireReason.OUT_OF_RANGE, f"{here}.iat_ms"),
        ("member added", {7: NULL}, WireReason.UNKNOWN_FIELD, here),
    ]
    as_batch = _acknowledgement(aad=ExternalAad.BATCH)
    broker = _acknowledgement(signer=STRANGER)
    vectors = [
        accepted("usual", seal_acknowledgement(USUAL_ACK, ACKNOWLEDGEMENT), plain(USUAL_ACK), **_ACK_KEY),
        accepted("nothing yet", seal_acknowledgement(nothing, ACKNOWLEDGEMENT), plain(nothing), **_ACK_KEY),
        accepted("all backed up", seal_acknowledgement(everything, ACKNOWLEDGEMENT), plain(everything), **_ACK_KEY),
        *(
            refused(name, _acknowledgement(changes), reason, field, **_ACK_KEY)
            for name, changes, reason, field in faults
        ),
        refused("signed by a broker", broker, WireReason.SIGNATURE_INVALID, here, **_ACK_KEY),
        refused("signed as a batch", as_batch, WireReason.SIGNATURE_INVALID, here, **_ACK_KEY),
        refused("513 bytes", bytes(513), WireReason.TOO_LARGE, here, **_ACK_KEY),
    ]
    return collection("Acknowledgements, read under the cloud's acknowledgement key.", "docs/spec/sync.md", vectors)
