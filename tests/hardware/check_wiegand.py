"""A Wiegand reader on lines of the simulated GPIO chip: pulses are slow, their order and count are real."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import ReaderError, Reason
from firmware_adapters.catalogue import open_reader
from tests.support.gpio_sim import GpioSim
from tests.support.readers import Listener, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.ports import Reader

D0, D1 = 23, 24
# As readers pause: pulses that follow sooner than 150 µs are taken for noise.
PERIOD_S = 0.002
PRESENT_AGAIN_S = 2
# H10301: facility 123, card 4567.
FRAME = "1" + "01111011" + "0001000111010111" + "0"


@pytest.fixture(name="sim")
def _sim() -> Iterator[GpioSim]:
    sim = GpioSim()
    yield sim
    sim.remove()


def reader_on(sim: GpioSim) -> Reader:
    return open_reader(f"wiegand://{sim.path}?d0={D0}&d1={D1}&gap_ms=200", "reader-1")


async def send(sim: GpioSim, frame: str) -> None:
    for bit in frame:
        line = D1 if bit == "1" else D0
        sim.pull(line, 0)
        sim.pull(line, 1)
        await asyncio.sleep(PERIOD_S)


async def read_by(listener: Listener, sim: GpioSim) -> bytes:
    """Present a card until it is read: a pause of the emulated machine tears a frame, and its parity refuses it."""
    reading = asyncio.create_task(listener.next_payload())
    while not reading.done():
        await send(sim, FRAME)
        await asyncio.wait({reading}, timeout=PRESENT_AGAIN_S)
    return reading.result()


async def test_a_frame_on_two_lines_is_a_card(sim: GpioSim):
    reader = reader_on(sim)
    async with listening(reader) as listener:
        for _ in range(2):
            assert (await read_by(listener, sim)).hex() == "001abd88eb80"
    await reader.aclose()


async def test_a_line_in_use_is_told(sim: GpioSim):
    reader, other = reader_on(sim), reader_on(sim)
    async with listening(reader):
        error = await Listener(other).failure()
    assert isinstance(error, ReaderError)
    assert error.reason is Reason.BUSY
    await reader.aclose()
    await other.aclose()
