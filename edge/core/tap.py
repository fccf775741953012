"""One tap, composed: credential, verify, replay, policy, companions, door, effects. The whole decision is `handle`.

Invariant: `handle` is a function of its arguments alone; replaying the same inputs gives the same decisions.
Must not: read a clock, a file or a socket; the shell (edge/controller.py) does.
"""

from dataclasses import replace
from typing import assert_never

from edge.core import companions as waits
from edge.core import door as doors
from edge.core import flood as floods
from edge.core import orders
from edge.core.admission import answer_grant, answer_pin, ask_pin, judge, refuse_waiting, tap
from edge.core.commanding import carry_out, take_command
from edge.core.door_state import Trigger
from edge.core.effects import EventDraft, Record
from edge.core.grants import AWAITED_GRANTS, LATE_MS, crossings, follow_passages
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind
from edge.core.outcome import Outcome, circumstances, emit, for_each, move, note, settings_of, then
from edge.core.policy import PolicyState
from edge.core.resting import follow_orders, note_mode
from edge.core.state import (
    CommandDurable,
    CommandReceived,
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    LockAnswered,
    Noted,
    PinChecked,
    PinEntered,
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TimeDue,
    TrustReplaced,
)
from wire.names import EventKind

__all__ = [
    "AWAITED_GRANTS",
    "LATE_MS",
    "CommandDurable",
    "CommandReceived",
    "GrantDurable",
    "GrantFailed",
    "Input",
    "LineChanged",
    "LockAnswered",
    "Noted",
    "PinChecked",
    "PinEntered",
    "PolicyReplaced",
    "RosterReplaced",
    "State",
    "Tap",
    "TimeDue",
    "TrustReplaced",
    "handle",
    "judge",
    "next_deadline_ms",
]


def handle(state: State, event: Input, now: Instant) -> Outcome:
    """Give the next state and what to do, for one input at one moment."""
    outcome = then((state, ()), lambda before: _notice_time(before, now))
    outcome = then(outcome, lambda before: _dispatch(before, event, now))
    outcome = then(outcome, lambda before: follow_passages(before, now))
    return then(outcome, lambda before: follow_orders(before, now))


def next_deadline_ms(state: State) -> int | None:
    """Give the monotonic millisecond at which the shell must send `TimeDue`, None when nothing runs."""
    due = (
        doors.next_deadline_ms(state.door),
        floods.deadline_ms(state.flood),
        floods.deadline_ms(state.command_flood),
        waits.deadline_ms(state.companions),
        orders.deadline_ms(state.orders),
    )
    return min((each for each in due if each is not None), default=None)


def _dispatch(state: State, event: Input, now: Instant) -> Outcome:  # noqa: C901, PLR0911, PLR0912 - a case an input
    match event:
        case Tap(presentation):
            return tap(state, presentation, now)
        case PinEntered(entry):
            return ask_pin(state, entry)
        case PinChecked(check_id, outcome):
            return answer_pin(state, check_id, outcome, now)
        case GrantDurable(grant, seq):
            return answer_grant(state, grant, seq, now)
        case GrantFailed(grant):
            return answer_grant(state, grant, None, now)
        case CommandReceived(data):
            return take_command(state, data, now)
        case CommandDurable(command, seq):
            return carry_out(state, command, seq, now)
        case LineChanged(line, line_state):
            return move(state, *doors.on_line(state.door, line, line_state, circumstances(state, now)))
        case LockAnswered(carried_out):
            at = circumstances(state, now)
            return move(state, *doors.on_lock_answer(state.door, at, carried_out=carried_out))
        case TimeDue():
            return move(state, *doors.on_time(state.door, circumstances(state, now)))
        case TrustReplaced(trust, kind):
            return note(replace(state, trust=trust), kind, now)
        case PolicyReplaced(policy, kind):
            return _replace_policy(state, policy, kind, now)
        case RosterReplaced(roster, kind):
            return note(replace(state, roster=roster), kind, now)
        case Noted(kind, reader, reason):
            return emit(state, Record(EventDraft(kind=kind, at=now, reader=reader, reason=reason)))
    assert_never(event)


# --- time and orders ---------------------------------------------------------------------------------------------


def _notice_time(state: State, now: Instant) -> Outcome:
    """Notice what time alone changes: the clock's state, floods that end, people who waited in vain, schedules."""
    outcome = then(_notice_clock(state, now), lambda before: _end_floods(before, now))
    over = waits.expired(state.companions, now)
    if over:
        outcome = then(outcome, lambda before: for_each(before, over, lambda each, one: refuse_waiting(each, one, now)))
    return then(outcome, lambda before: follow_orders(before, now))


def _notice_clock(state: State, now: Instant) -> Outcome:
    if state.clock is now.clock:
        return state, ()
    kind = None if state.clock is None else EventKind.CLOCK_CHANGED
    return note(replace(state, clock=now.clock), kind, now)


def _end_floods(state: State, now: Instant) -> Outcome:
    flood, denials = floods.roll(state.flood, now)
    command_flood, commands = floods.roll(state.command_flood, now)
    if flood is state.flood and command_flood is state.command_flood:
        return state, ()
    told = ((denials, EventKind.DENIALS_SUPPRESSED), (commands, EventKind.COMMANDS_SUPPRESSED))
    drafts = (EventDraft(kind=kind, at=now, count=count) for count, kind in told if count)
    return emit(replace(state, flood=flood, command_flood=command_flood), *map(Record, drafts))


def _replace_policy(state: State, policy: PolicyState, kind: EventKind | None, now: Instant) -> Outcome:
    """Put newer rules into force, in the door too: also the first ones, after which it is known to be secured."""
    mutes, muted = policy.bundle.settings.maintenance, settings_of(state).maintenance
    rested = state.orders
    state = replace(state, policy=policy, orders=orders.follow(state.orders, policy, now))
    outcome = move(state, *doors.step(state.door, Trigger.POLICY, circumstances(state, now)))
    outcome = then(outcome, lambda before: note(before, kind, now))
    outcome = then(outcome, lambda before: note_mode(before, rested, now))
    if mutes is not muted:
        told = EventKind.MAINTENANCE_STARTED if mutes else EventKind.MAINTENANCE_ENDED
        outcome = then(outcome, lambda before: note(before, told, now))
    if muted and not mutes:
        # What was raised while nobody was called calls now.
        standing = sorted(state.door.alarms)
        outcome = then(outcome, lambda before: for_each(before, standing, lambda each, kind: note(each, kind, now)))
    before_s = policy.bundle.settings.forget_presence_before_s
    memos = state.memory.to_forget(MemoKind.PRESENCE, lambda value: value[-1] < before_s)
    return then(outcome, lambda before: _forget(before, memos, now)) if memos else outcome


def _forget(state: State, memos: tuple[Memo, ...], now: Instant) -> Outcome:
    draft = EventDraft(kind=EventKind.PRESENCE_RESET, at=now, count=len(memos))
    return emit(state, Record(draft, memos), *crossings(state, memos, now))
