"""The fourth room: the door itself, as a table of mode and trigger.

Invariant: the lock is released only by a grant, a command, egress, the mode in which the door is to rest, or fire, and
every release has a deadline in the state; egress and fire act in every mode, and fire lasts until it is reset.
Must not: know why somebody was let in.

The diagram in docs/behaviour.md is drawn from `TABLE`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Final, TypeAlias, assert_never

from edge.core.door_state import Circumstances, DoorState, InputLine, LineState, Mode, Trigger
from edge.core.effects import Effect, Energise, EventDraft, Record, Secure
from edge.core.memory import Memo, MemoKind
from wire.names import DoorMode, EventKind, RelockRule
from wire.settings import DoorSettings

UNLOCKED_HOLD_MS: Final = 60_000
"""A door held open by policy secures itself this long after the daemon died."""
UNLOCKED_RENEW_MS: Final = 20_000
FIRE_HOLD_MS: Final = 86_400_000
"""Life safety: a day, also without a daemon (most sites cut the lock's power by wire as well)."""
FIRE_RENEW_MS: Final = 3_600_000


Result: TypeAlias = tuple[DoorState, tuple[Effect, ...]]
Act: TypeAlias = Callable[[DoorState, Circumstances], Result]

_BASE: Final = {
    DoorMode.LOCKED: Mode.LOCKED,
    DoorMode.UNLOCKED: Mode.UNLOCKED,
    DoorMode.BLOCKED: Mode.BLOCKED,
    DoorMode.LOCKED_DOWN: Mode.LOCKED_DOWN,
}


_RELEASED: Final = frozenset({Mode.ACCESSED, Mode.UNLOCKED, Mode.LOCKED_OPEN})
MUTED: Final = "muted"
"""The rule named by an alarm during maintenance: it is journaled and calls nobody."""


def _note(kind: EventKind, at: Circumstances, *memos: Memo) -> Record:
    return Record(EventDraft(kind=kind, at=at.now), memos)


def _alarm(kind: EventKind, at: Circumstances) -> Record:
    return Record(EventDraft(kind=kind, at=at.now, rule=MUTED if at.settings.maintenance else None))


def _until(door: DoorState, at: Circumstances, hold_ms: int) -> int:
    """Give when a release of so long ends; it never shortens one that runs."""
    return max(at.now.monotonic_ms + hold_ms, door.relock_at_ms or 0)


def _release(door: DoorState, at: Circumstances, hold_ms: int) -> Result:
    relock = _until(door, at, hold_ms)
    state = replace(door, mode=Mode.ACCESSED, relock_at_ms=relock)
    return state, (Energise(relock - at.now.monotonic_ms, at.cause_seq),)


def _release_for_grant(door: DoorState, at: Circumstances) -> Result:
    return _release(door, at, at.hold_ms)


def _release_for_egress(door: DoorState, at: Circumstances) -> Result:
    state, effects = _release(door, at, at.settings.release_time_ms)
    return state, (*effects, _note(EventKind.EGRESS, at))


def _keep_for_grant(door: DoorState, at: Circumstances) -> Result:
    """A free door may be secured a moment later, by a schedule's end say: not in the face of whoever was let in."""
    return replace(door, relock_at_ms=_until(door, at, at.hold_ms)), ()


def _keep_for_egress(door: DoorState, at: Circumstances) -> Result:
    state = replace(door, relock_at_ms=_until(door, at, at.settings.release_time_ms))
    return state, (_note(EventKind.EGRESS, at),)


def _note_opened(door: DoorState, at: Circumstances) -> Result:
    return door, (_note(EventKind.DOOR_OPENED, at),)


def _arm_open_timers(door: DoorState, at: Circumstances) -> Result:
    due = at.now.monotonic_ms + at.settings.open_time_ms
    warning = due - at.settings.pre_alarm_ms if at.settings.pre_alarm_ms else None
    return replace(door, open_due_at_ms=due, pre_alarm_at_ms=warning), ()


def _without_open_timers(door: DoorState) -> DoorState:
    return replace(door, open_due_at_ms=None, pre_alarm_at_ms=None)


def _raise(kind: EventKind, door: DoorState, at: Circumstances) -> Result:
    if kind in door.alarms:
        return door, ()
    return replace(door, alarms=door.alarms | {kind}), (_alarm(kind, at),)


def _pre_alarm(door: DoorState, at: Circumstances) -> Result:
    return door, (_alarm(EventKind.OPEN_PRE_ALARM, at),)


def _restore(restores: Mapping[EventKind, EventKind], door: DoorState, at: Circumstances) -> Result:
    ended = tuple(_alarm(end, at) for begin, end in restores.items() if begin in door.alarms)
    return (replace(door, alarms=door.alarms.difference(restores)) if ended else door), ended


_restore_closed: Final = partial(
    _restore,
    {
        EventKind.FORCED_OPEN: EventKind.FORCED_OPEN_RESTORED,
        EventKind.OPEN_TOO_LONG: EventKind.OPEN_TOO_LONG_RESTORED,
    },
)
_restore_contact: Final = partial(_restore, {EventKind.CONTACT_FAULT: EventKind.CONTACT_RESTORED})


def _miss_bolt(door: DoorState, at: Circumstances) -> Result:
    return _raise(EventKind.LOCK_FAILED, replace(door, bolt_follows=False), at)


def _note_closed(door: DoorState, at: Circumstances) -> Result:
    return _without_open_timers(door), (_note(EventKind.DOOR_CLOSED, at),)


def _relock(door: DoorState, at: Circumstances) -> Result:
    state, effects = _apply_policy(replace(door, relock_at_ms=None), at)
    noted = () if state.mode in _RELEASED else (_note(EventKind.DOOR_RELOCKED, at),)
    return state, (*effects, *noted)


def _relock_if(rule: RelockRule, door: DoorState, at: Circumstances) -> Result:
    return _relock(door, at) if at.settings.relock is rule else (door, ())


def _hold_unlocked(door: DoorState, at: Circumstances) -> Result:
    renew = at.now.monotonic_ms + UNLOCKED_RENEW_MS
    return replace(_without_open_timers(door), mode=Mode.UNLOCKED, renew_at_ms=renew), (Energise(UNLOCKED_HOLD_MS),)


def _hold_open(door: DoorState, at: Circumstances) -> Result:
    renew = at.now.monotonic_ms + FIRE_RENEW_MS
    state = replace(_without_open_timers(door), mode=Mode.LOCKED_OPEN, renew_at_ms=renew)
    return state, (Energise(FIRE_HOLD_MS),)


def _note_fire(door: DoorState, at: Circumstances) -> Result:
    return door, (_note(EventKind.FIRE, at, Memo(MemoKind.FIRE, b"", (at.now.wall_s,))),)


def _note_fire_reset(door: DoorState, at: Circumstances) -> Result:
    return door, (_note(EventKind.FIRE_RESET, at, Memo(MemoKind.FIRE, b"", None)),)


def _apply_policy(door: DoorState, at: Circumstances) -> Result:
    """Let the door rest as it is to rest; it is not secured while somebody presses or a release still runs."""
    base = _BASE[at.rest]
    if base is Mode.UNLOCKED:
        return _hold_unlocked(door, at)
    state = replace(door, renew_at_ms=None)
    if _is_unwatched(door):
        state, _ = _arm_open_timers(state, at)
    hold_ms = at.settings.release_time_ms if door.rex is LineState.ACTIVE else 0
    if _until(door, at, hold_ms) > at.now.monotonic_ms:
        return _release(state, at, hold_ms)
    return replace(state, mode=base, relock_at_ms=None), (Secure(),)


def _is_unwatched(door: DoorState) -> bool:
    """Tell whether the door stands open and nothing counts for how long: it was free until now."""
    open_now = door.last_known is LineState.ACTIVE
    return open_now and door.open_due_at_ms is None and EventKind.OPEN_TOO_LONG not in door.alarms


_OPENED_UNFORCED: Final = (_note_opened, _arm_open_timers)
_CLOSED: Final = (_note_closed, _restore_closed)
_EVERYWHERE: Final[Mapping[Trigger, tuple[Act, ...]]] = {
    Trigger.EGRESS: (_release_for_egress,),
    Trigger.CLOSED: _CLOSED,
    Trigger.CONTACT_FAULT: (partial(_raise, EventKind.CONTACT_FAULT),),
    Trigger.CONTACT_READ: (_restore_contact,),
    Trigger.LOCK_DUE: (_miss_bolt,),
    Trigger.FIRE: (_hold_open, _note_fire),
    Trigger.POLICY: (_apply_policy,),
}
_WATCHED: Final[Mapping[Trigger, tuple[Act, ...]]] = {
    **_EVERYWHERE,
    Trigger.FOUND_OPEN: _OPENED_UNFORCED,
    Trigger.PRE_ALARM_DUE: (_pre_alarm,),
    Trigger.OPEN_DUE: (partial(_raise, EventKind.OPEN_TOO_LONG),),
}
_SECURE: Final[Mapping[Trigger, tuple[Act, ...]]] = {
    **_WATCHED,
    Trigger.OPENED: (*_OPENED_UNFORCED, partial(_raise, EventKind.FORCED_OPEN)),
}
_FREE: Final[Mapping[Trigger, tuple[Act, ...]]] = {
    **_EVERYWHERE,
    Trigger.GRANT: (_keep_for_grant,),
    Trigger.EGRESS: (_keep_for_egress,),
    Trigger.OPENED: (_note_opened,),
    Trigger.FOUND_OPEN: (_note_opened,),
}

TABLE: Final[Mapping[Mode, Mapping[Trigger, tuple[Act, ...]]]] = {
    Mode.LOCKED: {**_SECURE, Trigger.GRANT: (_release_for_grant,)},
    Mode.BLOCKED: _SECURE,
    Mode.LOCKED_DOWN: {**_SECURE, Trigger.GRANT: (_release_for_grant,)},
    Mode.ACCESSED: {
        **_WATCHED,
        Trigger.GRANT: (_release_for_grant,),
        Trigger.OPENED: (*_OPENED_UNFORCED, partial(_relock_if, RelockRule.ON_OPEN)),
        Trigger.CLOSED: (*_CLOSED, partial(_relock_if, RelockRule.ON_CLOSE)),
        Trigger.RELOCK_DUE: (_relock,),
        Trigger.POLICY: (),
    },
    Mode.UNLOCKED: {**_FREE, Trigger.RENEW_DUE: (_hold_unlocked,)},
    Mode.LOCKED_OPEN: {
        **_FREE,
        Trigger.RENEW_DUE: (_hold_open,),
        Trigger.FIRE: (),
        Trigger.FIRE_RESET: (_apply_policy, _note_fire_reset),
        Trigger.POLICY: (),
    },
}
"""Mode and trigger to the actions, in order; a pair that is not listed changes nothing."""


_restore_lock: Final = partial(_restore, {EventKind.LOCK_FAILED: EventKind.LOCK_RESTORED})
_NOTICES: Final[Mapping[InputLine, tuple[Act, Act]]] = {
    InputLine.TAMPER: (
        partial(_raise, EventKind.TAMPER),
        partial(_restore, {EventKind.TAMPER: EventKind.TAMPER_RESTORED}),
    ),
    InputLine.POWER: (
        partial(_raise, EventKind.POWER_LOST),
        partial(_restore, {EventKind.POWER_LOST: EventKind.POWER_RESTORED}),
    ),
}
"""Wires that only raise an alarm: what to do when one is active or broken, and when it is quiet again."""


def step(door: DoorState, trigger: Trigger, at: Circumstances) -> Result:
    """Move the door by one trigger."""
    effects: list[Effect] = []
    for act in TABLE[door.mode].get(trigger, ()):
        door, more = act(door, at)
        effects.extend(more)
    return _watch_lock(door, effects, at)


class _Bolt(Enum):
    """What the lock monitor says of the last order."""

    FOLLOWS = "follows"
    DIFFERS = "differs"
    UNSEEN = "unseen"


def _watch_lock(door: DoorState, effects: list[Effect], at: Circumstances) -> Result:
    """Give the bolt its time to follow; a bolt and an adapter that do what they should end the alarm."""
    bolt = _bolt_of(door, at.settings)
    follows = door.bolt_follows or bolt is _Bolt.FOLLOWS
    due = None
    if bolt is _Bolt.DIFFERS and follows:
        running = door.lock_due_at_ms
        due = at.now.monotonic_ms + at.settings.lock_time_ms if running is None else running
    if (due, follows) != (door.lock_due_at_ms, door.bolt_follows):
        door = replace(door, lock_due_at_ms=due, bolt_follows=follows)
    if not (follows and door.lock_answers):
        return door, tuple(effects)
    door, more = _restore_lock(door, at)
    return door, (*effects, *more)


def _bolt_of(door: DoorState, settings: DoorSettings) -> _Bolt:
    """Compare the lock monitor with the order; the bolt of an open door cannot go home, a broken wire shows nothing."""
    if not settings.lock_time_ms:
        return _Bolt.FOLLOWS
    if door.lock_monitor is LineState.UNKNOWN:
        return _Bolt.UNSEEN
    released = door.mode in _RELEASED
    if door.lock_monitor is (LineState.ACTIVE if released else LineState.INACTIVE):
        return _Bolt.FOLLOWS
    kept_from_home = not released and door.lock_monitor is LineState.ACTIVE and door.last_known is LineState.ACTIVE
    return _Bolt.UNSEEN if kept_from_home else _Bolt.DIFFERS


def on_lock_answer(door: DoorState, at: Circumstances, *, carried_out: bool) -> Result:
    """Take note of whether the lock's adapter could do what it was told."""
    door = replace(door, lock_answers=carried_out)
    effects: list[Effect] = []
    if not carried_out:
        door, raised = _raise(EventKind.LOCK_FAILED, door, at)
        effects.extend(raised)
    return _watch_lock(door, effects, at)


def on_line(door: DoorState, line: InputLine, state: LineState, at: Circumstances) -> Result:
    """Move the door by what one of its wires says now; saying the same again changes nothing but egress."""
    match line:
        case InputLine.CONTACT:
            return _on_contact(door, state, at)
        case InputLine.REX:
            door = replace(door, rex=state)
            return step(door, Trigger.EGRESS, at) if state is LineState.ACTIVE else (door, ())
        case InputLine.FIRE:
            return _on_fire(replace(door, fire=state), at)
        case InputLine.LOCK_MONITOR:
            return _watch_lock(replace(door, lock_monitor=state), [], at)
        case InputLine.INTERLOCK:
            return replace(door, interlock=state), ()
        case InputLine.TAMPER | InputLine.POWER:
            return _on_notice(door, line, state, at)
    assert_never(line)


def _on_notice(door: DoorState, line: InputLine, state: LineState, at: Circumstances) -> Result:
    """A wire that is broken may have been cut; one that nobody reads says nothing."""
    if state is LineState.UNKNOWN:
        return door, ()
    raised, restored = _NOTICES[line]
    return restored(door, at) if state is LineState.INACTIVE else raised(door, at)


def is_interlocked(door: DoorState, settings: DoorSettings) -> bool:
    """Tell whether this door has to wait for another one, which is not known to be closed."""
    return settings.interlock and door.interlock is not LineState.INACTIVE


def _on_fire(door: DoorState, at: Circumstances) -> Result:
    """A broken wire may be the fire's doing; a quiet one does not end what it began."""
    if door.fire in (LineState.ACTIVE, LineState.FAULT):
        return step(door, Trigger.FIRE, at)
    return door, ()


def may_reset_fire(door: DoorState) -> bool:
    """Tell whether a person may end the state of fire: only once its input is quiet. Without fire nothing is to end."""
    return door.mode is not Mode.LOCKED_OPEN or door.fire is LineState.INACTIVE


def _on_contact(door: DoorState, state: LineState, at: Circumstances) -> Result:
    before, known = door.contact, door.last_known
    door = replace(door, contact=state)
    if state is before or state is LineState.UNKNOWN:
        return door, ()
    if state is LineState.FAULT:
        return step(door, Trigger.CONTACT_FAULT, at)
    door, effects = step(replace(door, last_known=state), Trigger.CONTACT_READ, at)
    trigger = _movement(before, known, state)
    if trigger is None:
        return door, effects
    door, more = step(door, trigger, at)
    return door, (*effects, *more)


def _movement(before: LineState, known: LineState, state: LineState) -> Trigger | None:
    """Tell how the door moved, from what the contact said just before, last knew, and says now.

    Nobody watched a contact that was UNKNOWN: a door found open then was not forced. One whose wire had a FAULT
    raised an alarm already, and a door that opened under it counts as forced.
    """
    if state is known:
        return None
    if state is LineState.ACTIVE:
        return Trigger.FOUND_OPEN if before is LineState.UNKNOWN else Trigger.OPENED
    return None if known is LineState.UNKNOWN else Trigger.CLOSED


@dataclass(frozen=True, slots=True)
class _Timer:
    """One deadline of the state: how to read it, how to stop it, what it triggers."""

    due: Callable[[DoorState], int | None]
    stopped: Callable[[DoorState], DoorState]
    trigger: Trigger


_TIMERS: Final = (
    _Timer(lambda door: door.lock_due_at_ms, lambda door: replace(door, lock_due_at_ms=None), Trigger.LOCK_DUE),
    _Timer(lambda door: door.relock_at_ms, lambda door: replace(door, relock_at_ms=None), Trigger.RELOCK_DUE),
    _Timer(lambda door: door.pre_alarm_at_ms, lambda door: replace(door, pre_alarm_at_ms=None), Trigger.PRE_ALARM_DUE),
    _Timer(lambda door: door.open_due_at_ms, lambda door: replace(door, open_due_at_ms=None), Trigger.OPEN_DUE),
    _Timer(lambda door: door.renew_at_ms, lambda door: replace(door, renew_at_ms=None), Trigger.RENEW_DUE),
)
"""Of those that are due at the same moment the first comes first: the bolt is judged before the order changes."""


def next_deadline_ms(door: DoorState) -> int | None:
    """Give the next monotonic millisecond at which `on_time` has something to do."""
    running = (timer.due(door) for timer in _TIMERS)
    return min((due for due in running if due is not None), default=None)


def on_time(door: DoorState, at: Circumstances) -> Result:
    """Carry out every deadline that is due, the earliest first: time may be told late."""
    effects: list[Effect] = []
    for timer in sorted(_TIMERS, key=lambda timer: timer.due(door) or at.now.monotonic_ms):
        due = timer.due(door)
        if due is not None and due <= at.now.monotonic_ms:
            door, more = step(timer.stopped(door), timer.trigger, at)
            effects.extend(more)
    return door, tuple(effects)
