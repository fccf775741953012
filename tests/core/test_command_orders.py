"""What commands order for a while, and what ends it: its time, a release, a stronger policy, a clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import Energise, Feedback, Record, Secure, Show
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.orders import STAFF_HOLD_MS, ModeOrder, Orders, note_order, recalled
from edge.core.tap import (
    CommandDurable,
    CommandReceived,
    GrantDurable,
    LineChanged,
    PolicyReplaced,
    State,
    TimeDue,
    TrustReplaced,
    next_deadline_ms,
)
from tests.core.campus import (
    KEYS,
    MONOTONIC_MS,
    NOW,
    NOW_MS,
    NOW_S,
    PLACE,
    READER,
    code,
    command,
    commanded,
    commits,
    drafts,
    instant,
    policy,
    refusals,
    shown,
    tap,
    trust,
)
from tests.core.doors import BASE, moves
from tests.core.running import BEGINS_MS, ENDS_MS, MINUTE_MS, RunningDoor, hours, running
from wire.command import MAX_HOLD_S, open_command
from wire.names import Action, ClockState, DoorMode, EventKind, Reason, Step
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from edge.core.effects import Effect
    from edge.core.instant import Instant

HOLD_S = 600
HOLD_MS = HOLD_S * 1000
BY_COMMAND = [DoorMode.LOCKED, DoorMode.UNLOCKED, DoorMode.BLOCKED]
SHUT = {DoorMode.LOCKED_DOWN: Reason.DOOR_LOCKED_DOWN, DoorMode.BLOCKED: Reason.DOOR_BLOCKED}


def order(
    here: RunningDoor,
    action: Action = Action.MODE,
    later_ms: int = 0,
    *,
    mode: DoorMode | None = None,
    hold_s: int | None = HOLD_S,
    counter: int = 1,
) -> tuple[Effect, ...]:
    """Order something of a running door, carried out at once; a mode frees it for ten minutes unless it says."""
    here.wait(later_ms)
    data = command(
        action,
        counter=counter,
        issued_at_s=NOW_S + later_ms // 1000,
        mode=mode,
        hold_s=hold_s if action is Action.MODE else None,
    )
    here.state, effects = commanded(here.state, data, instant(later_ms))
    here.seen += effects
    return effects


def told(effects: tuple[Effect, ...]) -> list[tuple[EventKind, Reason | None, str | None]]:
    return [(draft.kind, draft.reason, draft.rule) for draft in drafts(effects)]


def ordered(mode: DoorMode) -> RunningDoor:
    """A door of the usual policy that rests otherwise for ten minutes."""
    here = running(policy())
    order(here, mode=mode)
    return here


def restarted(here: RunningDoor, now: Instant) -> RunningDoor:
    """The same door, whose daemon begins again with what the journal keeps; it is told whom to believe first."""
    began = State(place=PLACE, memory=here.state.memory, orders=recalled(here.state.memory))
    again = RunningDoor(began, [])
    again.feed(TrustReplaced(trust(), None), now)
    return again


# --- how long it lasts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BY_COMMAND)
def test_a_door_rests_as_ordered_until_the_orders_end(mode: DoorMode):
    here = running(policy())
    effects = order(here, mode=mode)
    assert told(effects) == [
        (EventKind.COMMAND_EXECUTED, None, f"mode-{mode.name.lower()}"),
        (EventKind.MODE_CHANGED, None, "command"),
    ]
    assert (here.state.orders.rest, here.state.orders.rule) == (mode, "command")
    assert here.mode() is BASE[mode]
    here.wait(HOLD_MS - 1)
    assert here.mode() is BASE[mode]
    here.wait(HOLD_MS)
    assert here.changes() == [(0, "command"), (HOLD_MS, "policy")]
    assert (here.mode(), here.state.orders) == (Mode.LOCKED, Orders())
    assert next_deadline_ms(here.state) is None


def test_a_door_is_freed_and_secured_by_an_order_and_its_end():
    here = ordered(DoorMode.UNLOCKED)
    assert moves(here.seen)[-1] == Energise(60_000)
    here.wait(HOLD_MS)
    assert moves(here.seen)[-1] == Secure()


@pytest.mark.parametrize(("later_ms", "mode"), [(59_999, Mode.UNLOCKED), (60_000, Mode.LOCKED)])
def test_an_order_of_no_length_of_its_own_ends_with_its_command(later_ms: int, mode: Mode):
    here = running(policy())
    order(here, hold_s=None)
    here.wait(later_ms)
    assert here.mode() is mode


def test_an_order_counts_from_when_it_was_issued():
    here = running(policy())
    data = command(Action.MODE, issued_at_s=NOW_S - 30, hold_s=HOLD_S)
    here.state, _ = commanded(here.state, data, NOW)
    here.wait(HOLD_MS - 30_001)
    assert here.mode() is Mode.UNLOCKED
    here.wait(HOLD_MS - 30_000)
    assert here.mode() is Mode.LOCKED


@pytest.mark.parametrize(("hold_s", "reason"), [(31, None), (30, Reason.COMMAND_EXPIRED), (1, Reason.COMMAND_EXPIRED)])
def test_an_order_that_is_over_when_it_comes_is_refused(hold_s: int, reason: Reason | None):
    here = running(policy())
    data = command(Action.MODE, issued_at_s=NOW_S - 30, hold_s=hold_s)
    here.state, effects = commanded(here.state, data, NOW)
    assert next(draft.reason for draft in drafts(effects)) is reason
    assert here.mode() is (Mode.UNLOCKED if reason is None else Mode.LOCKED)


def test_an_order_may_last_twelve_hours_as_one_of_staff():
    here = running(policy())
    order(here, hold_s=MAX_HOLD_S)
    here.wait(STAFF_HOLD_MS - 1)
    assert here.mode() is Mode.UNLOCKED
    here.wait(STAFF_HOLD_MS)
    assert here.mode() is Mode.LOCKED


def test_a_newer_order_takes_the_place_of_an_older_one():
    here = ordered(DoorMode.UNLOCKED)
    effects = order(here, later_ms=60_000, mode=DoorMode.BLOCKED, counter=2)
    assert told(effects)[1:] == [(EventKind.MODE_CHANGED, None, "command")]
    assert here.mode() is Mode.BLOCKED
    here.wait(HOLD_MS + 59_999)
    assert here.mode() is Mode.BLOCKED
    here.wait(HOLD_MS + 60_000)
    assert here.mode() is Mode.LOCKED


def test_the_same_order_again_lasts_longer_and_is_told():
    here = ordered(DoorMode.UNLOCKED)
    effects = order(here, later_ms=60_000, counter=2)
    assert told(effects)[1:] == [(EventKind.MODE_CHANGED, None, "command")]
    assert moves(effects) == []
    here.wait(HOLD_MS + 59_999)
    assert here.mode() is Mode.UNLOCKED


def test_an_order_that_changes_nothing_now_is_told_with_its_end():
    """A lockdown that ends in an hour, a schedule that begins: until then nobody sees it, and it still holds."""
    here = ordered(DoorMode.LOCKED)
    assert moves(here.seen) == [Secure()]  # the start's
    here.wait(HOLD_MS)
    assert here.changes() == [(0, "command"), (HOLD_MS, "policy")]


# --- what is stronger ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BY_COMMAND)
@pytest.mark.parametrize("shut", list(SHUT))
def test_no_command_undoes_a_policy_that_shuts_the_door(shut: DoorMode, mode: DoorMode):
    here = running(policy(DoorSettings(mode=shut)))
    effects = order(here, mode=mode)
    assert told(effects) == [(EventKind.COMMAND_REFUSED, SHUT[shut], f"mode-{mode.name.lower()}")]
    assert (here.mode(), here.state.orders.rule) == (BASE[shut], "policy")


@pytest.mark.parametrize("mode", BY_COMMAND)
@pytest.mark.parametrize("shut", list(SHUT))
def test_a_lockdown_ends_what_a_command_ordered_for_good(shut: DoorMode, mode: DoorMode):
    here = ordered(mode)
    here.feed(PolicyReplaced(policy(DoorSettings(mode=shut)), None), instant(1_000))
    assert here.mode() is BASE[shut]
    assert here.changes()[-1] == (1_000, "policy")
    assert here.state.memory.get(MemoKind.MODE, b"") is None
    here.feed(PolicyReplaced(policy(), None), instant(2_000))
    assert (here.mode(), here.state.orders) == (Mode.LOCKED, Orders())


def test_a_lockdown_overtakes_an_order_that_waits_for_the_disk():
    here = running(policy())
    data = command(Action.MODE)
    here.feed(CommandReceived(data), NOW)
    here.feed(PolicyReplaced(policy(DoorSettings(mode=DoorMode.LOCKED_DOWN)), None), NOW)
    effects = here.feed(CommandDurable(open_command(data, KEYS.command.public_key), 2), NOW)
    assert told(effects) == [(EventKind.COMMAND_REFUSED, Reason.DOOR_LOCKED_DOWN, "mode-unlocked")]
    assert here.mode() is Mode.LOCKED_DOWN


def test_a_clock_that_is_no_longer_believed_overtakes_an_order_that_waits_for_the_disk():
    here = running(policy())
    data = command(Action.MODE, mode=DoorMode.BLOCKED)
    here.feed(CommandReceived(data), NOW)
    late = CommandDurable(open_command(data, KEYS.command.public_key), 2)
    effects = here.feed(late, instant(clock=ClockState.SUSPECT))
    assert told(effects)[-1] == (EventKind.COMMAND_REFUSED, Reason.CLOCK_SUSPECT, "mode-blocked")
    assert here.mode() is Mode.LOCKED


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.BLOCKED])
def test_a_door_that_its_policy_frees_is_secured_by_a_command_for_a_while(mode: DoorMode):
    here = running(policy(DoorSettings(mode=DoorMode.UNLOCKED)))
    order(here, mode=mode)
    assert here.mode() is BASE[mode]
    here.wait(HOLD_MS)
    assert here.mode() is Mode.UNLOCKED


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.BLOCKED])
def test_a_command_is_stronger_than_a_schedule(mode: DoorMode):
    here = running(hours(), instant(BEGINS_MS))
    order(here, later_ms=BEGINS_MS, mode=mode, hold_s=60)
    assert here.mode() is BASE[mode]
    here.wait(BEGINS_MS + 60_000)
    assert (here.mode(), here.state.orders.rule) == (Mode.UNLOCKED, "schedule-3")
    here.wait(ENDS_MS)
    assert here.mode() is Mode.LOCKED


def test_a_policy_that_says_the_same_of_the_mode_leaves_the_order():
    here = ordered(DoorMode.UNLOCKED)
    effects = here.feed(PolicyReplaced(policy(DoorSettings(release_time_ms=4_000)), None), instant(1_000))
    assert (told(effects), here.mode()) == ([], Mode.UNLOCKED)


def test_a_door_without_a_policy_is_ordered_into_no_mode():
    here = RunningDoor(State(place=PLACE, trust=trust()), [])
    assert told(order(here)) == [(EventKind.COMMAND_REFUSED, Reason.NO_POLICY, "mode-unlocked")]


@pytest.mark.parametrize("mode", BY_COMMAND)
def test_an_airlock_is_not_held_free_while_the_other_door_is_open(mode: DoorMode):
    here = running(policy(DoorSettings(interlock=True)))
    effects = order(here, mode=mode)
    frees = mode is DoorMode.UNLOCKED
    assert told(effects)[0][:2] == (
        (EventKind.COMMAND_REFUSED, Reason.DOOR_INTERLOCKED) if frees else (EventKind.COMMAND_EXECUTED, None)
    )


# --- who passes meanwhile --------------------------------------------------------------------------------------


def test_nobody_is_admitted_at_a_door_that_a_command_blocks():
    here = ordered(DoorMode.BLOCKED)
    effects = here.feed(tap(code()), NOW)
    assert refusals(effects) == [(Step.DOOR_MODE, Reason.DOOR_BLOCKED)]
    assert told(order(here, Action.UNLOCK, counter=2)) == [(EventKind.COMMAND_REFUSED, Reason.DOOR_BLOCKED, "unlock")]
    assert moves(here.feed(LineChanged(InputLine.REX, LineState.ACTIVE), NOW)) == [Energise(5_000)]


def test_a_grant_that_waits_for_the_disk_is_refused_at_a_door_that_a_command_blocks():
    here = running(policy())
    (commit,) = commits(here.feed(tap(code()), NOW))
    order(here, mode=DoorMode.BLOCKED)
    effects = here.feed(GrantDurable(commit.grant, 3), NOW)
    assert refusals(effects) == [(Step.DOOR_MODE, Reason.DOOR_BLOCKED)]
    assert moves(effects) == []


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.UNLOCKED])
def test_people_are_admitted_at_a_door_that_a_command_locks_or_frees(mode: DoorMode):
    here = running(policy(DoorSettings(mode=DoorMode.UNLOCKED)))
    order(here, mode=mode)
    here.admit(code(), 0)
    assert shown(here.seen)[-1] == Show(READER, Feedback.GRANTED)


def test_an_order_waits_while_somebody_passes_and_during_fire():
    here = running(policy())
    here.admit(code(), 0)
    order(here, mode=DoorMode.BLOCKED)
    assert here.mode() is Mode.ACCESSED
    here.wait(5_000)
    assert here.mode() is Mode.BLOCKED
    here.feed(LineChanged(InputLine.FIRE, LineState.ACTIVE), instant(6_000))
    here.feed(LineChanged(InputLine.FIRE, LineState.INACTIVE), instant(6_001))
    order(here, later_ms=7_000, mode=DoorMode.UNLOCKED, counter=2)
    assert here.mode() is Mode.LOCKED_OPEN
    order(here, Action.RESET_FIRE, later_ms=8_000, counter=3)
    assert here.mode() is Mode.UNLOCKED


# --- its end by release ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BY_COMMAND)
def test_a_release_ends_what_a_command_ordered(mode: DoorMode):
    here = ordered(mode)
    effects = order(here, Action.RELEASE, later_ms=5_000, counter=2)
    assert told(effects) == [
        (EventKind.COMMAND_EXECUTED, None, "release"),
        (EventKind.MODE_CHANGED, None, "policy"),
    ]
    assert (here.mode(), here.state.orders) == (Mode.LOCKED, Orders())
    assert here.state.memory.get(MemoKind.MODE, b"") is None


def test_a_release_ends_what_staff_ordered_and_what_a_command_did():
    settings = DoorSettings(double_tap_ms=20_000)
    here = running(policy(settings))
    here.state = replace(here.state, orders=replace(here.state.orders, unlocked_until_ms=MONOTONIC_MS + STAFF_HOLD_MS))
    here.feed(TimeDue(), NOW)
    assert (here.mode(), here.state.orders.rule) == (Mode.UNLOCKED, "staff")
    order(here, mode=DoorMode.LOCKED)
    assert here.mode() is Mode.LOCKED
    order(here, Action.RELEASE, counter=2)
    assert (here.mode(), here.state.orders.unlocked_until_ms) == (Mode.LOCKED, None)


@pytest.mark.parametrize("mode", list(DoorMode))
def test_a_release_leaves_what_the_policy_says(mode: DoorMode):
    here = running(policy(DoorSettings(mode=mode)))
    effects = order(here, Action.RELEASE)
    assert told(effects) == [(EventKind.COMMAND_EXECUTED, None, "release")]
    assert moves(effects) == []
    assert here.mode() is BASE[mode]


def test_a_release_leaves_a_schedule():
    here = running(hours(), instant(BEGINS_MS))
    order(here, Action.RELEASE, later_ms=BEGINS_MS)
    assert here.mode() is Mode.UNLOCKED


def test_a_release_secures_no_door_in_the_face_of_whoever_was_let_in():
    here = ordered(DoorMode.UNLOCKED)
    here.admit(code(), 0)
    order(here, Action.RELEASE, counter=2)
    assert here.mode() is Mode.ACCESSED
    here.wait(5_000)
    assert here.mode() is Mode.LOCKED


# --- clocks and restarts ---------------------------------------------------------------------------------------


def test_what_is_ordered_is_remembered_with_its_beginning_and_forgotten_with_its_end():
    here = running(policy())
    effects = order(here)
    changed = ModeOrder(DoorMode.UNLOCKED, NOW_S + HOLD_S, NOW_S)
    (memo,) = [each.memos for each in effects if drafts([each])[:1] and drafts([each])[0].rule == "command"]  # type: ignore[union-attr]
    assert memo == (Memo(MemoKind.MODE, b"", (1, NOW_S + HOLD_S, NOW_S)),) == (note_order(changed),)
    assert recalled(here.state.memory) == Orders(ordered=changed)
    here.wait(HOLD_MS)
    assert here.state.memory.get(MemoKind.MODE, b"") is None
    assert recalled(Memory()) == Orders()


@pytest.mark.parametrize("mode", BY_COMMAND)
def test_an_order_outlives_a_restart_and_ends_when_it_would_have(mode: DoorMode):
    here = restarted(ordered(mode), instant(60_000))
    assert here.mode() is Mode.LOCKED  # its policy may say that it is locked down
    here.feed(PolicyReplaced(policy(), None), instant(60_000))
    assert (here.mode(), here.state.orders.rule) == (BASE[mode], "command")
    kept = [effect.memos for effect in here.seen if isinstance(effect, Record)]
    assert kept == ([] if mode is DoorMode.LOCKED else [()])  # nothing that is remembered has changed
    here.wait(HOLD_MS - 1)
    assert here.mode() is BASE[mode]
    here.wait(HOLD_MS)
    assert (here.mode(), here.state.memory.get(MemoKind.MODE, b"")) == (Mode.LOCKED, None)


@pytest.mark.parametrize("shut", list(SHUT))
def test_a_door_that_was_locked_down_while_its_daemon_was_away_forgets_the_order(shut: DoorMode):
    here = restarted(ordered(DoorMode.UNLOCKED), instant(60_000))
    here.feed(PolicyReplaced(policy(DoorSettings(mode=shut)), None), instant(60_000))
    assert here.mode() is BASE[shut]
    assert here.state.memory.get(MemoKind.MODE, b"") is None
    assert Energise not in map(type, here.seen)


def test_an_order_that_ended_while_the_daemon_was_away_is_over_and_that_is_told():
    here = restarted(ordered(DoorMode.UNLOCKED), instant(HOLD_MS))
    assert here.changes() == [(HOLD_MS, "policy")]
    assert here.state.memory.get(MemoKind.MODE, b"") is None
    here.feed(PolicyReplaced(policy(), None), instant(HOLD_MS))
    assert here.mode() is Mode.LOCKED


def test_a_door_that_does_not_know_the_time_after_a_restart_is_not_freed():
    here = restarted(ordered(DoorMode.UNLOCKED), instant(60_000, clock=ClockState.SUSPECT))
    here.feed(PolicyReplaced(policy(), None), instant(60_000, clock=ClockState.SUSPECT))
    assert (here.mode(), here.state.orders) == (Mode.LOCKED, Orders())
    here.feed(TimeDue(), instant(61_000))
    assert here.mode() is Mode.LOCKED


@pytest.mark.parametrize("mode", [DoorMode.LOCKED, DoorMode.BLOCKED])
def test_a_door_that_does_not_know_the_time_after_a_restart_stays_as_secure_as_ordered(mode: DoorMode):
    free = policy(DoorSettings(mode=DoorMode.UNLOCKED))
    here = running(free)
    order(here, mode=mode)
    again = restarted(here, instant(60_000, clock=ClockState.SUSPECT))
    again.feed(PolicyReplaced(free, None), instant(70_000, clock=ClockState.SUSPECT))
    assert again.mode() is BASE[mode]
    for later_ms, expected in ((HOLD_MS + 59_999, BASE[mode]), (HOLD_MS + 60_000, Mode.UNLOCKED)):
        again.feed(TimeDue(), instant(later_ms, clock=ClockState.SUSPECT))
        assert again.mode() is expected  # no longer than it was to last, from the restart on


def test_a_clock_that_is_no_longer_believed_secures_a_door_that_a_command_freed():
    here = ordered(DoorMode.UNLOCKED)
    here.feed(TimeDue(), instant(1_000, clock=ClockState.SUSPECT))
    assert here.mode() is Mode.LOCKED
    here.feed(TimeDue(), instant(2_000))
    assert here.mode() is Mode.LOCKED


@pytest.mark.parametrize("clock", [ClockState.TRUSTED, ClockState.HOLDOVER])
def test_a_door_that_counts_on_from_a_known_time_keeps_to_its_order(clock: ClockState):
    here = ordered(DoorMode.UNLOCKED)
    here.feed(TimeDue(), instant(1_000, clock=clock))
    assert here.mode() is Mode.UNLOCKED


def test_a_clock_that_is_set_back_makes_no_order_longer():
    here = ordered(DoorMode.UNLOCKED)
    here.feed(TimeDue(), instant(1_000, wall_ms=NOW_MS - 3_600_000))
    here.feed(TimeDue(), instant(HOLD_MS - 1, wall_ms=NOW_MS - 3_600_000 + HOLD_MS))
    assert here.mode() is Mode.UNLOCKED
    here.feed(TimeDue(), instant(HOLD_MS, wall_ms=NOW_MS - 3_600_000 + HOLD_MS))
    assert here.mode() is Mode.LOCKED


def test_a_clock_that_is_set_forward_ends_an_order_within_a_minute():
    here = ordered(DoorMode.UNLOCKED)
    due = next_deadline_ms(here.state)
    assert due is not None
    assert due <= MONOTONIC_MS + MINUTE_MS
    here.feed(TimeDue(), instant(due - MONOTONIC_MS, wall_ms=NOW_MS + HOLD_MS - 1))
    assert (here.mode(), next_deadline_ms(here.state)) == (Mode.UNLOCKED, due + 1)
    here.feed(TimeDue(), instant(due + 1 - MONOTONIC_MS, wall_ms=NOW_MS + HOLD_MS))
    assert here.mode() is Mode.LOCKED
