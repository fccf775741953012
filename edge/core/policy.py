"""The third room: who may pass when. A verified credential is granted or denied.

Invariant: an empty rule list denies; `decide` takes only what `verify` made.
Must not: look at signatures, or move the door.
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from edge.core.anti_passback import find_violation, note, refused_by_area
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.memory import Memo, Memory
from edge.core.printed import count_use
from edge.core.schedule import is_active, local_time
from edge.core.verify import VerifiedCredential
from wire.names import (
    AntiPassbackRule,
    Assurance,
    ClockState,
    DoorMode,
    EventKind,
    PassFlags,
    PassKind,
    Reason,
    Step,
    SuspectRule,
)
from wire.policy import ALWAYS, PolicyBundle
from wire.settings import DoorSettings

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class PolicyState:
    """The rules of one door at one version, with the time zone's data that they name."""

    bundle: PolicyBundle
    zone: tzinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision depends on besides credential, rules and time.

    Attributes:
        reader: where it was presented.
        interlocked: another door must be closed before this one opens, and is not known to be.
        memory: who is where, how often, and so on.
        blocked: a command ordered that nobody is admitted for a while.
    """

    reader: str
    interlocked: bool
    memory: Memory
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """A permission.

    Attributes:
        rule: what gave it; hold_ms: for how long the lock is released.
        memos: what is remembered with it.
        notices: what it gives cause to journal beside it.
    """

    rule: str
    hold_ms: int
    memos: tuple[Memo, ...] = ()
    notices: tuple[EventKind, ...] = ()


def decide(credential: VerifiedCredential, policy: PolicyState, at: Situation, now: Instant) -> Granted | Denied:
    """Check steps 10 to 13 of a tap; what companions have to add is the next step's.

    Args:
        credential: what `verify` accepted.
        policy: the rules in force.
        at: where and in which situation it was presented.
        now: when it was read.
    """
    # 10 door mode
    mode = DoorMode.BLOCKED if at.blocked else policy.bundle.settings.mode
    reason = refused_by_mode(mode, credential.kind, interlocked=at.interlocked)
    if reason is not None:
        return _deny(Step.DOOR_MODE, reason, credential)
    local = local_time(now.wall_ms, policy.zone)
    # 11 minimum assurance
    if credential.assurance < minimum_assurance(policy, local, now.clock):
        return _deny(Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW, credential)
    # 12 access level and schedule
    level = _admitting_level(credential.access_levels, policy, local, now.clock)
    if isinstance(level, Reason):
        return _deny(Step.ACCESS, level, credential)
    # 13 anti-passback, occupancy
    passage = policy.bundle.passages.get(at.reader)
    if passage is not None:
        reason = refused_by_area(credential, passage, policy.bundle, at.memory, now)
        if reason is not None:
            return _deny(Step.ANTI_PASSBACK, reason, credential)
    memos = count_use(credential, policy.bundle.settings, at.memory, now)
    if passage is not None:
        memos = (note(credential, passage, policy.bundle.settings, now), *memos)
    notices = _alerts(credential, policy.bundle, at, now)
    return Granted(f"level-{level}", _hold_ms(credential.flags, policy.bundle.settings), memos, notices)


def minimum_assurance(policy: PolicyState, local: datetime, clock: ClockState) -> Assurance:
    """Give the assurance that the door asks for now; while it does not know the time, the strongest of any hour."""
    asked = [
        each.assurance
        for each in policy.bundle.assurance_hours
        if clock is ClockState.SUSPECT or schedule_is_active(each.schedule, policy, local)
    ]
    return max([policy.bundle.settings.minimum_assurance, *asked])


def schedule_is_active(number: int, policy: PolicyState, local: datetime) -> bool:
    """Tell whether a schedule is active at a local time of the door."""
    if number == ALWAYS:
        return True
    return is_active(policy.bundle.schedules[number], policy.bundle.holidays, local)


def _alerts(credential: VerifiedCredential, bundle: PolicyBundle, at: Situation, now: Instant) -> tuple[EventKind, ...]:
    passage = bundle.passages.get(at.reader)
    if passage is None or bundle.settings.anti_passback is not AntiPassbackRule.ALERT:
        return ()
    violation = find_violation(credential, passage, bundle.settings, at.memory, now)
    return () if violation is None else (EventKind.ANTI_PASSBACK_ALERT,)


def refused_by_mode(mode: DoorMode, kind: PassKind, *, interlocked: bool) -> Reason | None:
    """Check step 10; None when a pass of this kind may move a door in this mode."""
    if mode is DoorMode.BLOCKED:
        return Reason.DOOR_BLOCKED
    if mode is DoorMode.LOCKED_DOWN and kind is not PassKind.EMERGENCY:
        return Reason.DOOR_LOCKED_DOWN
    return Reason.DOOR_INTERLOCKED if interlocked else None


def _hold_ms(flags: PassFlags, settings: DoorSettings) -> int:
    """Who needs longer never gets less, whatever was configured."""
    if PassFlags.EXTENDED_RELEASE in flags:
        return max(settings.extended_release_time_ms, settings.release_time_ms)
    return settings.release_time_ms


def _deny(step: Step, reason: Reason, credential: VerifiedCredential) -> Denied:
    return Denied(step, reason, credential.credential, credential.assurance)


def _admitting_level(levels: tuple[int, ...], policy: PolicyState, local: datetime, clock: ClockState) -> int | Reason:
    known = [level for level in levels if level in policy.bundle.levels]
    if not known:
        return Reason.UNAUTHORIZED
    for level in known:
        if any(_schedule_admits(number, policy, local, clock) for number in policy.bundle.levels[level]):
            return level
    suspect = clock is ClockState.SUSPECT
    return Reason.CLOCK_SUSPECT if suspect else Reason.NOT_PERMITTED_AT_THIS_TIME


def _schedule_admits(number: int, policy: PolicyState, local: datetime, clock: ClockState) -> bool:
    rule = policy.bundle.settings.suspect
    if clock is not ClockState.SUSPECT:
        return schedule_is_active(number, policy, local)
    if rule is SuspectRule.DENY:
        return False
    return number == ALWAYS or rule is SuspectRule.IGNORE_SCHEDULES
