"""Devices that come and go: what they said last counts no more, and each change is journaled once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from edge.attend import watch_inputs
from edge.ports import InputChange, InputLine, InputsError, LineState, Reason
from tests.support.rig import Rig, running_rig
from tests.support.waiting import until
from wire.event import parse_event
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class LosableInputs:
    """Wires behind a line that can be cut; a test says what they tell."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[InputChange | None] = asyncio.Queue()
        self.watched = 0

    async def changes(self) -> AsyncIterator[InputChange]:
        self.watched += 1
        while (change := await self.told.get()) is not None:
            yield change
        raise InputsError(Reason.LOST, what="the input board is gone", remedy="plug it in")

    async def aclose(self) -> None:
        """Nothing to free."""

    def tell(self, line: InputLine, state: LineState) -> None:
        self.told.put_nowait(InputChange(line, state, 1))

    def lose(self) -> None:
        self.told.put_nowait(None)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


@pytest.fixture
async def inputs(rig: Rig) -> AsyncIterator[LosableInputs]:
    made = LosableInputs()
    watching = asyncio.create_task(watch_inputs(rig.controller, made))
    yield made
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


async def test_what_lost_wires_said_last_counts_no_more(rig: Rig, inputs: LosableInputs):
    for line in (InputLine.CONTACT, InputLine.INTERLOCK, InputLine.LOCK_MONITOR):
        inputs.tell(line, LineState.INACTIVE)
    inputs.tell(InputLine.REX, LineState.ACTIVE)
    await rig.next_event(EventKind.EGRESS)
    inputs.lose()
    await rig.next_event(EventKind.INPUTS_LOST)
    door = rig.controller.state.door
    assert {door.contact, door.interlock, door.lock_monitor, door.rex, door.fire} == {LineState.UNKNOWN}
    assert {said.state for said in rig.controller.lines.values()} == {LineState.UNKNOWN}
    assert set(rig.controller.lines) == set(InputLine)
    await rig.next_event(EventKind.DOOR_RELOCKED)  # nobody holds the button that nobody sees


async def test_an_alarm_outlives_the_wire_that_raised_it(rig: Rig, inputs: LosableInputs):
    inputs.tell(InputLine.TAMPER, LineState.ACTIVE)
    await rig.next_event(EventKind.TAMPER)
    inputs.lose()
    await rig.next_event(EventKind.INPUTS_LOST)
    assert EventKind.TAMPER in rig.controller.state.door.alarms


async def test_that_wires_are_lost_and_back_is_journaled_once_each(rig: Rig, inputs: LosableInputs):
    inputs.lose()
    inputs.lose()
    await until(lambda: inputs.watched == 3)
    inputs.tell(InputLine.CONTACT, LineState.ACTIVE)
    await rig.next_event(EventKind.DOOR_OPENED)
    kinds = [parse_event(data).kind for _, data in await rig.store.newest_events(50)]
    assert kinds == [EventKind.INPUTS_LOST, EventKind.INPUTS_RESTORED, EventKind.DOOR_OPENED]
