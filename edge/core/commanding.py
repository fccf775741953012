"""What a believed command does: journaled first, then carried out, if it still may be.

Invariant: nothing moves before the journal holds that a command is carried out, and one that was refused by the door's
state is refused for ever: its counter is used up.
Must not: judge signatures, times and counters (edge/core/command.py).
"""

from dataclasses import replace
from typing import assert_never

from edge.core import door as doors
from edge.core import flood as floods
from edge.core.command import Refused, is_over, judge_command, note_command
from edge.core.door_state import Mode, Trigger
from edge.core.effects import AskCloud, CommitCommand, EventDraft, Record, Restart, TakePictures
from edge.core.instant import Instant
from edge.core.memory import Memo
from edge.core.orders import ModeOrder, follow
from edge.core.outcome import Outcome, circumstances, emit, mode_of, move, settings_of
from edge.core.policy import refused_by_mode
from edge.core.resting import rest_by
from edge.core.state import State
from wire.command import Command
from wire.names import Action, ClockState, DoorMode, EventKind, PassKind, Reason


def take_command(state: State, data: bytes, now: Instant) -> Outcome:
    """Have a command committed, or refuse it."""
    found = judge_command(data, state.trust, state.place, state.memory, now)
    if isinstance(found, Refused):
        return _refuse_command(state, found, now)
    memo = note_command(found, now)
    reason = _hindrance(state, found, now)
    if reason is not None:
        return _refuse_believed(state, found, reason, now, memo)
    draft = EventDraft(kind=EventKind.COMMAND_EXECUTED, at=now, credential=found.command_id, rule=_rule_of(found))
    return emit(state, CommitCommand(draft, found, (memo,)))


def _rule_of(command: Command) -> str:
    named = [command.action] if command.mode is None else [command.action, command.mode]
    return "-".join(each.name.lower().replace("_", "-") for each in named)


def _refuse_command(state: State, refused: Refused, now: Instant) -> Outcome:
    flood, journaled = floods.admit(state.command_flood, floods.COMMANDS_A_WINDOW, now)
    state = replace(state, command_flood=flood)
    if not journaled:
        return state, ()
    name = None if refused.command is None else refused.command.command_id
    draft = EventDraft(kind=EventKind.COMMAND_REFUSED, at=now, reason=refused.reason, credential=name)
    return emit(state, Record(draft))


def _refuse_believed(state: State, command: Command, reason: Reason, now: Instant, *memos: Memo) -> Outcome:
    """Refuse a command that is believed, always journaled in full: its counter is used up."""
    name, rule = command.command_id, _rule_of(command)
    draft = EventDraft(kind=EventKind.COMMAND_REFUSED, at=now, reason=reason, credential=name, rule=rule)
    return emit(state, Record(draft, memos))


# --- what stands in the way --------------------------------------------------------------------------------------


def _hindrance(state: State, command: Command, now: Instant) -> Reason | None:
    """Tell why the door cannot do now what a command says; None when it can."""
    if command.action in state.unequipped:
        return Reason.COMMAND_UNSUPPORTED
    match command.action:
        case Action.UNLOCK:
            interlocked = doors.is_interlocked(state.door, settings_of(state))
            return refused_by_mode(mode_of(state), PassKind.STANDARD, interlocked=interlocked)
        case Action.RESET_FIRE:
            return None if doors.may_reset_fire(state.door) else Reason.FIRE_INPUT_ACTIVE
        case Action.MODE:
            return _mode_hindrance(state, command, now)
        case Action.REBOOT:
            return Reason.FIRE_LASTS if state.door.mode is Mode.LOCKED_OPEN else None
        case Action.RELEASE | Action.REFRESH | Action.SNAPSHOT:
            return None
    assert_never(command.action)


def _mode_hindrance(state: State, command: Command, now: Instant) -> Reason | None:
    """A policy that shuts the door stays the stronger one; what frees the door has to know the time and the airlock."""
    if state.policy is None:
        return Reason.NO_POLICY
    if now.clock is ClockState.SUSPECT:
        return Reason.CLOCK_SUSPECT
    if now.wall_ms >= 1000 * command.ends_at_s:
        return Reason.COMMAND_EXPIRED
    frees = command.mode is DoorMode.UNLOCKED
    interlocked = frees and doors.is_interlocked(state.door, settings_of(state))
    return refused_by_mode(settings_of(state).mode, PassKind.STANDARD, interlocked=interlocked)


# --- carrying out ------------------------------------------------------------------------------------------------


def carry_out(state: State, command: Command, seq: int, now: Instant) -> Outcome:
    """Do what a journaled command says, if it still holds and nothing came in its way meanwhile."""
    reason = Reason.COMMAND_EXPIRED if is_over(command, now) else _hindrance(state, command, now)
    if reason is not None:
        return _refuse_believed(state, command, reason, now)
    match command.action:
        case Action.UNLOCK:
            at = circumstances(state, now, hold_ms=settings_of(state).release_time_ms, cause_seq=seq)
            return move(state, *doors.step(state.door, Trigger.GRANT, at))
        case Action.RESET_FIRE:
            return move(state, *doors.step(state.door, Trigger.FIRE_RESET, circumstances(state, now)))
        case Action.MODE:
            return _order_mode(state, command, now)
        case Action.RELEASE:
            return _release(state, now)
        case Action.REBOOT:
            return emit(state, Restart())
        case Action.REFRESH:
            return emit(state, AskCloud())
        case Action.SNAPSHOT:
            return emit(state, TakePictures(seq))
    assert_never(command.action)


def _order_mode(state: State, command: Command, now: Instant) -> Outcome:
    """Let the door rest otherwise for a while; a newer order of that kind takes the place of an older one."""
    mode = command.mode or DoorMode.LOCKED  # the format gives every MODE one
    order = ModeOrder(mode, command.ends_at_s, now.wall_s)
    ordered = replace(state.orders, ordered=order, ordered_until_ms=None)
    return rest_by(state, follow(ordered, state.policy, now), now)


def _release(state: State, now: Instant) -> Outcome:
    """End what a command or staff ordered for the time being; what the policy says stands."""
    plain = replace(state.orders, ordered=None, unlocked_until_ms=None)
    return rest_by(state, follow(plain, state.policy, now), now)
