"""The door's table: what releases it, what secures it, and which alarms it raises and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import pytest

from edge.core.door import (
    FIRE_HOLD_MS,
    FIRE_RENEW_MS,
    TABLE,
    UNLOCKED_HOLD_MS,
    UNLOCKED_RENEW_MS,
    next_deadline_ms,
    on_line,
    on_time,
    step,
)
from edge.core.door_state import DoorState, InputLine, LineState, Mode, Trigger, recalled
from edge.core.effects import Effect, Energise, Record, Secure
from edge.core.memory import Memo, MemoKind, Memory
from tests.core.campus import MONOTONIC_MS, NOW_S
from tests.core.doors import BASE, CLOSED_DOOR, at, kinds, moves, reset_fire, resting
from wire.names import DoorMode, EventKind, RelockRule
from wire.settings import DoorSettings

SECURE_MODES = [Mode.LOCKED, Mode.BLOCKED, Mode.LOCKED_DOWN]
FREE_MODES = [Mode.UNLOCKED, Mode.LOCKED_OPEN]

Pair: TypeAlias = tuple[Mode, Trigger]

CHANGES_NOTHING: dict[str, set[Pair]] = {
    "somebody passing already keeps the release under way; the mode applies when it relocks": {
        (Mode.ACCESSED, Trigger.POLICY),
    },
    "no grant is carried out at a blocked door": {(Mode.BLOCKED, Trigger.GRANT)},
    "the fire is known already": {(Mode.LOCKED_OPEN, Trigger.FIRE)},
    "fire beats policy until it is reset": {(Mode.LOCKED_OPEN, Trigger.POLICY)},
    "there is no fire to reset": {(mode, Trigger.FIRE_RESET) for mode in Mode if mode is not Mode.LOCKED_OPEN},
    "only a release for somebody relocks; the others stop its timer": {
        (mode, Trigger.RELOCK_DUE) for mode in Mode if mode is not Mode.ACCESSED
    },
    "only a door held open renews its hold": {(mode, Trigger.RENEW_DUE) for mode in Mode if mode not in FREE_MODES},
    "a free door may stand open: nothing counts how long": {
        (mode, trigger) for mode in FREE_MODES for trigger in (Trigger.PRE_ALARM_DUE, Trigger.OPEN_DUE)
    },
}


def test_every_pair_of_mode_and_trigger_acts_or_has_a_reason_not_to():
    acting = {(mode, trigger) for mode, row in TABLE.items() for trigger, acts in row.items() if acts}
    idle = [pair for pairs in CHANGES_NOTHING.values() for pair in pairs]
    assert len(idle) == len(set(idle))
    assert acting.isdisjoint(idle)
    assert acting | set(idle) == {(mode, trigger) for mode in Mode for trigger in Trigger}


_IDLE = sorted({pair for pairs in CHANGES_NOTHING.values() for pair in pairs}, key=str)


@pytest.mark.parametrize(("mode", "trigger"), _IDLE)
def test_a_pair_that_changes_nothing_changes_nothing(mode: Mode, trigger: Trigger):
    before = resting(mode)
    assert step(before, trigger, at(mode=DoorMode.UNLOCKED, hold_ms=1)) == (before, ())


# --- grants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.LOCKED, Mode.LOCKED_DOWN])
def test_a_grant_releases_the_door_for_its_time_and_names_its_event(mode: Mode):
    state, effects = step(resting(mode), Trigger.GRANT, at(hold_ms=5_000, cause_seq=9))
    assert (state.mode, state.relock_at_ms) == (Mode.ACCESSED, MONOTONIC_MS + 5_000)
    assert effects == (Energise(5_000, 9),)


@pytest.mark.parametrize(("second_ms", "left_ms"), [(15_000, 15_000), (1_000, 4_000)])
def test_a_second_grant_never_shortens_the_first(second_ms: int, left_ms: int):
    state, _ = step(CLOSED_DOOR, Trigger.GRANT, at(hold_ms=5_000))
    state, effects = step(state, Trigger.GRANT, at(1_000, hold_ms=second_ms, cause_seq=2))
    assert effects == (Energise(left_ms, 2),)
    assert state.relock_at_ms == MONOTONIC_MS + 1_000 + left_ms


# --- egress ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*SECURE_MODES, Mode.ACCESSED])
def test_egress_releases_the_door_in_every_mode_that_holds_it(mode: Mode):
    state, effects = on_line(resting(mode), InputLine.REX, LineState.ACTIVE, at())
    assert state.mode is Mode.ACCESSED
    assert moves(effects) == [Energise(5_000)]
    assert kinds(effects) == [EventKind.EGRESS]


@pytest.mark.parametrize("mode", FREE_MODES)
def test_egress_through_a_free_door_is_noted_and_moves_nothing(mode: Mode):
    state, effects = on_line(resting(mode), InputLine.REX, LineState.ACTIVE, at())
    assert (state.mode, moves(effects), kinds(effects)) == (mode, [], [EventKind.EGRESS])


@pytest.mark.parametrize("line_state", [LineState.INACTIVE, LineState.UNKNOWN, LineState.FAULT])
def test_only_a_pressed_button_is_egress(line_state: LineState):
    assert on_line(CLOSED_DOOR, InputLine.REX, line_state, at()) == (replace(CLOSED_DOOR, rex=line_state), ())


def test_a_button_pressed_again_prolongs_the_release_and_is_noted_again():
    state, _ = on_line(CLOSED_DOOR, InputLine.REX, LineState.ACTIVE, at())
    state, effects = on_line(state, InputLine.REX, LineState.ACTIVE, at(1_000))
    assert (moves(effects), kinds(effects)) == ([Energise(5_000)], [EventKind.EGRESS])
    assert state.relock_at_ms == MONOTONIC_MS + 6_000


# --- a button that stays pressed -------------------------------------------------------------------------------


def pressed(rule: RelockRule = RelockRule.AFTER_RELEASE_TIME, *, mode: DoorMode = DoorMode.LOCKED) -> DoorState:
    return on_line(CLOSED_DOOR, InputLine.REX, LineState.ACTIVE, at(relock=rule, mode=mode))[0]


def let_go(door: DoorState, later_ms: int, line_state: LineState = LineState.INACTIVE) -> DoorState:
    door, effects = on_line(door, InputLine.REX, line_state, at(later_ms))
    assert effects == ()
    return door


@pytest.mark.parametrize("rule", list(RelockRule))
def test_the_way_out_stays_free_for_as_long_as_the_button_is_pressed(rule: RelockRule):
    state = pressed(rule)
    for turn in (1, 2, 3):
        due = next_deadline_ms(state)
        assert due == MONOTONIC_MS + turn * 5_000
        state, effects = on_time(state, at(turn * 5_000, relock=rule))
        assert (state.mode, effects) == (Mode.ACCESSED, (Energise(5_000),))


@pytest.mark.parametrize("line_state", [LineState.INACTIVE, LineState.UNKNOWN, LineState.FAULT])
def test_the_door_relocks_when_the_last_release_is_over_after_the_button_was_let_go(line_state: LineState):
    state, _ = on_time(pressed(), at(5_000))
    state = let_go(state, 5_001, line_state)
    assert on_time(state, at(9_999)) == (state, ())
    state, effects = on_time(state, at(10_000))
    assert (state.mode, moves(effects), kinds(effects)) == (Mode.LOCKED, [Secure()], [EventKind.DOOR_RELOCKED])


def test_a_button_let_go_in_time_holds_nothing():
    state, effects = on_time(let_go(pressed(), 4_999), at(5_000))
    assert (state.mode, moves(effects)) == (Mode.LOCKED, [Secure()])


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("rule", [RelockRule.ON_OPEN, RelockRule.ON_CLOSE])
def test_a_door_relocks_early_only_when_nobody_presses(rule: RelockRule, *, held: bool):
    state = pressed(rule) if held else let_go(pressed(rule), 500)
    state, on_open = on_line(state, InputLine.CONTACT, LineState.ACTIVE, at(1_000, relock=rule))
    state, on_close = on_line(state, InputLine.CONTACT, LineState.INACTIVE, at(2_000, relock=rule))
    assert moves((*on_open, *on_close)) == [Energise(5_000) if held else Secure()]
    assert state.mode is (Mode.ACCESSED if held else Mode.LOCKED)
    early_ms = 1_000 if rule is RelockRule.ON_OPEN else 2_000
    assert state.relock_at_ms == (MONOTONIC_MS + early_ms + 5_000 if held else None)


@pytest.mark.parametrize("mode", list(DoorMode))
def test_a_pressed_button_never_holds_a_door_that_is_to_rest_unlocked(mode: DoorMode):
    state, effects = on_time(pressed(), at(5_000, mode=mode))
    unlocked = mode is DoorMode.UNLOCKED
    assert state.mode is (Mode.UNLOCKED if unlocked else Mode.ACCESSED)
    assert effects == (Energise(UNLOCKED_HOLD_MS if unlocked else 5_000),)


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.BLOCKED, DoorMode.LOCKED_DOWN])
@pytest.mark.parametrize(("free", "trigger"), [(Mode.UNLOCKED, Trigger.POLICY), (Mode.LOCKED_OPEN, Trigger.FIRE_RESET)])
def test_a_free_door_is_not_secured_while_somebody_presses(free: Mode, trigger: Trigger, mode: DoorMode):
    state, _ = on_line(resting(free), InputLine.REX, LineState.ACTIVE, at())
    state, effects = step(state, trigger, at(60_000, mode=mode))
    assert (state.mode, state.relock_at_ms, state.renew_at_ms) == (Mode.ACCESSED, MONOTONIC_MS + 65_000, None)
    assert moves(effects) == [Energise(5_000)]
    state, effects = on_time(let_go(state, 60_001), at(65_000, mode=mode))
    assert (state.mode, moves(effects)) == (BASE[mode], [Secure()])


# --- a free door that is secured -------------------------------------------------------------------------------


def let_through(mode: Mode, trigger: Trigger) -> DoorState:
    state, effects = step(resting(mode), trigger, at(hold_ms=5_000))
    assert moves(effects) == []
    return state


@pytest.mark.parametrize("entry", [Trigger.GRANT, Trigger.EGRESS])
@pytest.mark.parametrize(("free", "trigger"), [(Mode.UNLOCKED, Trigger.POLICY), (Mode.LOCKED_OPEN, Trigger.FIRE_RESET)])
def test_who_was_let_in_at_a_free_door_keeps_the_release_time(entry: Trigger, free: Mode, trigger: Trigger):
    state, effects = step(let_through(free, entry), trigger, at(4_999))
    assert (state.mode, moves(effects)) == (Mode.ACCESSED, [Energise(1)])
    state, effects = on_time(state, at(5_000))
    assert (state.mode, moves(effects), kinds(effects)) == (Mode.LOCKED, [Secure()], [EventKind.DOOR_RELOCKED])


@pytest.mark.parametrize("entry", [Trigger.GRANT, Trigger.EGRESS])
@pytest.mark.parametrize(("free", "trigger"), [(Mode.UNLOCKED, Trigger.POLICY), (Mode.LOCKED_OPEN, Trigger.FIRE_RESET)])
def test_a_release_that_is_over_holds_no_door(entry: Trigger, free: Mode, trigger: Trigger):
    state, effects = step(let_through(free, entry), trigger, at(5_000))
    assert (state.mode, state.relock_at_ms, moves(effects)) == (Mode.LOCKED, None, [Secure()])


@pytest.mark.parametrize("mode", FREE_MODES)
def test_at_a_free_door_too_a_second_release_never_shortens_the_first(mode: Mode):
    state, _ = step(resting(mode), Trigger.GRANT, at(hold_ms=15_000))
    for trigger in (Trigger.GRANT, Trigger.EGRESS):
        state, _ = step(state, trigger, at(1_000, hold_ms=5_000))
        assert state.relock_at_ms == MONOTONIC_MS + 15_000


def test_a_release_that_ends_at_a_free_door_changes_nothing():
    state, effects = on_time(let_through(Mode.UNLOCKED, Trigger.GRANT), at(5_000, mode=DoorMode.UNLOCKED))
    assert (state, effects) == (resting(Mode.UNLOCKED), ())


def test_a_door_that_stands_open_is_watched_while_a_release_lasts():
    state, _ = on_line(let_through(Mode.UNLOCKED, Trigger.GRANT), InputLine.CONTACT, LineState.ACTIVE, at(1_000))
    state, _ = step(state, Trigger.POLICY, at(2_000))
    assert (state.mode, state.open_due_at_ms) == (Mode.ACCESSED, MONOTONIC_MS + 32_000)


# --- relock ----------------------------------------------------------------------------------------------------


def accessed(rule: RelockRule, *, mode: DoorMode = DoorMode.LOCKED) -> DoorState:
    return step(CLOSED_DOOR, Trigger.GRANT, at(hold_ms=5_000, relock=rule, mode=mode))[0]


@pytest.mark.parametrize("rule", list(RelockRule))
@pytest.mark.parametrize("contact", list(LineState))
def test_the_door_always_relocks_when_its_time_is_over(rule: RelockRule, contact: LineState):
    state = replace(accessed(rule), contact=contact, last_known=LineState.INACTIVE)
    assert on_time(state, at(4_999, relock=rule)) == (state, ())
    state, effects = on_time(state, at(5_000, relock=rule))
    assert (state.mode, state.relock_at_ms) == (Mode.LOCKED, None)
    assert moves(effects) == [Secure()]
    assert kinds(effects) == [EventKind.DOOR_RELOCKED]


@pytest.mark.parametrize("rule", list(RelockRule))
def test_the_door_relocks_early_as_its_rule_says(rule: RelockRule):
    state, on_open = on_line(accessed(rule), InputLine.CONTACT, LineState.ACTIVE, at(1_000, relock=rule))
    assert (Secure() in on_open) is (rule is RelockRule.ON_OPEN)
    assert (EventKind.DOOR_RELOCKED in kinds(on_open)) is (rule is RelockRule.ON_OPEN)
    state, on_close = on_line(state, InputLine.CONTACT, LineState.INACTIVE, at(2_000, relock=rule))
    assert (Secure() in on_close) is (rule is RelockRule.ON_CLOSE)
    assert EventKind.FORCED_OPEN not in kinds((*on_open, *on_close))
    assert state.mode is (Mode.ACCESSED if rule is RelockRule.AFTER_RELEASE_TIME else Mode.LOCKED)


@pytest.mark.parametrize("mode", list(DoorMode))
def test_a_door_relocks_into_the_mode_that_policy_orders(mode: DoorMode):
    state, effects = on_time(accessed(RelockRule.ON_CLOSE), at(5_000, mode=mode))
    assert state.mode is BASE[mode]
    unlocked = mode is DoorMode.UNLOCKED
    assert moves(effects) == [Energise(UNLOCKED_HOLD_MS) if unlocked else Secure()]
    assert kinds(effects) == ([] if unlocked else [EventKind.DOOR_RELOCKED])


# --- policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [*SECURE_MODES, Mode.UNLOCKED])
@pytest.mark.parametrize("mode", list(DoorMode))
def test_a_policy_moves_the_door_at_rest_to_its_mode(before: Mode, mode: DoorMode):
    state, effects = step(resting(before), Trigger.POLICY, at(mode=mode))
    assert state.mode is BASE[mode]
    unlocked = mode is DoorMode.UNLOCKED
    assert effects == ((Energise(UNLOCKED_HOLD_MS),) if unlocked else (Secure(),))
    assert state.renew_at_ms == (MONOTONIC_MS + UNLOCKED_RENEW_MS if unlocked else None)


def test_an_unlocked_door_renews_its_hold_before_it_ends():
    assert UNLOCKED_RENEW_MS < UNLOCKED_HOLD_MS
    state, _ = step(CLOSED_DOOR, Trigger.POLICY, at(mode=DoorMode.UNLOCKED))
    for turn in (1, 2, 3):
        due = next_deadline_ms(state)
        assert due == MONOTONIC_MS + turn * UNLOCKED_RENEW_MS
        state, effects = on_time(state, at(due - MONOTONIC_MS, mode=DoorMode.UNLOCKED))
        assert effects == (Energise(UNLOCKED_HOLD_MS),)


# --- fire ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.LOCKED_OPEN])
@pytest.mark.parametrize("line_state", [LineState.ACTIVE, LineState.FAULT])
def test_fire_or_a_broken_fire_wire_opens_the_door_in_every_mode(mode: Mode, line_state: LineState):
    state, effects = on_line(resting(mode), InputLine.FIRE, line_state, at(mode=DoorMode.LOCKED_DOWN))
    assert state.mode is Mode.LOCKED_OPEN
    assert moves(effects) == [Energise(FIRE_HOLD_MS)]
    assert kinds(effects) == [EventKind.FIRE]


@pytest.mark.parametrize("line_state", [LineState.INACTIVE, LineState.UNKNOWN])
def test_a_quiet_fire_input_opens_nothing(line_state: LineState):
    state, effects = on_line(CLOSED_DOOR, InputLine.FIRE, line_state, at())
    assert (state, effects) == (replace(CLOSED_DOOR, fire=line_state), ())


def on_fire(settings: DoorMode = DoorMode.LOCKED) -> DoorState:
    return on_line(CLOSED_DOOR, InputLine.FIRE, LineState.ACTIVE, at(mode=settings))[0]


def test_fire_lasts_after_its_input_went_quiet():
    state, effects = on_line(on_fire(), InputLine.FIRE, LineState.INACTIVE, at(1))
    assert (state.mode, effects) == (Mode.LOCKED_OPEN, ())


def test_fire_is_noted_once():
    state, effects = on_line(on_fire(), InputLine.FIRE, LineState.FAULT, at(1))
    assert (state.mode, effects) == (Mode.LOCKED_OPEN, ())


@pytest.mark.parametrize("line_state", [LineState.ACTIVE, LineState.FAULT, LineState.UNKNOWN])
def test_fire_cannot_be_reset_while_its_input_is_not_quiet(line_state: LineState):
    state, _ = on_line(on_fire(), InputLine.FIRE, line_state, at(1))
    assert reset_fire(state, at(2)) == (state, ())


@pytest.mark.parametrize("mode", list(DoorMode))
def test_a_reset_gives_the_door_back_to_its_policy(mode: DoorMode):
    state, _ = on_line(on_fire(mode), InputLine.FIRE, LineState.INACTIVE, at(1, mode=mode))
    state, effects = reset_fire(state, at(2, mode=mode))
    assert state.mode is BASE[mode]
    assert moves(effects) == [Energise(UNLOCKED_HOLD_MS) if mode is DoorMode.UNLOCKED else Secure()]
    assert kinds(effects) == [EventKind.FIRE_RESET]


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.LOCKED_OPEN])
def test_a_reset_without_fire_changes_nothing(mode: Mode):
    state = replace(resting(mode), fire=LineState.INACTIVE)
    assert reset_fire(state, at()) == (state, ())


def test_fire_renews_its_hold_before_it_ends():
    assert FIRE_RENEW_MS < FIRE_HOLD_MS <= 86_400_000  # the longest hold a lock takes (edge/ports.py)
    state = on_fire()
    assert next_deadline_ms(state) == MONOTONIC_MS + FIRE_RENEW_MS
    state, effects = on_time(state, at(FIRE_RENEW_MS))
    assert effects == (Energise(FIRE_HOLD_MS),)
    assert next_deadline_ms(state) == MONOTONIC_MS + 2 * FIRE_RENEW_MS


def test_a_release_under_way_does_not_end_a_fire():
    state, _ = on_line(accessed(RelockRule.AFTER_RELEASE_TIME), InputLine.FIRE, LineState.ACTIVE, at(1))
    state, effects = on_time(state, at(5_000))
    assert (state.mode, effects) == (Mode.LOCKED_OPEN, ())


def remembered(*effects: Effect) -> Memory:
    return Memory().with_memos(memo for effect in effects if isinstance(effect, Record) for memo in effect.memos)


def test_a_fire_is_remembered_across_a_restart_until_it_is_reset():
    state, began = on_line(CLOSED_DOOR, InputLine.FIRE, LineState.ACTIVE, at())
    recalled_door = recalled(remembered(*began))
    assert (recalled_door.mode, recalled_door.fire) == (Mode.LOCKED_OPEN, LineState.UNKNOWN)
    state, _ = on_line(state, InputLine.FIRE, LineState.INACTIVE, at(1))
    _, ended = reset_fire(state, at(2))
    assert recalled(remembered(*began, *ended)) == DoorState()


def test_a_recalled_fire_holds_the_door_at_once_and_nothing_but_a_reset_ends_it():
    state = recalled(Memory().with_memo(Memo(MemoKind.FIRE, b"", (NOW_S,))))
    assert next_deadline_ms(state) == 0
    state, effects = on_time(state, at(mode=DoorMode.LOCKED_DOWN))
    assert effects == (Energise(FIRE_HOLD_MS),)
    assert next_deadline_ms(state) == MONOTONIC_MS + FIRE_RENEW_MS
    assert step(state, Trigger.POLICY, at(mode=DoorMode.BLOCKED)) == (state, ())
    assert reset_fire(state, at(1)) == (state, ())  # its input has not been read yet
    state, effects = on_line(state, InputLine.FIRE, LineState.INACTIVE, at(2))
    assert (state.mode, effects) == (Mode.LOCKED_OPEN, ())
    state, effects = reset_fire(state, at(3))
    assert (state.mode, moves(effects), kinds(effects)) == (Mode.LOCKED, [Secure()], [EventKind.FIRE_RESET])


def test_what_fire_left_in_memory_says_when():
    _, effects = on_line(CLOSED_DOOR, InputLine.FIRE, LineState.ACTIVE, at(5_000))
    assert remembered(*effects).get(MemoKind.FIRE, b"") == (NOW_S + 5,)


def test_a_door_starts_locked_when_there_was_no_fire():
    presence = Memo(MemoKind.PRESENCE, b"holder", (1, NOW_S))
    assert recalled(Memory().with_memo(presence)) == DoorState()


# --- several deadlines at once ---------------------------------------------------------------------------------


def test_deadlines_that_passed_together_are_all_carried_out():
    settings = DoorSettings(release_time_ms=5_000, open_time_ms=5_000, pre_alarm_ms=5_000)
    state, _ = step(CLOSED_DOOR, Trigger.GRANT, at(hold_ms=5_000, settings=settings))
    state, _ = on_line(
        state, InputLine.CONTACT, LineState.ACTIVE, at(0, settings=replace(settings, relock=RelockRule.ON_CLOSE))
    )
    state, effects = on_time(state, at(60_000, settings=settings))
    assert kinds(effects) == [EventKind.OPEN_PRE_ALARM, EventKind.DOOR_RELOCKED, EventKind.OPEN_TOO_LONG]
    assert moves(effects) == [Secure()]
    assert next_deadline_ms(state) is None


def test_a_door_at_rest_has_no_deadline():
    assert next_deadline_ms(CLOSED_DOOR) is None
    assert on_time(CLOSED_DOOR, at(10**9)) == (CLOSED_DOOR, ())


def test_a_machine_that_was_just_switched_on_secures_its_door():
    """Its monotonic clock may begin at 0."""
    state, effects = step(resting(Mode.UNLOCKED), Trigger.POLICY, at(-MONOTONIC_MS))
    assert (state.mode, moves(effects)) == (Mode.LOCKED, [Secure()])
