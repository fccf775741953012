"""From the bytes a device sent to a checked run of rows: signature, chain, owner.

Invariant: what leaves here was signed by this device's key, is a gapless chain in itself and tells only of this device.
Must not: touch the database, or know how far the device's journal has come.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from cloud.devices.guard import DeviceIdentity
from cloud.errors import CloudError, Reason
from cloud.events.rows import DAY_US, field, row, row_start, to_postgres_us
from wire.batch import open_batch
from wire.errors import WireError, WireReason
from wire.event import event_values
from wire.names import DeviceId, Tenant

PAST: Final = timedelta(days=35)
"""An event older than this is filed under its time of receipt: a door that was off the network for a month still
finds its days, and a clock that is wrong by years cannot make partitions for years."""
FUTURE: Final = timedelta(days=1)
"""An event later than this likewise; a clock that is wrong by a time zone stays within."""

_DEVICE, _SEQ, _WALL_MS, _DOOR, _KIND, _REASON, _CREDENTIAL, _PREV = 1, 3, 4, 7, 9, 11, 13, 23
"""Indices of `wire.event.FIELD_NAMES`."""
_FORGERIES: Final = frozenset({WireReason.SIGNATURE_INVALID, WireReason.KEY_INVALID, WireReason.ALGORITHM_MISMATCH})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """A batch whose form, signature and inner chain hold.

    Attributes:
        tenant, device: from the certificate.
        prev: what its first event names as the hash before it; head: the hash of its last event.
        events: their bytes; rows: the same as rows of binary COPY, one an event.
        days: of the partitions they go to, counted from 2000-01-01.
    """

    tenant: Tenant
    device: DeviceId
    epoch: bytes
    first: int
    last: int
    prev: bytes
    head: bytes
    events: tuple[bytes, ...]
    rows: list[bytes]
    days: frozenset[int]


def read_batch(body: bytes, who: DeviceIdentity, *, now_ms: int) -> ReadBatch:
    """Check a batch by itself.

    Args:
        body: what was posted.
        who: the device of the TLS connection.
        now_ms: Unix milliseconds of receipt.

    Raises:
        CloudError: BATCH_INVALID, BATCH_SIGNATURE_INVALID, BATCH_FOREIGN or CHAIN_BROKEN.
    """
    try:
        return _read(body, who, now_ms)
    except WireError as error:
        if error.reason in _FORGERIES:
            detail = f"The batch is not signed by the key of this device's certificate ({error})."
            raise CloudError(Reason.BATCH_SIGNATURE_INVALID, detail) from error
        raise CloudError(Reason.BATCH_INVALID, f"The batch does not follow docs/spec/sync.md ({error}).") from error


def _read(body: bytes, who: DeviceIdentity, now_ms: int) -> ReadBatch:
    batch = open_batch(body, who.key)
    if batch.device != who.device:
        raise _foreign(batch.device, who)
    device, seq, prev = who.device, batch.first, b""
    received_us = to_postgres_us(now_ms)
    earliest_ms, latest_ms = now_ms - PAST // _MS, now_ms + FUTURE // _MS
    start = row_start(tenant=who.tenant, device=device, epoch=batch.epoch, received_us=received_us)
    doors: dict[object, bytes] = {}
    rows: list[bytes] = []
    days: set[int] = set()
    first_prev = b""
    for raw in batch.events:
        values = event_values(raw)
        if values[_DEVICE] != device:
            raise _foreign(cast("str", values[_DEVICE]), who)
        if values[_SEQ] != seq:
            detail = f"The event at place {seq} says that it is number {values[_SEQ]!r}."
            raise CloudError(Reason.BATCH_INVALID, detail)
        if not rows:
            first_prev = cast("bytes", values[_PREV])
        elif values[_PREV] != prev:
            raise CloudError(Reason.CHAIN_BROKEN, f"Event {seq} does not follow from event {seq - 1} of its own batch.")
        prev = hashlib.sha256(raw).digest()
        wall_ms = cast("int", values[_WALL_MS])
        at_us = to_postgres_us(wall_ms) if earliest_ms <= wall_ms <= latest_ms else received_us
        days.add(at_us // DAY_US)
        name = cast("str", values[_DOOR])
        door = doors.get(name)
        if door is None:
            door = doors[name] = field(name.encode())
        rows.append(
            row(
                start,
                seq,
                at_us,
                cast("int", values[_KIND]),
                door,
                cast("int | None", values[_REASON]),
                cast("bytes | None", values[_CREDENTIAL]),
                raw,
            )
        )
        seq += 1
    return ReadBatch(
        tenant=who.tenant,
        device=device,
        epoch=batch.epoch,
        first=batch.first,
        last=batch.last,
        prev=first_prev,
        head=batch.head,
        events=batch.events,
        rows=rows,
        days=frozenset(days),
    )


_MS: Final = timedelta(milliseconds=1)


def _foreign(named: str, who: DeviceIdentity) -> CloudError:
    detail = f"The batch tells of device {named}, but the certificate is of {who.device}."
    return CloudError(Reason.BATCH_FOREIGN, detail)
