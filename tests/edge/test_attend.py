"""Devices that come and go: what they said last counts no more, and each change is journaled once and by name."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from edge.attend import AttendedInputs, DeviceState, Pace, attend_inputs
from edge.ports import InputChange, InputLine, InputsError, LineState, Reason
from firmware_adapters.catalogue import open_inputs
from tests.support.rig import Rig, running_rig
from tests.support.waiting import DEADLINE_S, until
from wire.event import parse_event
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ALL = frozenset(InputLine)


class LosableInputs:
    """Wires behind a line that can be cut; a test says what they tell."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[InputChange | None] = asyncio.Queue()
        self.watched = 0
        self.closed = 0
        self.there = True

    def open(self) -> LosableInputs:
        if not self.there:
            raise InputsError(Reason.LOST, what="the input board is not there", remedy="plug it in")
        return self

    async def changes(self) -> AsyncIterator[InputChange]:
        self.watched += 1
        while (change := await self.told.get()) is not None:
            yield change
        raise InputsError(Reason.LOST, what="the input board is gone", remedy="plug it in")

    async def aclose(self) -> None:
        self.closed += 1

    def tell(self, line: InputLine, state: LineState) -> None:
        self.told.put_nowait(InputChange(line, state, 1))

    def lose(self) -> None:
        self.told.put_nowait(None)


@dataclass
class Watch:
    """Addresses of inputs that are attended, each by itself."""

    rig: Rig
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(
        self,
        inputs: LosableInputs,
        lines: frozenset[InputLine] = ALL,
        name: str = "board-1",
        pace: Pace = Pace(first_pause_s=0.01),  # noqa: B008 - frozen
    ) -> AttendedInputs:
        attended = AttendedInputs(name, f"test:{name}", lines, inputs.open, pace)
        self.tasks.append(asyncio.create_task(attend_inputs(self.rig.controller, attended)))
        return attended

    async def kinds(self) -> list[tuple[EventKind, str | None]]:
        """Give what was journaled, and of which device."""
        events = [parse_event(data) for _, data in await self.rig.store.newest_events(50)]
        return [(event.kind, event.reader) for event in events]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


@pytest.fixture
async def watch(rig: Rig) -> AsyncIterator[Watch]:
    made = Watch(rig)
    yield made
    for task in made.tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def inputs(watch: Watch) -> LosableInputs:
    made = LosableInputs()
    watch.start(made)
    return made


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


async def test_that_wires_are_lost_and_back_is_journaled_once_each(rig: Rig, watch: Watch, inputs: LosableInputs):
    inputs.lose()
    inputs.lose()
    await until(lambda: inputs.watched == 3)
    inputs.tell(InputLine.CONTACT, LineState.ACTIVE)
    await rig.next_event(EventKind.DOOR_OPENED)
    assert await watch.kinds() == [
        (EventKind.INPUTS_LOST, "board-1"),
        (EventKind.INPUTS_RESTORED, "board-1"),
        (EventKind.DOOR_OPENED, None),
    ]


async def test_inputs_are_opened_anew_after_a_loss(rig: Rig, watch: Watch):
    board = LosableInputs()
    board.there = False
    attended = watch.start(board)
    await rig.next_event(EventKind.INPUTS_LOST)
    lost = attended.error
    assert lost is not None
    told = (attended.state, lost.reason, str(lost))
    assert told == (DeviceState.LOST, Reason.LOST, "the input board is not there; plug it in")
    board.there = True
    board.tell(InputLine.CONTACT, LineState.ACTIVE)
    await rig.next_event(EventKind.DOOR_OPENED)
    assert (attended.state, attended.error) == (DeviceState.OPEN, None)
    board.lose()
    await rig.next_event(EventKind.INPUTS_LOST)
    await until(lambda: (board.closed, board.watched) == (1, 2))


async def test_inputs_that_tell_nothing_in_time_are_lost(rig: Rig, watch: Watch):
    attended = watch.start(LosableInputs(), pace=Pace(first_word_s=0.05))
    await rig.next_event(EventKind.INPUTS_LOST)
    assert attended.error is not None
    assert attended.error.reason is Reason.DEADLINE
    assert attended.error.what == "the inputs test:board-1 do not tell how their wires are within 0.05 s"


async def test_inputs_are_attended_until_they_are_closed(watch: Watch, tmp_path: Path):
    url = f"simulated://{tmp_path / 'twin'}"
    attended = AttendedInputs("simulated-1", url, ALL, partial(open_inputs, url))
    attending = asyncio.create_task(attend_inputs(watch.rig.controller, attended))
    await until(lambda: attended.state is DeviceState.OPEN)
    await attended.aclose()
    async with asyncio.timeout(DEADLINE_S):
        await attending
    assert [kind for kind, _ in await watch.kinds()] == []


def test_the_pauses_between_attempts_grow_to_their_limit():
    pace, pauses = Pace(first_pause_s=0.5, longest_pause_s=5.0), [0.0]
    for _ in range(6):
        pauses.append(pace.next_pause_s(pauses[-1], watched_s=0.1))
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(("watched_s", "pause_s"), [(4.9, 5.0), (5.0, 0.5)])
def test_inputs_that_were_watched_for_long_are_opened_again_soon(watched_s: float, pause_s: float):
    assert Pace(first_pause_s=0.5, longest_pause_s=5.0).next_pause_s(4.0, watched_s) == pause_s


# --- several addresses -----------------------------------------------------------------------------------------


DOOR, PANEL = frozenset({InputLine.CONTACT, InputLine.REX}), frozenset({InputLine.FIRE, InputLine.TAMPER})


async def test_a_lost_board_leaves_the_wires_of_the_others_as_they_are(rig: Rig, watch: Watch):
    chip, board = LosableInputs(), LosableInputs()
    on_chip, on_board = watch.start(chip, DOOR, "gpio-1"), watch.start(board, PANEL, "modbus-2")
    chip.tell(InputLine.CONTACT, LineState.ACTIVE)
    board.tell(InputLine.FIRE, LineState.INACTIVE)
    await rig.next_event(EventKind.DOOR_OPENED)
    await until(lambda: rig.controller.state.door.fire is LineState.INACTIVE)
    board.lose()
    await rig.next_event(EventKind.INPUTS_LOST)
    door = rig.controller.state.door
    assert (door.contact, door.fire) == (LineState.ACTIVE, LineState.UNKNOWN)
    assert (on_chip.state, on_board.state) == (DeviceState.OPEN, DeviceState.LOST)
    chip.tell(InputLine.REX, LineState.ACTIVE)
    await rig.next_event(EventKind.EGRESS)
    assert chip.watched == 1


async def test_each_board_is_told_as_lost_and_as_back_by_its_own_name(rig: Rig, watch: Watch):
    chip, board = LosableInputs(), LosableInputs()
    watch.start(chip, DOOR, "gpio-1")
    watch.start(board, PANEL, "modbus-2")
    board.lose()
    await rig.next_event(EventKind.INPUTS_LOST)
    chip.lose()
    await rig.next_event(EventKind.INPUTS_LOST)
    board.tell(InputLine.FIRE, LineState.INACTIVE)
    await rig.next_event(EventKind.INPUTS_RESTORED)
    chip.tell(InputLine.CONTACT, LineState.INACTIVE)
    await rig.next_event(EventKind.INPUTS_RESTORED)
    lost, back = EventKind.INPUTS_LOST, EventKind.INPUTS_RESTORED
    assert await watch.kinds() == [(lost, "modbus-2"), (lost, "gpio-1"), (back, "modbus-2"), (back, "gpio-1")]


async def test_a_wire_that_is_not_taken_from_a_board_is_not_heard(rig: Rig, watch: Watch):
    reader = LosableInputs()
    watch.start(reader, frozenset({InputLine.POWER}))
    reader.tell(InputLine.TAMPER, LineState.ACTIVE)
    reader.tell(InputLine.POWER, LineState.ACTIVE)
    await rig.next_event(EventKind.POWER_LOST)
    assert set(rig.controller.lines) == {InputLine.POWER}
    assert [kind for kind, _ in await watch.kinds()] == [EventKind.POWER_LOST]


class StuckInputs(LosableInputs):
    """A board that never lets go."""

    async def aclose(self) -> None:
        await asyncio.Event().wait()


async def test_a_board_that_does_not_let_go_is_left_to_itself(watch: Watch):
    stuck = StuckInputs()
    watch.start(stuck, pace=Pace(first_pause_s=0.01, close_s=0.01))
    stuck.lose()
    await until(lambda: stuck.watched == 2)
