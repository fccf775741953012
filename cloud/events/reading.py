"""From the bytes a device sent to a checked run of rows: signature, chain, owner.

Invariant: what leaves here was signed by this device's key, is a gapless chain in itself or says where that breaks, and
tells only of this device.
Must not: touch the database, or know how far the device's journal has come.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cloud.devices.guard import DeviceIdentity
from cloud.errors import CloudError, Reason
from cloud.events.rows import DAY_US, POSTGRES_EPOCH_US, row, row_start, text_field, to_postgres_us
from wire.batch import Batch, open_batch
from wire.codec import encode
from wire.errors import WireError, WireReason
from wire.event import FIELD_NAMES, match_event
from wire.names import DeviceId, Tenant

PAST: Final = timedelta(days=35)
"""An event older than this is filed under its time of receipt: a door that was off the network for a month still
finds its days, and a clock that is wrong by years cannot make partitions for years."""
FUTURE: Final = timedelta(days=1)
"""An event later than this likewise; a clock that is wrong by a time zone stays within."""

_GROUPS: Final = tuple(
    FIELD_NAMES.index(name) + 1 for name in ("device", "seq", "wall_ms", "door", "kind", "reason", "credential", "prev")
)
"""Of `wire.event.match_event`: only these are looked at, since this is the hottest path of the cloud."""
_HASH_HEAD: Final = b"\x58\x20"
"""The initial bytes of a CBOR byte string of 32 bytes."""
_FORGERIES: Final = frozenset({WireReason.SIGNATURE_INVALID, WireReason.KEY_INVALID, WireReason.ALGORITHM_MISMATCH})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """A batch whose form and signature hold.

    Attributes:
        tenant, device: from the certificate.
        prev: what its first event names as the hash before it; head: the hash of its last event.
        events: their bytes; parts: the same as rows of binary COPY, `rows.PARTS_A_ROW` parts an event.
        days: of the partitions they go to, counted from 2000-01-01.
        broken_at: the first event that does not name the hash of the one before it in the batch; None when all do.
    """

    tenant: Tenant
    device: DeviceId
    epoch: bytes
    first: int
    last: int
    prev: bytes
    head: bytes
    events: tuple[bytes, ...]
    parts: list[bytes]
    days: frozenset[int]
    broken_at: int | None = None


def read_batch(body: bytes, who: DeviceIdentity, *, now_ms: int) -> ReadBatch:
    """Check a batch by itself.

    Args:
        body: what was posted.
        who: the device of the TLS connection.
        now_ms: Unix milliseconds of receipt.

    Raises:
        CloudError: BATCH_INVALID, BATCH_SIGNATURE_INVALID or BATCH_FOREIGN.
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
    prev = match_event(batch.events[0])[FIELD_NAMES.index("prev") + 1][len(_HASH_HEAD) :]
    parts, days, broken_at = _to_rows(batch, who, now_ms)
    return ReadBatch(
        tenant=who.tenant,
        device=who.device,
        epoch=batch.epoch,
        first=batch.first,
        last=batch.last,
        prev=prev,
        head=batch.head,
        events=batch.events,
        parts=parts,
        days=days,
        broken_at=broken_at,
    )


def _to_rows(batch: Batch, who: DeviceIdentity, now_ms: int) -> tuple[list[bytes], frozenset[int], int | None]:
    """Check each event against the one before it, and write its row."""
    received_us = to_postgres_us(now_ms)
    earliest_ms, latest_ms = now_ms - PAST // _MS, now_ms + FUTURE // _MS
    start = row_start(tenant=who.tenant, device=who.device, epoch=batch.epoch, received_us=received_us)
    device, prev, seq = encode(str(who.device)), b"", batch.first
    doors: dict[bytes, bytes] = {}
    parts: list[bytes] = []
    days: set[int] = set()
    broken_at: int | None = None
    for raw in batch.events:
        owner, number, wall, door, kind, reason, credential, named = match_event(raw).group(*_GROUPS)
        if owner != device:
            raise _foreign(owner[1:].decode(), who)
        if (number[0] if len(number) == 1 else int.from_bytes(number[1:], "big")) != seq:
            raise CloudError(Reason.BATCH_INVALID, f"The event at place {seq} of the journal has another number.")
        if named != prev and parts and broken_at is None:
            broken_at = seq
        prev = _HASH_HEAD + hashlib.sha256(raw).digest()
        wall_ms = int.from_bytes(wall[1:], "big")
        at_us = wall_ms * 1000 - POSTGRES_EPOCH_US if earliest_ms <= wall_ms <= latest_ms else received_us
        days.add(at_us // DAY_US)
        if door not in doors:
            doors[door] = text_field(door)
        parts += row(start, seq, at_us, kind, doors[door], reason, credential, raw)
        seq += 1
    return parts, frozenset(days), broken_at


_MS: Final = timedelta(milliseconds=1)


def _foreign(named: str, who: DeviceIdentity) -> CloudError:
    detail = f"The batch tells of device {named}, but the certificate is of {who.device}."
    return CloudError(Reason.BATCH_FOREIGN, detail)
