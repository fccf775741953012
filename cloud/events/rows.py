"""Rows of the table `events` in PostgreSQL's binary COPY format.

Invariant: the fields follow `COLUMNS`, in that order. Source: PostgreSQL, COPY, "Binary Format".
Must not: decide which rows are stored.

Rows are written by hand because this is the hottest path of the cloud: a generic encoder costs twice as much.
"""

import struct
from collections.abc import Sequence
from typing import Final

COLUMNS: Final = (
    "tenant_id",
    "device_id",
    "epoch",
    "received_at",
    "seq",
    "at",
    "kind",
    "door_id",
    "reason",
    "credential",
    "raw",
)
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags (no OIDs), no header extension."""
TRAILER: Final = b"\xff\xff"

DAY_US: Final = 86_400_000_000
_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01T00:00Z."""

_NULL: Final = b"\xff\xff\xff\xff"
_BIGINT: Final = struct.Struct(">iq").pack
_MIDDLE: Final = struct.Struct(">iqiqih").pack
_SMALLINT: Final = struct.Struct(">ih").pack
_LENGTH: Final = struct.Struct(">i").pack
_COUNT: Final = struct.pack(">h", len(COLUMNS))
_SMALL_RANGE: Final = 256
_REASONS: Final[dict[int | None, bytes]] = {None: _NULL, **{n: _SMALLINT(2, n) for n in range(_SMALL_RANGE)}}
_LENGTHS: Final = tuple(_LENGTH(n) for n in range(1024))
"""Of an event's bytes (at most 512)."""


def to_postgres_us(unix_ms: int) -> int:
    """Turn Unix milliseconds into PostgreSQL's microseconds."""
    return unix_ms * 1000 - _POSTGRES_EPOCH_US


def field(data: bytes) -> bytes:
    """Write a field of bytes or text."""
    return _LENGTH(len(data)) + data


def row_start(*, tenant: str, device: str, epoch: bytes, received_us: int) -> bytes:
    """Write what all rows of a batch begin with: the number of fields and the first four."""
    return b"".join(
        (_COUNT, field(tenant.encode()), field(device.encode()), field(epoch), _BIGINT(8, received_us)),
    )


def row(
    start: bytes, seq: int, at_us: int, kind: int, door: bytes, reason: int | None, credential: bytes | None, raw: bytes
) -> bytes:
    """Write one row.

    `start` comes from `row_start`, `door` from `field`; `at_us` counts as PostgreSQL does;
    `raw` has at most 1,023 bytes.
    """
    return b"".join(
        (
            start,
            _MIDDLE(8, seq, 8, at_us, 2, kind),
            door,
            _REASONS[reason],
            _NULL if credential is None else _LENGTHS[len(credential)] + credential,
            _LENGTHS[len(raw)],
            raw,
        )
    )


def copy_stream(runs: Sequence[Sequence[bytes]]) -> bytes:
    """Join runs of rows to one binary COPY stream."""
    return b"".join((HEADER, *(b"".join(run) for run in runs), TRAILER))
