"""Every wire of a simulated door tells each of its states, and is as it was after a restart, as a real door's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import InputChange, InputLine, LineState
from firmware_adapters.simulated import ALWAYS_CONNECTED, COMMANDS, SimulatedInputs, send_control
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REX = InputLine.REX
ACTIVE, INACTIVE = LineState.ACTIVE, LineState.INACTIVE
STAYING = [line for line in InputLine if line is not REX]
TOLD = [state for state in LineState if state is not LineState.UNKNOWN]


@pytest.fixture(name="inputs")
async def _inputs(tmp_path: Path) -> AsyncIterator[SimulatedInputs]:
    inputs = SimulatedInputs(str(tmp_path))
    yield inputs
    await inputs.aclose()


async def _next(changes: AsyncIterator[InputChange]) -> tuple[InputLine, LineState]:
    async with asyncio.timeout(DEADLINE_S):
        change = await anext(changes)
    return change.line, change.state


async def _watched(inputs: SimulatedInputs) -> AsyncIterator[InputChange]:
    """Watch the inputs, past what they tell first."""
    changes = inputs.changes()
    for _ in ALWAYS_CONNECTED:
        await _next(changes)
    return changes


async def _drive(folder: Path, line: InputLine, state: LineState) -> None:
    (command,) = [words for words, driven in COMMANDS.items() if driven == (line, state)]
    await send_control(folder, command)


@pytest.mark.parametrize("line", STAYING)
async def test_every_wire_tells_quiet_active_and_broken(tmp_path: Path, inputs: SimulatedInputs, line: InputLine):
    changes = await _watched(inputs)
    for state in (LineState.FAULT, ACTIVE, INACTIVE):
        await _drive(tmp_path, line, state)
        assert await _next(changes) == (line, state)


@pytest.mark.parametrize("line", STAYING)
@pytest.mark.parametrize("state", TOLD)
async def test_every_wire_but_the_button_is_as_it_was_after_a_restart(
    tmp_path: Path, inputs: SimulatedInputs, line: InputLine, state: LineState
):
    changes = await _watched(inputs)
    await _drive(tmp_path, line, ACTIVE if state is INACTIVE else INACTIVE)
    await _drive(tmp_path, line, state)
    while await _next(changes) != (line, state):
        pass
    await inputs.aclose()
    again = SimulatedInputs(str(tmp_path))
    told = again.changes()
    present = dict([await _next(told) for _ in {*ALWAYS_CONNECTED, line}])
    assert (present[line], present[REX]) == (state, INACTIVE)
    await again.aclose()
