"""Tables of a roster as packed bytes: rows of one width in the order of their keys (docs/spec/roster.md).

Invariant: a table that was checked is looked up in microseconds and holds no object for a row.
Must not: run long in one call of C: a check goes batch by batch, so that a thread that checks lets the others run.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import compress, islice, starmap
from operator import eq, lt
from typing import Final, TypeVar

from wire.errors import WireError, WireReason
from wire.passes import PASS_FLAGS, PASS_KINDS

KEY_BYTES: Final = 16
RECORD_BYTES: Final = 29
"""key 16, roster id 8, kind 1, flags 1, PIN 1, level set 2."""
PIN_BYTES: Final = 64
"""key 16, salt 16, PIN 16, duress PIN 16."""
RECORD: Final = struct.Struct(">16s8sBBBH")
PIN_ROW: Final = struct.Struct(">16s16s16s16s")
NO_PIN, ONE_PIN, WITH_DURESS = 0, 1, 2
"""What a record's PIN byte says: no row in the table of PINs, a row, a row with a duress PIN."""
NO_DURESS: Final = bytes(16)

_KIND, _FLAGS, _PIN, _LEVEL_SET = 24, 25, 26, 27
_BATCH: Final = 4096
"""Rows a call: about a millisecond on a small computer, and the event loop can run again."""
_KEYS: Final = struct.Struct(">16s")
_RECORD_KEYS: Final = struct.Struct(">16s13x")
_PIN_KEYS: Final = struct.Struct(">16s48x")
_DURESS: Final = struct.Struct(">48x16s")
_IS_ONE: Final = bytes.maketrans(bytes((ONE_PIN, WITH_DURESS)), b"\x01\x00")

_T = TypeVar("_T")


def place_of(table: bytes, width: int, key: bytes, low: int = 0) -> int:
    """Give the number of the first row from `low` on whose key is not below this one.

    A loop, because `bisect` with a function for the key takes half as long again.
    """
    high = len(table) // width
    while low < high:
        middle = (low + high) // 2
        start = middle * width
        if table[start : start + KEY_BYTES] < key:
            low = middle + 1
        else:
            high = middle
    return low


def row_of(table: bytes, width: int, key: bytes) -> bytes | None:
    """Give the row with this key, None when there is none."""
    start = place_of(table, width, key) * width
    return table[start : start + width] if table[start : start + KEY_BYTES] == key else None


def rows(table: bytes, width: int) -> Iterator[tuple[bytes, bytes]]:
    """Give each row with its key, in their order."""
    for start in range(0, len(table), width):
        yield table[start : start + KEY_BYTES], table[start : start + width]


def spliced(table: bytes, width: int, changes: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Put rows into a table: one in place of that with the same key; an empty one takes that away.

    Args:
        table: of rows of `width` bytes.
        width: of a row.
        changes: keys and rows, ascending by key, each key once.
    """
    pieces: list[bytes | memoryview] = []
    view, done = memoryview(table), 0
    for key, row in changes:
        place = place_of(table, width, key, done) * width
        pieces += (view[done * width : place], row)
        done = place // width + (table[place : place + KEY_BYTES] == key)
    pieces.append(view[done * width :])
    return b"".join(pieces)


def check_keys(keys: bytes, field: str) -> None:
    """Refuse packed keys that do not ascend or are cut.

    Raises:
        WireError: OUT_OF_RANGE or NOT_CANONICAL.
    """
    if len(keys) % KEY_BYTES:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    _check_order(keys, _KEYS, field)


def check_records(records: bytes, field: str) -> None:
    """Refuse records that do not ascend by key or hold what nobody defined; level sets are not looked at.

    Raises:
        WireError: OUT_OF_RANGE, NOT_CANONICAL or UNKNOWN_VALUE.
    """
    if len(records) % RECORD_BYTES:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    _check_order(records, _RECORD_KEYS, field)
    for place, known in ((_KIND, PASS_KINDS), (_FLAGS, PASS_FLAGS), (_PIN, (NO_PIN, ONE_PIN, WITH_DURESS))):
        if records[place::RECORD_BYTES].translate(None, bytes(known)):
            raise WireError(WireReason.UNKNOWN_VALUE, field)


def check_level_sets(records: bytes, count: int, field: str) -> None:
    """Refuse records that name a level set which is not among the first `count`.

    Raises:
        WireError: UNKNOWN_VALUE.
    """
    high, low = records[_LEVEL_SET::RECORD_BYTES], records[_LEVEL_SET + 1 :: RECORD_BYTES]
    most, end = divmod(count, 0x100)
    beyond = high.translate(None, bytes(range(min(most + 1, 0x100))))
    at_most = compress(low, high.translate(bytes(number == most for number in range(0x100))))
    if beyond or max(at_most, default=-1) >= end:
        raise WireError(WireReason.UNKNOWN_VALUE, field)


def check_pins(records: bytes, pins: bytes, field: str) -> None:
    """Refuse a table of PINs that is not exactly that of the records which have one.

    Raises:
        WireError: OUT_OF_RANGE for another number of rows, NOT_CANONICAL for other keys or a filled empty place.
    """
    marks = records[_PIN::RECORD_BYTES]
    if len(pins) != PIN_BYTES * (len(marks) - marks.count(NO_PIN)):
        raise WireError(WireReason.OUT_OF_RANGE, field)
    pairs = zip(compress(_RECORD_KEYS.iter_unpack(records), marks), _PIN_KEYS.iter_unpack(pins), strict=True)
    if not all(all(starmap(eq, batch)) for batch in _batches(pairs)):
        raise WireError(WireReason.NOT_CANONICAL, field)
    without = compress(_DURESS.iter_unpack(pins), marks.translate(_IS_ONE, bytes((NO_PIN,))))
    if any(set(batch) != {(NO_DURESS,)} for batch in _batches(without)):
        raise WireError(WireReason.NOT_CANONICAL, field)


def _check_order(table: bytes, keys: struct.Struct, field: str) -> None:
    for start in range(0, len(table), _BATCH * keys.size):
        found = [key for (key,) in keys.iter_unpack(table[start : start + (_BATCH + 1) * keys.size])]
        if not all(map(lt, found, islice(found, 1, None))):
            raise WireError(WireReason.NOT_CANONICAL, field)


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        yield batch
