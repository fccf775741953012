"""The contact: forced, held open, broken; what raises each alarm, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.door import next_deadline_ms, on_line, on_time, step
from edge.core.door_state import DoorState, InputLine, LineState, Mode, Trigger
from edge.core.effects import Effect
from tests.core.campus import MONOTONIC_MS
from tests.core.doors import CLOSED_DOOR, at, kinds, moves, resting
from wire.names import DoorMode, EventKind, RelockRule
from wire.settings import DoorSettings

OPEN, CLOSED, UNKNOWN, FAULT = LineState.ACTIVE, LineState.INACTIVE, LineState.UNKNOWN, LineState.FAULT
FORCED, TOO_LONG, BROKEN = EventKind.FORCED_OPEN, EventKind.OPEN_TOO_LONG, EventKind.CONTACT_FAULT
SECURE_MODES = [Mode.LOCKED, Mode.BLOCKED, Mode.LOCKED_DOWN]
FREE_MODES = [Mode.UNLOCKED, Mode.LOCKED_OPEN]


def reads(door: DoorState, *states: LineState, later_ms: int = 0) -> tuple[DoorState, list[EventKind]]:
    """Let the contact say one thing after another; gives the events."""
    seen: list[Effect] = []
    for state in states:
        door, effects = on_line(door, InputLine.CONTACT, state, at(later_ms))
        seen.extend(effects)
    assert moves(seen) == []
    return door, kinds(seen)


# --- opened and closed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", SECURE_MODES)
def test_a_secure_door_that_opens_was_forced(mode: Mode):
    state, events = reads(resting(mode), OPEN)
    assert events == [EventKind.DOOR_OPENED, FORCED]
    assert state.mode is mode
    assert state.alarms == {FORCED}


@pytest.mark.parametrize("mode", [Mode.ACCESSED, *FREE_MODES])
def test_a_released_door_that_opens_was_not_forced(mode: Mode):
    state, events = reads(resting(mode), OPEN)
    assert (state.alarms, events) == (frozenset(), [EventKind.DOOR_OPENED])


@pytest.mark.parametrize("mode", list(Mode))
def test_closing_ends_what_opening_began(mode: Mode):
    opened = replace(resting(mode), contact=OPEN, last_known=OPEN, alarms=frozenset({FORCED, TOO_LONG}))
    state, effects = on_line(opened, InputLine.CONTACT, CLOSED, at(relock=RelockRule.AFTER_RELEASE_TIME))
    assert kinds(effects) == [
        EventKind.DOOR_CLOSED,
        EventKind.FORCED_OPEN_RESTORED,
        EventKind.OPEN_TOO_LONG_RESTORED,
    ]
    assert (state.alarms, state.open_due_at_ms, state.pre_alarm_at_ms) == (frozenset(), None, None)


def test_closing_without_an_alarm_ends_none():
    _, events = reads(resting(Mode.UNLOCKED), OPEN, CLOSED)
    assert events == [EventKind.DOOR_OPENED, EventKind.DOOR_CLOSED]


@pytest.mark.parametrize("state", [OPEN, CLOSED])
def test_saying_the_same_again_is_no_movement(state: LineState):
    before, _ = reads(CLOSED_DOOR, state)
    assert reads(before, state) == (before, [])


# --- found at start, and after the inputs were lost ------------------------------------------------------------


def test_a_door_found_closed_at_start_is_no_event():
    state, events = reads(DoorState(), CLOSED)
    assert (state, events) == (CLOSED_DOOR, [])


@pytest.mark.parametrize("mode", list(Mode))
def test_a_door_found_open_at_start_was_not_forced(mode: Mode):
    unread = replace(resting(mode), contact=UNKNOWN, last_known=UNKNOWN)
    state, events = reads(unread, OPEN)
    assert (events, state.alarms) == ([EventKind.DOOR_OPENED], frozenset())
    assert (state.open_due_at_ms is None) is (mode in FREE_MODES)


@pytest.mark.parametrize("between", [UNKNOWN, FAULT])
def test_a_door_that_stayed_as_it_was_while_nobody_could_see_has_not_moved(between: LineState):
    for before in (OPEN, CLOSED):
        start, _ = reads(CLOSED_DOOR, before)
        _, events = reads(start, between, before)
        assert set(events) <= {BROKEN, EventKind.CONTACT_RESTORED}


def test_a_door_that_closed_while_nobody_could_see_ends_its_alarms():
    forced, _ = reads(CLOSED_DOOR, OPEN)
    state, events = reads(forced, UNKNOWN, CLOSED)
    assert events == [EventKind.DOOR_CLOSED, EventKind.FORCED_OPEN_RESTORED]
    assert (state.alarms, next_deadline_ms(state)) == (frozenset(), None)


def test_a_door_that_opened_while_its_inputs_were_lost_was_found_open():
    _, events = reads(CLOSED_DOOR, UNKNOWN, OPEN)
    assert events == [EventKind.DOOR_OPENED]


# --- a broken wire ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(Mode))
def test_a_broken_contact_raises_its_alarm_in_every_mode(mode: Mode):
    state, events = reads(resting(mode), FAULT)
    assert events == [BROKEN]
    assert state.alarms == {BROKEN}


def test_a_contact_alarm_is_raised_once():
    _, events = reads(CLOSED_DOOR, FAULT, UNKNOWN, FAULT)
    assert events == [BROKEN]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_contact_that_can_be_read_again_ends_its_alarm(mode: Mode):
    state, events = reads(resting(mode), FAULT, CLOSED)
    assert (events, state.alarms) == ([BROKEN, EventKind.CONTACT_RESTORED], frozenset())


def test_a_door_that_opened_under_a_broken_wire_counts_as_forced():
    state, events = reads(CLOSED_DOOR, FAULT, OPEN)
    assert events == [BROKEN, EventKind.CONTACT_RESTORED, EventKind.DOOR_OPENED, FORCED]
    assert state.alarms == {FORCED}


def test_a_broken_wire_does_not_relock_a_door_that_nobody_has_opened_yet():
    start = resting(Mode.ACCESSED)
    state, _ = on_line(start, InputLine.CONTACT, FAULT, at(relock=RelockRule.ON_CLOSE))
    state, effects = on_line(state, InputLine.CONTACT, CLOSED, at(relock=RelockRule.ON_CLOSE))
    assert (state.mode, moves(effects)) == (Mode.ACCESSED, [])


def test_a_lost_contact_is_no_event():
    state, events = reads(CLOSED_DOOR, UNKNOWN)
    assert (state.contact, state.last_known, events) == (UNKNOWN, CLOSED, [])


# --- held open -------------------------------------------------------------------------------------------------

HELD = DoorSettings(open_time_ms=30_000, pre_alarm_ms=10_000, relock=RelockRule.ON_OPEN)


def opened(settings: DoorSettings = HELD) -> DoorState:
    return on_line(resting(Mode.ACCESSED), InputLine.CONTACT, OPEN, at(settings=settings))[0]


def test_a_door_held_open_warns_and_then_alarms():
    state = opened()
    assert on_time(state, at(19_999, settings=HELD)) == (state, ())
    state, effects = on_time(state, at(20_000, settings=HELD))
    assert (kinds(effects), state.alarms) == ([EventKind.OPEN_PRE_ALARM], frozenset())
    assert on_time(state, at(29_999, settings=HELD)) == (state, ())
    state, effects = on_time(state, at(30_000, settings=HELD))
    assert kinds(effects) == [TOO_LONG]
    assert state.alarms == {TOO_LONG}
    assert next_deadline_ms(state) is None


def test_a_door_closed_in_time_raises_nothing():
    state, effects = on_line(opened(), InputLine.CONTACT, CLOSED, at(29_999, settings=HELD))
    assert kinds(effects) == [EventKind.DOOR_CLOSED]
    assert on_time(state, at(90_000, settings=HELD)) == (state, ())


def test_no_pre_alarm_is_given_when_its_time_is_nothing():
    settings = replace(HELD, pre_alarm_ms=0)
    state = opened(settings)
    assert next_deadline_ms(state) == MONOTONIC_MS + 30_000
    _, effects = on_time(state, at(30_000, settings=settings))
    assert kinds(effects) == [TOO_LONG]


def test_a_forced_door_also_alarms_when_it_stays_open():
    forced, _ = reads(CLOSED_DOOR, OPEN)
    state, effects = on_time(forced, at(30_000))
    assert kinds(effects) == [EventKind.OPEN_PRE_ALARM, TOO_LONG]
    assert state.alarms == {FORCED, TOO_LONG}


@pytest.mark.parametrize("mode", FREE_MODES)
def test_a_free_door_may_stand_open(mode: Mode):
    state, _ = on_line(resting(mode), InputLine.CONTACT, OPEN, at(mode=DoorMode.UNLOCKED))
    assert (state.open_due_at_ms, state.pre_alarm_at_ms) == (None, None)


@pytest.mark.parametrize("trigger", [Trigger.FIRE, Trigger.POLICY])
def test_a_door_that_becomes_free_is_no_longer_watched(trigger: Trigger):
    forced, _ = reads(CLOSED_DOOR, OPEN)
    state, _ = step(forced, trigger, at(mode=DoorMode.UNLOCKED))
    assert state.mode in FREE_MODES
    assert (state.open_due_at_ms, state.pre_alarm_at_ms) == (None, None)


def test_a_door_that_stands_open_when_it_is_secured_is_watched_from_then_on():
    state, _ = on_line(resting(Mode.UNLOCKED), InputLine.CONTACT, OPEN, at(mode=DoorMode.UNLOCKED))
    state, _ = step(state, Trigger.POLICY, at(1_000))
    assert (state.mode, state.open_due_at_ms) == (Mode.LOCKED, MONOTONIC_MS + 31_000)
    state, _ = step(state, Trigger.POLICY, at(2_000))
    assert state.open_due_at_ms == MONOTONIC_MS + 31_000
    state, _ = on_time(state, at(31_000))
    assert step(state, Trigger.POLICY, at(40_000))[0].open_due_at_ms is None


def test_a_relocked_door_keeps_the_time_that_runs():
    settings = replace(HELD, relock=RelockRule.AFTER_RELEASE_TIME)
    state = opened(settings)
    due = state.open_due_at_ms
    state, _ = on_time(state, at(1_000, settings=settings))
    assert (state.mode, state.open_due_at_ms) == (Mode.LOCKED, due)


# --- any history -----------------------------------------------------------------------------------------------

_BEGINS_AND_ENDS = {
    FORCED: EventKind.FORCED_OPEN_RESTORED,
    TOO_LONG: EventKind.OPEN_TOO_LONG_RESTORED,
    BROKEN: EventKind.CONTACT_RESTORED,
    EventKind.DOOR_OPENED: EventKind.DOOR_CLOSED,
}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("contact"), st.sampled_from(LineState)),
            st.tuples(st.just("rex"), st.sampled_from(LineState)),
            st.tuples(st.just("fire"), st.sampled_from(LineState)),
            st.tuples(st.just("policy"), st.sampled_from(DoorMode)),
            st.tuples(st.just("wait"), st.integers(0, 60_000)),
        ),
        max_size=30,
    )
)
def test_every_beginning_and_its_end_alternate(history: list[tuple[str, LineState | DoorMode | int]]):
    door, later_ms, mode, seen = DoorState(), 0, DoorMode.LOCKED, list[EventKind]()
    for name, value in history:
        effects: tuple[Effect, ...]
        if isinstance(value, LineState):
            door, effects = on_line(door, InputLine(name), value, at(later_ms, mode=mode))
        elif isinstance(value, DoorMode):
            mode = value
            door, effects = step(door, Trigger.POLICY, at(later_ms, mode=mode))
        else:
            later_ms += value
            door, effects = on_time(door, at(later_ms, mode=mode))
        seen += kinds(effects)
    for begin, end in _BEGINS_AND_ENDS.items():
        told = [kind for kind in seen if kind in (begin, end)]
        assert told[:1] in ([], [begin])
        assert all(one is not other for one, other in pairwise(told))
        assert (begin in door.alarms) is (told[-1:] == [begin]) or begin is EventKind.DOOR_OPENED
