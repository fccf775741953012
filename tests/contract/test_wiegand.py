"""The Wiegand reader above its decoder: what becomes a presentation, a PIN, or nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import Form, Medium
from tests.support.readers import listening
from tests.support.waiting import DEADLINE_S, until
from tests.support.wiegand_bench import WiegandBench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path) -> AsyncIterator[WiegandBench]:
    bench = WiegandBench(tmp_path, pin_pause_ms=500)
    yield bench
    async with asyncio.timeout(DEADLINE_S):
        await bench.reader.aclose()


async def test_a_card_is_a_number_that_proves_nothing(bench: WiegandBench):
    async with listening(bench.reader) as listener:
        bench.present(b"CARD")
        read = await listener.next()
    assert (read.form, read.medium) == (Form.CARD_NUMBER, Medium.NFC)


async def test_a_frame_that_does_not_hold_is_delivered_as_no_number(bench: WiegandBench):
    async with listening(bench.reader) as listener:
        bench.send([1] * 26)
        assert await listener.next_payload() == b""
        bench.present(b"NEXT")
        assert await listener.next_payload() == bench.read_as(b"NEXT")


async def test_noise_is_counted_and_not_delivered(bench: WiegandBench):
    async with listening(bench.reader) as listener:
        bench.send([1, 0])
        await until(lambda: bench.reader.noises == 1)
        bench.present(b"CARD")
        assert await listener.next_payload() == bench.read_as(b"CARD")


async def test_keys_become_a_pin_by_its_end_or_by_a_pause(bench: WiegandBench):
    async with listening(bench.reader) as listener:
        bench.press(b"12*34#")
        assert (await listener.next_pin()).digits == b"34"
        bench.press(b"567")
        assert (await listener.next_pin()).digits == b"567"
