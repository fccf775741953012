"""The customer display on a serial line: the bytes it is sent, and one that takes none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import DisplayError, Reason
from firmware_adapters.link import MemoryLink
from firmware_adapters.serial_display import COMMANDS, SerialGlass
from tests.support.display_bench import SerialDisplayBench
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[SerialDisplayBench]:
    bench = SerialDisplayBench(tmp_path)
    yield bench
    bench.dispose()


@pytest.mark.parametrize(
    ("commands", "begin", "before"),
    [("cd5220", "0c 1b5f00", "1b11 0b"), ("escpos", "0c 1f4300", "1f01 0b")],
)
async def test_the_first_text_begins_anew_and_each_is_43_bytes(commands: str, begin: str, before: str):
    link = MemoryLink()
    glass = SerialGlass(link, COMMANDS[commands])
    rows = ["UP".ljust(20), "DOWN".ljust(20)]
    await glass.put(rows)
    await glass.put(rows)
    text = bytes.fromhex(before) + b"UP" + b" " * 18 + b"DOWN" + b" " * 16
    assert link.written == bytes.fromhex(begin) + text + text
    assert len(text) == 43  # 44.8 ms at 9,600 baud: within the 50 ms of any feedback


async def test_what_another_program_left_is_ended(bench: SerialDisplayBench):
    await until(lambda: bench.rows() == ["BUY TWO", "PAY ONE"])
    hold = asyncio.create_task(bench.display.hold())
    async with asyncio.timeout(DEADLINE_S):
        await bench.display.opened()
    await until(lambda: bench.rows() == ["", ""])
    last = bench.plug.told()[-1]
    assert (last["cursor"], last["unknown"], last["begun"]) == (False, [], "")
    await bench.display.aclose()
    await hold


async def test_a_display_that_takes_nothing_is_cut_off_and_used_again_when_it_does(bench: SerialDisplayBench):
    hold = asyncio.create_task(bench.display.hold())
    async with asyncio.timeout(DEADLINE_S):
        await bench.display.opened()
    bench.plug.hang()
    with pytest.raises(DisplayError) as caught:
        await asyncio.wait_for(bench.display.show(["NOBODY"]), DEADLINE_S)
    assert caught.value.reason is Reason.DEADLINE
    with pytest.raises(DisplayError) as ended:
        await asyncio.wait_for(hold, DEADLINE_S)
    assert ended.value is caught.value
    bench.plug.resume()
    again = asyncio.create_task(bench.display.hold())
    async with asyncio.timeout(DEADLINE_S):
        await bench.display.opened()
    await bench.display.show(["AGAIN"])
    await until(lambda: bench.rows() == ["AGAIN", ""])
    await bench.display.aclose()
    await again


async def test_what_the_display_sends_means_nothing():
    link = MemoryLink()
    glass = SerialGlass(link, COMMANDS["cd5220"])
    await link.feed(b"\x06\x15noise")
    await link.unplug()
    async with asyncio.timeout(DEADLINE_S):
        assert (await glass.gone()).reason is Reason.LOST
