"""What the inputs of every door promise, kept by lines of the kernel's simulated GPIO chip."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import InputLine, Inputs, InputsError, LineState, Reason
from firmware_adapters.catalogue import open_inputs
from tests.contract import test_inputs as suite
from tests.support.gpio_sim import GpioSim
from tests.support.waiting import DEADLINE_S
from tests.support.wires import DOOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# The contract's own tests, with this bench in place of its others.
globals().update({name: each for name, each in vars(suite).items() if name.startswith("test_")})

CONTACT, REX, FIRE = 5, 6, 13
PRESS_S = 0.2


class GpioInputsBench:
    """Wires that a test pulls; a circuit that is open is pulled up."""

    wires = DOOR

    def __init__(self) -> None:
        self.sim = GpioSim({CONTACT: "DOOR_CONTACT"})
        self.url = f"gpio://{self.sim.path}?contact=DOOR_CONTACT&rex={REX}&fire={FIRE}"
        self._levels = {CONTACT: 0, REX: 1, FIRE: 0}

    def open(self) -> Inputs:
        inputs = open_inputs(self.url)
        # The request's own bias has just moved the simulated lines; outside, the circuits are as they were.
        for line, level in self._levels.items():
            self.sim.pull(line, level)
        return inputs

    def pull(self, line: int, level: int) -> None:
        self._levels[line] = level
        self.sim.pull(line, level)

    async def open_door(self) -> None:
        await self._lasting(CONTACT, 1)

    async def close_door(self) -> None:
        await self._lasting(CONTACT, 0)

    async def press(self) -> None:
        self.pull(REX, 0)
        await asyncio.sleep(PRESS_S)
        self.pull(REX, 1)

    async def raise_fire(self) -> None:
        await self._lasting(FIRE, 1)

    async def _lasting(self, line: int, level: int) -> None:
        self.pull(line, level)
        await asyncio.sleep(PRESS_S)


@pytest.fixture(name="bench")
def _bench() -> Iterator[GpioInputsBench]:
    bench = GpioInputsBench()
    yield bench
    bench.sim.remove()


@pytest.fixture(name="inputs")
async def _inputs(bench: GpioInputsBench) -> AsyncIterator[Inputs]:
    inputs = bench.open()
    await asyncio.sleep(PRESS_S)
    yield inputs
    async with asyncio.timeout(DEADLINE_S):
        await inputs.aclose()


async def test_what_does_not_last_is_no_change(bench: GpioInputsBench, inputs: Inputs):
    changes = inputs.changes()
    for _ in range(3):
        await anext(changes)
    for _ in range(10):
        bench.pull(CONTACT, 1)
        bench.pull(CONTACT, 0)
    await bench.raise_fire()
    async with asyncio.timeout(DEADLINE_S):
        change = await anext(changes)
    assert (change.line, change.state) == (InputLine.FIRE, LineState.ACTIVE)


@pytest.mark.parametrize("line", ["40", "NO_SUCH_NAME"])
def test_a_line_that_the_chip_lacks_is_told(bench: GpioInputsBench, line: str):
    with pytest.raises(InputsError) as caught:
        open_inputs(f"gpio://{bench.sim.path}?contact={line}")
    assert caught.value.reason is Reason.UNSUPPORTED
