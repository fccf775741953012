"""The other wires: tamper, power, interlock; and maintenance, which calls nobody and hides nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.door import MUTED, is_interlocked, on_line, on_lock_answer, on_time, step
from edge.core.door_state import DoorState, InputLine, LineState, Mode, Trigger
from edge.core.effects import Effect, Energise, Feedback, Record, Show
from edge.core.tap import Input, LineChanged, PolicyReplaced, State, handle
from tests.core.campus import (
    NOW,
    READER,
    code,
    command,
    commanded,
    commits,
    door,
    drafts,
    durable,
    feed,
    policy,
    shown,
    tap,
)
from tests.core.doors import CLOSED_DOOR, at, kinds, resting
from wire.names import Action, EventKind, PassKind, Reason, Step
from wire.settings import DoorSettings

QUIET, ACTIVE, UNKNOWN, FAULT = LineState.INACTIVE, LineState.ACTIVE, LineState.UNKNOWN, LineState.FAULT

# --- tamper and power ------------------------------------------------------------------------------------------

NOTICES = {
    InputLine.TAMPER: (EventKind.TAMPER, EventKind.TAMPER_RESTORED),
    InputLine.POWER: (EventKind.POWER_LOST, EventKind.POWER_RESTORED),
}
notices = pytest.mark.parametrize("line", list(NOTICES))


def reads(start: DoorState, line: InputLine, *states: LineState) -> tuple[DoorState, list[EventKind]]:
    seen: list[EventKind] = []
    for state in states:
        start, effects = on_line(start, line, state, at())
        seen += kinds(effects)
    return start, seen


@notices
@pytest.mark.parametrize("mode", list(Mode))
def test_an_opened_case_or_lost_mains_raises_its_alarm_and_moves_no_door(line: InputLine, mode: Mode):
    begin, end = NOTICES[line]
    state, events = reads(resting(mode), line, ACTIVE)
    assert (events, state) == ([begin], replace(resting(mode), alarms=frozenset({begin})))
    assert reads(state, line, QUIET) == (resting(mode), [end])


@notices
def test_a_wire_that_is_broken_may_have_been_cut(line: InputLine):
    begin, end = NOTICES[line]
    assert reads(CLOSED_DOOR, line, FAULT, ACTIVE, QUIET)[1] == [begin, end]


@notices
def test_a_wire_that_nobody_reads_neither_raises_nor_ends_its_alarm(line: InputLine):
    begin, end = NOTICES[line]
    assert reads(CLOSED_DOOR, line, UNKNOWN) == (CLOSED_DOOR, [])
    assert reads(CLOSED_DOOR, line, ACTIVE, UNKNOWN, ACTIVE, UNKNOWN, QUIET)[1] == [begin, end]


@notices
def test_a_quiet_wire_ends_nothing_that_did_not_begin(line: InputLine):
    assert reads(CLOSED_DOOR, line, QUIET, QUIET) == (CLOSED_DOOR, [])


def test_two_alarms_end_each_for_itself():
    state, _ = reads(CLOSED_DOOR, InputLine.TAMPER, ACTIVE)
    state, _ = reads(state, InputLine.POWER, ACTIVE)
    state, events = reads(state, InputLine.TAMPER, QUIET)
    assert (events, list(state.alarms)) == ([EventKind.TAMPER_RESTORED], [EventKind.POWER_LOST])


# --- interlock -------------------------------------------------------------------------------------------------

AIRLOCK = DoorSettings(interlock=True)


@pytest.mark.parametrize("line", list(LineState))
@pytest.mark.parametrize("interlock", [True, False])
def test_a_door_of_an_airlock_waits_until_the_other_one_is_known_to_be_closed(line: LineState, *, interlock: bool):
    state, effects = on_line(CLOSED_DOOR, InputLine.INTERLOCK, line, at())
    assert effects == ()
    assert is_interlocked(state, DoorSettings(interlock=interlock)) is (interlock and line is not QUIET)


def airlock(other: LineState) -> State:
    return handle(door(AIRLOCK), LineChanged(InputLine.INTERLOCK, other), NOW)[0]


@pytest.mark.parametrize("kind", [PassKind.STANDARD, PassKind.STAFF])
@pytest.mark.parametrize("other", [ACTIVE, UNKNOWN, FAULT])
def test_a_pass_is_refused_by_the_mode_while_the_other_door_is_not_closed(kind: PassKind, other: LineState):
    _, effects = handle(airlock(other), tap(code(kind=kind)), NOW)
    (draft,) = drafts(effects)
    assert (draft.step, draft.reason) == (Step.DOOR_MODE, Reason.DOOR_INTERLOCKED)
    assert shown(effects) == [Show(READER, Feedback.DENIED_NOT_NOW)]


def test_a_pass_is_admitted_while_the_other_door_is_closed():
    state, effects = handle(airlock(QUIET), tap(code()), NOW)
    _, effects = durable(state, commits(effects)[0])
    assert Energise(5_000, 1) in effects


@pytest.mark.parametrize("other", [ACTIVE, UNKNOWN, FAULT])
def test_a_grant_is_taken_back_when_the_other_door_opened_before_it_was_durable(other: LineState):
    state, effects = handle(airlock(QUIET), tap(code()), NOW)
    state, _ = handle(state, LineChanged(InputLine.INTERLOCK, other), NOW)
    state, effects = durable(state, commits(effects)[0])
    (draft,) = drafts(effects)
    assert (draft.step, draft.reason) == (Step.DOOR_MODE, Reason.DOOR_INTERLOCKED)
    assert state.door.mode is Mode.LOCKED


def test_an_interlock_ends_no_release_that_is_under_way():
    state, effects = handle(airlock(QUIET), tap(code()), NOW)
    state, _ = durable(state, commits(effects)[0])
    state, effects = handle(state, LineChanged(InputLine.INTERLOCK, ACTIVE), NOW)
    assert (state.door.mode, effects) == (Mode.ACCESSED, ())


@pytest.mark.parametrize("line", [InputLine.REX, InputLine.FIRE])
def test_the_way_out_and_fire_know_no_interlock(line: InputLine):
    state, effects = handle(airlock(ACTIVE), LineChanged(line, ACTIVE), NOW)
    assert state.door.mode in (Mode.ACCESSED, Mode.LOCKED_OPEN)
    assert isinstance(effects[0], Energise)


def test_a_command_knows_the_interlock():
    _, effects = commanded(airlock(ACTIVE), command(Action.UNLOCK))
    assert [(draft.kind, draft.reason) for draft in drafts(effects)] == [
        (EventKind.COMMAND_REFUSED, Reason.DOOR_INTERLOCKED)
    ]


# --- maintenance -----------------------------------------------------------------------------------------------

MAINTAINED = DoorSettings(maintenance=True, lock_time_ms=1_000)


def alarmed(settings: DoorSettings) -> list[tuple[EventKind, str | None]]:
    """Raise and end every alarm of a door; gives them with the rule that each names."""
    effects: list[Effect] = []
    state = CLOSED_DOOR
    for line, reading in (
        (InputLine.CONTACT, FAULT),
        (InputLine.CONTACT, ACTIVE),
        (InputLine.TAMPER, ACTIVE),
        (InputLine.POWER, ACTIVE),
        (InputLine.LOCK_MONITOR, QUIET),
    ):
        state, more = on_line(state, line, reading, at(settings=settings))
        effects += more
    state, more = on_time(state, at(60_000, settings=settings))
    effects += more
    state, more = on_lock_answer(state, at(60_000, settings=settings), carried_out=False)
    effects += more
    state, more = on_lock_answer(state, at(60_000, settings=settings), carried_out=True)
    effects += more
    for line in (InputLine.CONTACT, InputLine.TAMPER, InputLine.POWER):
        state, more = on_line(state, line, QUIET, at(60_000, settings=settings))
        effects += more
    assert state.alarms == frozenset()
    told = [(effect.draft.kind, effect.draft.rule) for effect in effects if isinstance(effect, Record)]
    return [each for each in told if each[0] not in (EventKind.DOOR_OPENED, EventKind.DOOR_CLOSED)]


ALARMS = {
    EventKind.FORCED_OPEN,
    EventKind.FORCED_OPEN_RESTORED,
    EventKind.OPEN_PRE_ALARM,
    EventKind.OPEN_TOO_LONG,
    EventKind.OPEN_TOO_LONG_RESTORED,
    EventKind.CONTACT_FAULT,
    EventKind.CONTACT_RESTORED,
    EventKind.LOCK_FAILED,
    EventKind.LOCK_RESTORED,
    EventKind.TAMPER,
    EventKind.TAMPER_RESTORED,
    EventKind.POWER_LOST,
    EventKind.POWER_RESTORED,
}


def test_maintenance_mutes_every_alarm_and_leaves_none_out_of_the_journal():
    usual, muted = alarmed(DoorSettings()), alarmed(MAINTAINED)
    assert {kind for kind, _ in usual} == ALARMS
    assert [kind for kind, _ in muted] == [kind for kind, _ in usual]
    assert {rule for _, rule in usual} == {None}
    assert {rule for _, rule in muted} == {MUTED}


def test_what_is_no_alarm_is_never_muted():
    for trigger in (Trigger.OPENED, Trigger.EGRESS, Trigger.FIRE):
        _, effects = step(resting(Mode.ACCESSED), trigger, at(settings=MAINTAINED))
        assert [effect.draft.rule for effect in effects if isinstance(effect, Record)] == [None]


def test_fire_and_the_way_out_act_during_maintenance_as_always():
    for line in (InputLine.REX, InputLine.FIRE):
        _, effects = on_line(CLOSED_DOOR, line, ACTIVE, at(settings=MAINTAINED))
        assert isinstance(effects[0], Energise)


def ordered(*, maintenance: bool) -> Input:
    return PolicyReplaced(policy(DoorSettings(maintenance=maintenance)), None)


def test_the_beginning_and_the_end_of_maintenance_are_journaled_once():
    began, ended = EventKind.MAINTENANCE_STARTED, EventKind.MAINTENANCE_ENDED
    _, effects = feed(door(), *[ordered(maintenance=each) for each in (False, True, True, False, False, True)])
    assert [draft.kind for draft in drafts(effects)] == [began, ended, began]


def test_a_door_that_starts_during_maintenance_says_so():
    _, effects = handle(replace(door(), policy=None), ordered(maintenance=True), NOW)
    assert [draft.kind for draft in drafts(effects)] == [EventKind.MAINTENANCE_STARTED]


def test_an_alarm_that_outlasts_maintenance_calls_when_it_ends():
    state, _ = feed(
        door(), ordered(maintenance=True), *[LineChanged(line, ACTIVE) for line in (InputLine.POWER, InputLine.TAMPER)]
    )
    state, effects = handle(state, ordered(maintenance=False), NOW)
    told = [(draft.kind, draft.rule) for draft in drafts(effects)]
    assert told == [(EventKind.MAINTENANCE_ENDED, None), (EventKind.TAMPER, None), (EventKind.POWER_LOST, None)]
    _, effects = handle(state, LineChanged(InputLine.TAMPER, QUIET), NOW)
    assert [(draft.kind, draft.rule) for draft in drafts(effects)] == [(EventKind.TAMPER_RESTORED, None)]


def test_an_alarm_calls_again_at_no_other_change_of_rules():
    state, _ = feed(door(), LineChanged(InputLine.TAMPER, ACTIVE))
    _, effects = feed(state, ordered(maintenance=False), ordered(maintenance=True), ordered(maintenance=True))
    assert [draft.kind for draft in drafts(effects)] == [EventKind.MAINTENANCE_STARTED]


def test_an_alarm_that_began_before_maintenance_ends_muted_and_one_that_lasts_longer_ends_aloud():
    began, _ = on_line(CLOSED_DOOR, InputLine.TAMPER, ACTIVE, at())
    _, effects = on_line(began, InputLine.TAMPER, QUIET, at(settings=MAINTAINED))
    assert [effect.draft.rule for effect in effects if isinstance(effect, Record)] == [MUTED]
    began, _ = on_line(CLOSED_DOOR, InputLine.TAMPER, ACTIVE, at(settings=MAINTAINED))
    _, effects = on_line(began, InputLine.TAMPER, QUIET, at())
    assert [effect.draft.rule for effect in effects if isinstance(effect, Record)] == [None]
