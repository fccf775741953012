"""Status lists on the disk: the way back to an older one leads to exactly its bits, as far as the limits reach."""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from edge.schema import migrate
from edge.status_tables import (
    CHUNK_BYTES,
    DamagedError,
    KeptStatuses,
    UndoLimits,
    bits_at,
    forget_undo,
    put_status,
    statuses,
)
from wire.status_list import StatusList

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = UndoLimits(steps=5, undo_bytes=4 * CHUNK_BYTES)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    migrate(opened)
    yield opened
    opened.close()


def status(sequence: int, bits: bytes, *, issued_at_s: int = 1, list_id: int = 3) -> StatusList:
    return StatusList(
        tenant="north",
        list_id=list_id,
        sequence=sequence,
        issued_at_s=issued_at_s,
        expires_at_s=issued_at_s + 10,
        ttl_s=3,
        bits=bits,
    )


def changed(bits: bytes, *chunks: int) -> bytes:
    """Change one bit in each of these chunks."""
    made = bytearray(bits)
    for number in chunks:
        made[number * CHUNK_BYTES] ^= 1
    return bytes(made)


def test_every_sequence_number_of_a_list_that_changes_grows_and_shrinks_is_known(connection: sqlite3.Connection):
    random_bits = random.Random(7)
    history: dict[int, bytes] = {}
    for sequence in range(1, 40):
        size = random_bits.choice((0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 1, 3 * CHUNK_BYTES))
        history[sequence] = random_bits.randbytes(size)
        put_status(connection, status(sequence, history[sequence]), UndoLimits())
    assert {sequence: bits_at(connection, 3, sequence) for sequence in history} == history
    assert statuses(connection).lists == [status(39, history[39])]


def test_lists_do_not_mix(connection: sqlite3.Connection):
    for sequence in (1, 2):
        put_status(connection, status(sequence, b"a%d" % sequence), LIMITS)
        put_status(connection, status(sequence, b"b%d" % sequence, list_id=4), LIMITS)
    assert [bits_at(connection, list_id, 1) for list_id in (3, 4)] == [b"a1", b"b1"]


@pytest.mark.parametrize("sequence", [0, 2, 4])
def test_a_sequence_number_that_never_was_is_not_known(connection: sqlite3.Connection, sequence: int):
    put_status(connection, status(1, b"one"), LIMITS)
    put_status(connection, status(3, b"three"), LIMITS)
    assert bits_at(connection, 3, sequence) is None
    assert bits_at(connection, 9, sequence) is None


def test_a_list_signed_anew_takes_no_step(connection: sqlite3.Connection):
    put_status(connection, status(1, b"one"), LIMITS)
    for issued_at_s in range(2, 20):
        assert put_status(connection, status(1, b"one", issued_at_s=issued_at_s), LIMITS) == 1
    assert connection.execute("SELECT count(*) FROM status_undo").fetchone() == (0,)


def test_as_many_steps_back_are_kept_as_the_limit_says(connection: sqlite3.Connection):
    oldest = [put_status(connection, status(sequence, b"%d" % sequence), LIMITS) for sequence in range(1, 9)]
    assert oldest == [1, 1, 1, 1, 1, 1, 2, 3]
    assert bits_at(connection, 3, 3) == b"3"
    assert bits_at(connection, 3, 2) is None


def test_the_way_back_takes_as_many_bytes_as_the_limit_says(connection: sqlite3.Connection):
    bits = bytes(6 * CHUNK_BYTES)
    put_status(connection, status(1, bits), LIMITS)
    one = changed(bits, 0, 1, 2)
    assert put_status(connection, status(2, one), LIMITS) == 1
    two = changed(one, 3)
    assert put_status(connection, status(3, two), LIMITS) == 1  # 4 chunks: just within
    assert bits_at(connection, 3, 1) == bits
    assert put_status(connection, status(4, changed(two, 5)), LIMITS) == 2  # a fifth is too much
    assert bits_at(connection, 3, 2) == one
    assert bits_at(connection, 3, 1) is None


def test_a_change_larger_than_the_limit_leaves_no_way_back(connection: sqlite3.Connection):
    bits = bytes(6 * CHUNK_BYTES)
    put_status(connection, status(1, bits), LIMITS)
    assert put_status(connection, status(2, changed(bits, 0, 1, 2, 3, 4)), LIMITS) == 2
    assert bits_at(connection, 3, 1) is None


def test_steps_that_nobody_needs_can_be_forgotten(connection: sqlite3.Connection):
    for sequence in (1, 2, 3):
        put_status(connection, status(sequence, b"%d" % sequence), LIMITS)
    forget_undo(connection, 3, below=2)
    assert bits_at(connection, 3, 1) is None
    assert bits_at(connection, 3, 2) == b"2"
    assert connection.execute("SELECT count(*) FROM status_undo_chunk").fetchone() == (1,)


def test_a_missing_chunk_is_damage(connection: sqlite3.Connection):
    put_status(connection, status(1, bytes(2 * CHUNK_BYTES)), LIMITS)
    connection.execute("DELETE FROM status_chunk WHERE number = 0")
    assert statuses(connection) == KeptStatuses([], {3: 1})
    with pytest.raises(DamagedError):
        bits_at(connection, 3, 1)


def test_a_damaged_list_is_replaced_and_leads_no_way_back(connection: sqlite3.Connection):
    put_status(connection, status(1, bytes(2 * CHUNK_BYTES)), LIMITS)
    put_status(connection, status(2, b"\x01" * 2 * CHUNK_BYTES), LIMITS)
    connection.execute("DELETE FROM status_chunk WHERE number = 0")
    whole = status(3, b"\x02" * 2 * CHUNK_BYTES)
    assert put_status(connection, whole, LIMITS) == 3
    assert statuses(connection) == KeptStatuses([whole], {})
    assert [bits_at(connection, 3, sequence) for sequence in (1, 2)] == [None, None]
