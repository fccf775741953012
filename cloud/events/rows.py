"""Rows of the table `events` in PostgreSQL's binary COPY format.

Invariant: the fields follow `COLUMNS`, in that order. Source: PostgreSQL, COPY, "Binary Format".
Must not: decide which rows are stored.

Rows are written by hand because this is the hottest path of the cloud: a generic encoder costs twice as much.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from wire.codec import head

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

PARTS_A_ROW: Final = 7
DAY_US: Final = 86_400_000_000
POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01T00:00Z."""

_NULL: Final = b"\xff\xff\xff\xff"
_BIGINT: Final = struct.Struct(">iq").pack
_MIDDLE: Final = struct.Struct(">iqiqi2s").pack
_SMALLINT: Final = struct.Struct(">ih").pack
_LENGTH: Final = struct.Struct(">i").pack
_LONG_TEXT: Final = 0x78
"""Initial byte of a CBOR text whose length stands in the next byte."""
_COUNT: Final = struct.pack(">h", len(COLUMNS))
_SMALL_RANGE: Final = 256
_NULL_ITEM: Final = b"\xf6"
_KINDS: Final = {head(0, number): struct.pack(">h", number) for number in range(_SMALL_RANGE)}
_REASONS: Final = {_NULL_ITEM: _NULL, **{head(0, number): _SMALLINT(2, number) for number in range(_SMALL_RANGE)}}
_LENGTHS: Final = tuple(_LENGTH(n) for n in range(1024))
"""Of an event's bytes (at most 512)."""


def to_postgres_us(unix_ms: int) -> int:
    """Turn Unix milliseconds into PostgreSQL's microseconds."""
    return unix_ms * 1000 - POSTGRES_EPOCH_US


def field(data: bytes) -> bytes:
    """Write a field of bytes or text."""
    return _LENGTH(len(data)) + data


def row_start(*, tenant: str, device: str, epoch: bytes, received_us: int) -> bytes:
    """Write what all rows of a batch begin with: the number of fields and the first four."""
    return b"".join(
        (_COUNT, field(tenant.encode()), field(device.encode()), field(epoch), _BIGINT(8, received_us)),
    )


def row(
    start: bytes, seq: int, at_us: int, kind: bytes, door: bytes, reason: bytes, credential: bytes, raw: bytes
) -> tuple[bytes, ...]:
    """Write one row, in `PARTS_A_ROW` parts that are joined only once for a whole transaction.

    `start` comes from `row_start`, `door` from `text_field`; `at_us` counts as PostgreSQL does; `kind`, `reason` and
    `credential` are the event's own CBOR items; `raw` has at most 1,023 bytes.
    """
    return (
        start,
        _MIDDLE(8, seq, 8, at_us, 2, _KINDS[kind]),
        door,
        _REASONS[reason],
        _NULL if credential == _NULL_ITEM else _LENGTHS[len(credential) - 1] + credential[1:],
        _LENGTHS[len(raw)],
        raw,
    )


def text_field(item: bytes) -> bytes:
    """Write a field from a CBOR text of less than 256 bytes."""
    return field(item[1 if item[0] < _LONG_TEXT else 2 :])


def copy_stream(runs: Iterable[Sequence[bytes]]) -> bytes:
    """Join the parts of rows to one binary COPY stream."""
    return b"".join((HEADER, *chain.from_iterable(runs), TRAILER))
