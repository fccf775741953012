"""What the inputs of every door promise (edge/ports.py), tried on each of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pytest

from edge.ports import InputChange, InputLine, Inputs, InputsError, LineState, Reason
from firmware_adapters.catalogue import open_inputs
from firmware_adapters.simulated import send_control
from tests.support.adc_bench import AdcInputsBench
from tests.support.gpio_bench import FilesInputsBench
from tests.support.modbus_bench import ModbusInputsBench
from tests.support.osdp_bench import OsdpInputsBench
from tests.support.waiting import DEADLINE_S
from tests.support.wires import DOOR, Wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ACTIVE, INACTIVE, UNKNOWN = LineState.ACTIVE, LineState.INACTIVE, LineState.UNKNOWN


class InputsBench(Protocol):
    """Inputs that a test can act on."""

    @property
    def wires(self) -> Wires:
        """What there is."""
        ...

    def open(self) -> Inputs: ...

    async def open_door(self) -> None:
        """Make the door's line active."""
        ...

    async def close_door(self) -> None: ...

    async def press(self) -> None:
        """Press and let go the button."""
        ...

    async def raise_fire(self) -> None:
        """Make the alarm's line active."""
        ...

    def dispose(self) -> None: ...


class SimulatedBench:
    """The simulated inputs, driven through their socket."""

    wires = DOOR

    def __init__(self, folder: Path) -> None:
        # Deeper than the 108 bytes of a Unix socket's address.
        self._folder = folder / ("deep" * 20) / "door"

    def open(self) -> Inputs:
        return open_inputs(f"simulated://{self._folder}")

    async def open_door(self) -> None:
        await send_control(self._folder, "contact open")

    async def close_door(self) -> None:
        await send_control(self._folder, "contact closed")

    async def press(self) -> None:
        await send_control(self._folder, "rex press")

    async def raise_fire(self) -> None:
        await send_control(self._folder, "fire on")

    def dispose(self) -> None:
        """Nothing is held."""


_BENCHES: dict[str, Callable[[Path], InputsBench]] = {
    "simulated": SimulatedBench,
    "gpio+files": FilesInputsBench,
    "adc": AdcInputsBench,
    "modbus+tcp": ModbusInputsBench,
    "modbus": partial(ModbusInputsBench, serial=True),
    "osdp": OsdpInputsBench,
}


@pytest.fixture(params=_BENCHES, name="bench")
async def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InputsBench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    bench.dispose()


@pytest.fixture(name="inputs")
async def _inputs(bench: InputsBench) -> AsyncIterator[Inputs]:
    inputs = bench.open()
    yield inputs
    async with asyncio.timeout(DEADLINE_S):
        await inputs.aclose()


async def _next(changes: AsyncIterator[InputChange]) -> tuple[InputLine, LineState]:
    async with asyncio.timeout(DEADLINE_S):
        change = await anext(changes)
    assert change.at_ms > 0
    return change.line, change.state


async def _present(changes: AsyncIterator[InputChange], wires: Wires) -> dict[InputLine, LineState]:
    """Return the states that are told first; a device that has to be asked for them tells that none is known before."""
    states = dict([await _next(changes) for _ in wires.lines])
    if UNKNOWN in states.values():
        assert set(states.values()) == {UNKNOWN}
        states = dict([await _next(changes) for _ in wires.lines])
    return states


async def test_every_line_is_told_first(bench: InputsBench, inputs: Inputs):
    assert await _present(inputs.changes(), bench.wires) == dict.fromkeys(bench.wires.lines, INACTIVE)


async def test_changes_follow_in_order(bench: InputsBench, inputs: Inputs):
    changes, wires = inputs.changes(), bench.wires
    await _present(changes, wires)
    await bench.open_door()
    await bench.close_door()
    await bench.raise_fire()
    assert [await _next(changes) for _ in range(3)] == [
        (wires.door, ACTIVE),
        (wires.door, INACTIVE),
        (wires.alarm, ACTIVE),
    ]


async def test_a_pressed_button_is_let_go_again(bench: InputsBench, inputs: Inputs):
    changes, button = inputs.changes(), bench.wires.button
    await _present(changes, bench.wires)
    if button is None:
        pytest.skip("there is none to press")
    await bench.press()
    pressed, released = await anext(changes), await anext(changes)
    assert (pressed.line, pressed.state) == (button, ACTIVE)
    assert (released.line, released.state) == (button, INACTIVE)
    # Longer than the 50 ms for which the core debounces inputs.
    assert released.at_ms - pressed.at_ms > 50


async def test_a_state_told_again_is_no_change(bench: InputsBench, inputs: Inputs):
    changes, wires = inputs.changes(), bench.wires
    await _present(changes, wires)
    await bench.close_door()
    await bench.open_door()
    await bench.open_door()
    await bench.raise_fire()
    assert [await _next(changes) for _ in range(2)] == [(wires.door, ACTIVE), (wires.alarm, ACTIVE)]


async def test_contact_and_fire_are_as_they_were_after_a_restart(bench: InputsBench, inputs: Inputs):
    changes, wires = inputs.changes(), bench.wires
    await _present(changes, wires)
    await bench.open_door()
    await bench.raise_fire()
    assert [await _next(changes) for _ in range(2)] == [(wires.door, ACTIVE), (wires.alarm, ACTIVE)]
    await inputs.aclose()
    again = bench.open()
    still = dict.fromkeys(wires.lines, INACTIVE) | {wires.door: ACTIVE, wires.alarm: ACTIVE}
    assert await _present(again.changes(), wires) == still
    await again.aclose()


async def test_iterating_again_tells_the_present_states_again(bench: InputsBench, inputs: Inputs):
    changes, wires = inputs.changes(), bench.wires
    await _present(changes, wires)
    await bench.open_door()
    await _next(changes)
    with pytest.raises(TimeoutError):
        # A daemon that stops listening, by cancelling its wait.
        async with asyncio.timeout(0.01):
            await anext(changes)
    assert (await _present(inputs.changes(), wires))[wires.door] is ACTIVE


async def test_a_wire_that_is_not_connected_says_nothing(bench: InputsBench, inputs: Inputs):
    changes = inputs.changes()
    assert set(await _present(changes, bench.wires)) == set(bench.wires.lines)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(changes)


async def test_a_second_iteration_at_the_same_time_is_refused(bench: InputsBench, inputs: Inputs):
    changes = inputs.changes()
    await _present(changes, bench.wires)
    with pytest.raises(InputsError) as caught:
        await anext(inputs.changes())
    assert caught.value.reason is Reason.BUSY


async def test_closing_ends_the_iteration_and_a_second_close_is_harmless(bench: InputsBench, inputs: Inputs):
    changes = inputs.changes()
    await _present(changes, bench.wires)
    await inputs.aclose()
    await inputs.aclose()
    with pytest.raises(StopAsyncIteration):
        await _next(changes)
    with pytest.raises(InputsError) as caught:
        await _next(inputs.changes())
    assert caught.value.reason is Reason.CLOSED


async def test_inputs_in_use_cannot_be_opened_twice(bench: InputsBench, inputs: Inputs):
    assert inputs is not None
    with pytest.raises(InputsError) as caught:
        bench.open()
    assert caught.value.reason is Reason.BUSY
