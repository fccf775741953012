"""The counters of tags: on disk before they count, never back, and nobody's name."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import pytest

from firmware_adapters.cards.counters import FILE, MOST_COUNTER, FileCounters, row_of
from firmware_adapters.cards.errors import CardError, CardFault
from tests.support.virtual_cards import NUMBER

_OTHER: Final = bytes.fromhex("04aabbccddeeff")


async def test_counters_are_kept_across_restarts(tmp_path: Path):
    row = row_of(b"secret", NUMBER)
    await FileCounters(tmp_path).advance(row, 5)
    for counter in (5, 4, 0):
        with pytest.raises(CardError) as caught:
            await FileCounters(tmp_path).advance(row, counter)
        assert caught.value.fault is CardFault.REPLAYED
    await FileCounters(tmp_path).advance(row, 6)
    await FileCounters(tmp_path).advance(row_of(b"secret", _OTHER), 1)


async def test_counters_name_nobody_and_are_nobody_elses_business(tmp_path: Path):
    await FileCounters(tmp_path).advance(row_of(b"secret", NUMBER), 5)
    assert NUMBER not in (tmp_path / FILE).read_bytes()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("counter", [-1, MOST_COUNTER + 1])
async def test_a_counter_beyond_three_bytes_is_malformed(tmp_path: Path, counter: int):
    await FileCounters(tmp_path).advance(b"row", MOST_COUNTER)
    with pytest.raises(CardError) as caught:
        await FileCounters(tmp_path).advance(b"other", counter)
    assert caught.value.fault is CardFault.MALFORMED


async def test_a_damaged_file_of_counters_is_a_fault_of_the_store(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    with pytest.raises(CardError) as caught:
        await FileCounters(tmp_path).advance(b"row", 1)
    assert caught.value.fault is CardFault.STORE


async def test_a_locked_file_of_counters_is_a_fault_of_the_store(tmp_path: Path):
    counters = FileCounters(tmp_path)
    await counters.advance(b"row", 1)
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CardError) as caught:
            await counters.advance(b"row", 2)
        other.rollback()
    other.close()
    assert caught.value.fault is CardFault.STORE
