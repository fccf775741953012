"""The lock: a bolt that does not follow its order, an adapter that cannot give it, and what ends the alarm."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.door import next_deadline_ms, on_line, on_lock_answer, on_time, step
from edge.core.door_state import DoorState, InputLine, LineState, Mode, Trigger
from edge.core.effects import Effect
from tests.core.campus import MONOTONIC_MS
from tests.core.doors import CLOSED_DOOR, at, kinds, moves, resting
from wire.names import DoorMode, EventKind
from wire.settings import DoorSettings

WITHDRAWN, HOME, UNKNOWN, FAULT = LineState.ACTIVE, LineState.INACTIVE, LineState.UNKNOWN, LineState.FAULT
FAILED, RESTORED = EventKind.LOCK_FAILED, EventKind.LOCK_RESTORED
LOCK_MS = 1_000
WATCHED = DoorSettings(lock_time_ms=LOCK_MS)
RELEASED_MODES = [Mode.ACCESSED, Mode.UNLOCKED, Mode.LOCKED_OPEN]
SECURE_MODES = [Mode.LOCKED, Mode.BLOCKED, Mode.LOCKED_DOWN]
ORDERS = {Mode.UNLOCKED: DoorMode.UNLOCKED, Mode.BLOCKED: DoorMode.BLOCKED, Mode.LOCKED_DOWN: DoorMode.LOCKED_DOWN}


def says(door: DoorState, bolt: LineState, later_ms: int = 0) -> tuple[DoorState, list[EventKind]]:
    door, effects = on_line(door, InputLine.LOCK_MONITOR, bolt, at(later_ms, settings=WATCHED))
    assert moves(effects) == []
    return door, kinds(effects)


def waits(door: DoorState, later_ms: int) -> tuple[DoorState, list[EventKind]]:
    door, effects = on_time(door, at(later_ms, settings=WATCHED))
    return door, kinds(effects)


def answers(door: DoorState, later_ms: int = 0, *, carried_out: bool) -> tuple[DoorState, list[EventKind]]:
    door, effects = on_lock_answer(door, at(later_ms, settings=WATCHED), carried_out=carried_out)
    assert moves(effects) == []
    return door, kinds(effects)


def secured() -> DoorState:
    """A closed door at rest whose bolt was seen at home."""
    return says(CLOSED_DOOR, HOME)[0]


def withdrawn_while_secure() -> DoorState:
    door, _ = says(secured(), WITHDRAWN)
    door, events = waits(door, LOCK_MS)
    assert events == [FAILED]
    return door


# --- the bolt --------------------------------------------------------------------------------------------------


def test_a_bolt_that_follows_in_time_raises_nothing():
    door, _ = step(secured(), Trigger.GRANT, at(settings=WATCHED, hold_ms=5_000))
    assert waits(door, LOCK_MS - 1) == (door, [])
    door, events = says(door, WITHDRAWN, LOCK_MS - 1)
    assert (events, door.lock_due_at_ms) == ([], None)
    assert waits(door, LOCK_MS) == (door, [])


def test_a_bolt_that_does_not_withdraw_raises_the_alarm_when_its_time_is_over():
    door, _ = step(secured(), Trigger.GRANT, at(settings=WATCHED, hold_ms=5_000))
    assert next_deadline_ms(door) == MONOTONIC_MS + LOCK_MS
    door, events = waits(door, LOCK_MS)
    assert (events, list(door.alarms), door.lock_due_at_ms) == ([FAILED], [FAILED], None)


def test_a_bolt_that_does_not_go_home_raises_the_alarm_when_its_time_is_over():
    door, _ = step(secured(), Trigger.GRANT, at(settings=WATCHED, hold_ms=5_000))
    door, _ = says(door, WITHDRAWN)
    door, events = waits(door, 5_000)
    assert (events, door.mode) == ([EventKind.DOOR_RELOCKED], Mode.LOCKED)
    assert waits(door, 5_000 + LOCK_MS - 1)[1] == []
    assert waits(door, 5_000 + LOCK_MS)[1] == [FAILED]


@pytest.mark.parametrize("mode", SECURE_MODES)
def test_a_bolt_withdrawn_while_the_door_is_secure_raises_the_alarm(mode: Mode):
    door, _ = says(says(resting(mode), HOME)[0], WITHDRAWN)
    assert door.lock_due_at_ms == MONOTONIC_MS + LOCK_MS
    assert waits(door, LOCK_MS)[1] == [FAILED]


@pytest.mark.parametrize("mode", RELEASED_MODES)
def test_a_bolt_at_home_while_the_door_is_released_raises_the_alarm(mode: Mode):
    door, _ = says(resting(mode), HOME)
    assert door.lock_due_at_ms == MONOTONIC_MS + LOCK_MS
    _, effects = on_time(door, at(LOCK_MS, settings=WATCHED, rest=ORDERS.get(mode)))
    assert kinds(effects)[0] is FAILED


def test_a_bolt_that_moves_as_ordered_again_ends_the_alarm():
    door, events = says(withdrawn_while_secure(), HOME, 9_000)
    assert (events, door.alarms, door.bolt_follows) == ([RESTORED], frozenset(), True)


def test_an_order_that_agrees_with_the_bolt_ends_the_alarm():
    door, effects = step(withdrawn_while_secure(), Trigger.GRANT, at(9_000, settings=WATCHED, hold_ms=5_000))
    assert (kinds(effects), door.alarms) == ([RESTORED], frozenset())


def test_the_time_of_the_bolt_runs_from_the_order_whatever_happens_meanwhile():
    door, _ = says(secured(), WITHDRAWN)
    for later_ms in (300, 600):
        door, _ = says(door, WITHDRAWN, later_ms)
    assert door.lock_due_at_ms == MONOTONIC_MS + LOCK_MS


def test_the_alarm_of_a_bolt_is_raised_once():
    door, events = says(withdrawn_while_secure(), WITHDRAWN, 2_000)
    assert (events, next_deadline_ms(door)) == ([], None)


def test_a_bolt_whose_time_is_over_alarms_also_when_time_is_told_late():
    door, _ = step(secured(), Trigger.GRANT, at(settings=WATCHED, hold_ms=5_000))
    door, events = waits(door, 60_000)
    assert events == [FAILED, EventKind.DOOR_RELOCKED, RESTORED]
    assert (door.alarms, next_deadline_ms(door)) == (frozenset(), None)


def test_a_bolt_that_has_as_long_as_the_release_lasts_is_judged_before_the_door_relocks():
    settings = replace(WATCHED, lock_time_ms=5_000)
    door, _ = step(secured(), Trigger.GRANT, at(settings=settings, hold_ms=5_000))
    _, effects = on_time(door, at(5_000, settings=settings))
    assert kinds(effects) == [FAILED, EventKind.DOOR_RELOCKED, RESTORED]


# --- what shows nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bolt", list(LineState))
@pytest.mark.parametrize("mode", list(Mode))
def test_without_a_time_for_the_bolt_its_monitor_is_not_judged(mode: Mode, bolt: LineState):
    before = resting(mode)
    door, effects = on_line(before, InputLine.LOCK_MONITOR, bolt, at())
    assert (door, effects) == (replace(before, lock_monitor=bolt), ())


def test_the_bolt_of_an_open_door_cannot_go_home_and_is_not_judged():
    opened, _ = on_line(secured(), InputLine.CONTACT, LineState.ACTIVE, at(settings=WATCHED))
    door, _ = says(opened, WITHDRAWN)
    assert door.lock_due_at_ms is None
    door, _ = on_line(door, InputLine.CONTACT, LineState.INACTIVE, at(9_000, settings=WATCHED))
    assert door.lock_due_at_ms == MONOTONIC_MS + 9_000 + LOCK_MS


def test_a_door_that_opens_stops_the_time_of_a_bolt_that_is_withdrawn():
    door, _ = says(secured(), WITHDRAWN)
    door, _ = on_line(door, InputLine.CONTACT, LineState.ACTIVE, at(500, settings=WATCHED))
    assert door.lock_due_at_ms is None


def test_the_bolt_of_an_open_door_is_judged_while_it_is_released():
    opened, _ = on_line(resting(Mode.ACCESSED), InputLine.CONTACT, LineState.ACTIVE, at(settings=WATCHED))
    door, _ = says(opened, HOME)
    assert door.lock_due_at_ms == MONOTONIC_MS + LOCK_MS


def test_an_open_door_and_a_monitor_that_is_not_read_neither_raise_nor_end_the_alarm():
    failed = withdrawn_while_secure()
    opened, effects = on_line(failed, InputLine.CONTACT, LineState.ACTIVE, at(2_000, settings=WATCHED))
    assert RESTORED not in kinds(effects)
    unread, events = says(failed, UNKNOWN, 2_000)
    assert events == []
    for door in (opened, unread):
        assert (FAILED in door.alarms, door.bolt_follows, door.lock_due_at_ms) == (True, False, None)


def test_a_monitor_that_is_not_read_stops_the_time_of_the_bolt():
    door, _ = says(secured(), WITHDRAWN)
    door, events = says(door, UNKNOWN, 500)
    assert (events, next_deadline_ms(door)) == ([], None)


@pytest.mark.parametrize("mode", [Mode.LOCKED, Mode.UNLOCKED])
@pytest.mark.parametrize("contact", [LineState.INACTIVE, LineState.ACTIVE])
def test_a_broken_monitor_wire_shows_no_bolt_and_raises_the_alarm(mode: Mode, contact: LineState):
    door, _ = says(replace(resting(mode), contact=contact, last_known=contact), FAULT)
    assert door.lock_due_at_ms == MONOTONIC_MS + LOCK_MS
    _, effects = on_time(door, at(LOCK_MS, settings=WATCHED, rest=ORDERS.get(mode)))
    assert kinds(effects) == [FAILED]


def test_a_policy_without_a_time_for_the_bolt_ends_its_alarm():
    door, effects = step(withdrawn_while_secure(), Trigger.POLICY, at(9_000))
    assert (kinds(effects), door.alarms) == ([RESTORED], frozenset())


def test_a_policy_that_gives_the_bolt_a_time_judges_it_from_then_on():
    door, _ = on_line(CLOSED_DOOR, InputLine.LOCK_MONITOR, WITHDRAWN, at())
    door, effects = step(door, Trigger.POLICY, at(9_000, settings=WATCHED))
    assert (kinds(effects), door.lock_due_at_ms) == ([], MONOTONIC_MS + 9_000 + LOCK_MS)


# --- the adapter -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(Mode))
def test_an_adapter_that_could_not_do_what_it_was_told_raises_the_alarm_once(mode: Mode):
    door, events = answers(resting(mode), carried_out=False)
    assert (events, list(door.alarms)) == ([FAILED], [FAILED])
    assert answers(door, 1, carried_out=False) == (door, [])


def test_an_adapter_that_does_again_what_it_is_told_ends_the_alarm():
    door, _ = answers(CLOSED_DOOR, carried_out=False)
    door, events = answers(door, 1, carried_out=True)
    assert (events, door) == ([RESTORED], CLOSED_DOOR)


def test_an_adapter_that_always_answers_raises_and_ends_nothing():
    assert answers(CLOSED_DOOR, carried_out=True) == (CLOSED_DOOR, [])


def test_an_adapter_that_answers_again_ends_its_alarm_also_while_the_bolt_is_not_seen():
    door, _ = answers(CLOSED_DOOR, carried_out=False)
    assert answers(door, 1, carried_out=True)[1] == [RESTORED]


@pytest.mark.parametrize("bolt_first", [True, False])
def test_of_two_causes_both_must_end_before_the_alarm_does(*, bolt_first: bool):
    door, events = answers(withdrawn_while_secure(), 2_000, carried_out=False)
    assert events == []
    if bolt_first:
        door, events = says(door, HOME, 3_000)
        assert (events, list(door.alarms)) == ([], [FAILED])
        door, events = answers(door, 4_000, carried_out=True)
    else:
        door, events = answers(door, 3_000, carried_out=True)
        assert (events, list(door.alarms)) == ([], [FAILED])
        door, events = says(door, HOME, 4_000)
    assert (events, door.alarms) == ([RESTORED], frozenset())


def test_a_bolt_that_differs_under_the_alarm_of_the_adapter_keeps_it():
    door, _ = answers(secured(), carried_out=False)
    door, _ = says(door, WITHDRAWN, 100)
    door, events = waits(door, 100 + LOCK_MS)
    assert (events, door.bolt_follows) == ([], False)
    assert answers(door, 3_000, carried_out=True)[1] == []


# --- any history -----------------------------------------------------------------------------------------------

_STEPS = st.one_of(
    st.tuples(st.just("bolt"), st.sampled_from(LineState)),
    st.tuples(st.just("contact"), st.sampled_from(LineState)),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("grant"), st.just(0)),
    st.tuples(st.just("policy"), st.sampled_from([0, LOCK_MS])),
    st.tuples(st.just("wait"), st.integers(0, 3_000)),
)


@given(st.lists(_STEPS, max_size=25))
def test_failing_and_restoring_alternate_and_the_alarm_is_in_force_between(history: list[tuple[str, LineState | int]]):
    door, later_ms, lock_time_ms, seen = CLOSED_DOOR, 0, LOCK_MS, list[EventKind]()
    for name, value in history:
        effects: tuple[Effect, ...] = ()
        if name == "wait":
            later_ms += int(value)  # type: ignore[arg-type]
        elif name == "policy":
            lock_time_ms = int(value)  # type: ignore[arg-type]
        here = at(later_ms, settings=DoorSettings(lock_time_ms=lock_time_ms), hold_ms=5_000)
        if isinstance(value, LineState):
            line = InputLine.LOCK_MONITOR if name == "bolt" else InputLine.CONTACT
            door, effects = on_line(door, line, value, here)
        elif name == "answer":
            door, effects = on_lock_answer(door, here, carried_out=bool(value))
        elif name in ("grant", "policy"):
            door, effects = step(door, Trigger.GRANT if name == "grant" else Trigger.POLICY, here)
        else:
            door, effects = on_time(door, here)
        seen += [kind for kind in kinds(effects) if kind in (FAILED, RESTORED)]
        due = next_deadline_ms(door)
        assert due is None or due > MONOTONIC_MS + later_ms or name != "wait"
    assert seen[:1] in ([], [FAILED])
    assert all(one is not other for one, other in pairwise(seen))
    assert (FAILED in door.alarms) is (seen[-1:] == [FAILED])
    assert (FAILED in door.alarms) is not (door.lock_answers and door.bolt_follows)
