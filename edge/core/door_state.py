"""What is known of one door at one moment, and what an action on it needs to know.

Invariant: every deadline is monotonic milliseconds in the state; nothing runs outside of it.
Must not: act; the table in edge/core/door.py does.
"""

from dataclasses import dataclass
from enum import Enum

from edge.core.instant import Instant
from edge.core.memory import MemoKind, Memory
from wire.names import DoorMode, EventKind
from wire.settings import DoorSettings


class InputLine(Enum):
    """A wire that tells something about the door."""

    CONTACT = "contact"
    REX = "rex"
    FIRE = "fire"
    LOCK_MONITOR = "lock_monitor"
    INTERLOCK = "interlock"
    TAMPER = "tamper"
    POWER = "power"


class LineState(Enum):
    """The state of a wire after the adapter's polarity.

    ACTIVE is "door open", "pressed", "fire", "bolt withdrawn", "the other door is open", "case open", "mains lost".
    """

    INACTIVE = "inactive"
    ACTIVE = "active"
    UNKNOWN = "unknown"
    FAULT = "fault"


class Mode(Enum):
    """What the door does now."""

    LOCKED = "locked"
    ACCESSED = "accessed"
    UNLOCKED = "unlocked"
    BLOCKED = "blocked"
    LOCKED_DOWN = "locked_down"
    LOCKED_OPEN = "locked_open"


class Trigger(Enum):
    """What can happen to a door."""

    GRANT = "grant"
    EGRESS = "egress"
    OPENED = "opened"
    FOUND_OPEN = "found_open"
    CLOSED = "closed"
    CONTACT_FAULT = "contact_fault"
    CONTACT_READ = "contact_read"
    RELOCK_DUE = "relock_due"
    PRE_ALARM_DUE = "pre_alarm_due"
    OPEN_DUE = "open_due"
    RENEW_DUE = "renew_due"
    LOCK_DUE = "lock_due"
    FIRE = "fire"
    FIRE_RESET = "fire_reset"
    POLICY = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorState:
    """One door at one moment; deadlines are monotonic milliseconds, None when not running.

    Attributes:
        contact: ACTIVE is open; UNKNOWN until it was first read.
        last_known: what the contact last said when it could be read, ACTIVE or INACTIVE; UNKNOWN before.
        rex, fire, lock_monitor, interlock: these wires as last read.
        relock_at_ms: when a release for somebody ends; a free door keeps it, for when it is secured before.
        lock_due_at_ms: when the bolt should have followed the last order.
        lock_answers, bolt_follows: whether the lock's adapter could carry out its last order, and the bolt followed.
        alarms: the alarms in force, by the event that raised them.
    """

    mode: Mode = Mode.LOCKED
    contact: LineState = LineState.UNKNOWN
    last_known: LineState = LineState.UNKNOWN
    rex: LineState = LineState.UNKNOWN
    fire: LineState = LineState.UNKNOWN
    lock_monitor: LineState = LineState.UNKNOWN
    interlock: LineState = LineState.UNKNOWN
    lock_answers: bool = True
    bolt_follows: bool = True
    relock_at_ms: int | None = None
    pre_alarm_at_ms: int | None = None
    open_due_at_ms: int | None = None
    renew_at_ms: int | None = None
    lock_due_at_ms: int | None = None
    alarms: frozenset[EventKind] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What an action needs to know.

    Attributes:
        rest: the mode in which the door is to rest now: the policy's, or unlocked by a schedule or by staff.
        hold_ms, cause_seq: for a grant or command, its time and its number in the journal.
    """

    settings: DoorSettings
    rest: DoorMode
    now: Instant
    hold_ms: int = 0
    cause_seq: int = 0


def recalled(memory: Memory) -> DoorState:
    """Give the door of a daemon that starts: as after every start, or still on fire."""
    if memory.get(MemoKind.FIRE, b"") is None:
        return DoorState()
    return DoorState(mode=Mode.LOCKED_OPEN, renew_at_ms=0)
