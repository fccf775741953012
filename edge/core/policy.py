"""The third room: who may pass when. A verified credential is granted or denied.

Invariant: an empty rule list denies; `decide` takes only what `verify` made.
Must not: look at signatures, or move the door.
"""

from dataclasses import dataclass
from datetime import tzinfo

from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.schedule import is_active, local_time
from edge.core.verify import VerifiedCredential
from wire.names import ClockState, DoorMode, PassFlags, PassKind, Reason, Step, SuspectRule
from wire.policy import ALWAYS, PolicyBundle
from wire.settings import DoorSettings


@dataclass(frozen=True, slots=True)
class PolicyState:
    """The rules of one door at one version, with the time zone's data that they name."""

    bundle: PolicyBundle
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Granted:
    """A permission; `rule` names what gave it, `hold_ms` for how long the lock is released."""

    rule: str
    hold_ms: int


def decide(credential: VerifiedCredential, policy: PolicyState, now: Instant) -> Granted | Denied:
    """Check steps 10 to 15 of a tap.

    Args:
        credential: what `verify` accepted.
        policy: the rules in force.
        now: when it was read.
    """
    settings = policy.bundle.settings
    claims = credential.claims
    # 10 door mode
    reason = refused_by_mode(settings.mode, claims.kind)
    if reason is not None:
        return _deny(Step.DOOR_MODE, reason, credential)
    # 11 minimum assurance
    if credential.assurance < settings.minimum_assurance:
        return _deny(Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW, credential)
    # 12 access level and schedule
    level = _admitting_level(claims.access_levels, policy, now)
    if isinstance(level, Reason):
        return _deny(Step.ACCESS, level, credential)
    # 15 grant, with its obligations
    return Granted(f"level-{level}", _hold_ms(claims.flags, settings))


def refused_by_mode(mode: DoorMode, kind: PassKind) -> Reason | None:
    """Check step 10; None when a pass of this kind may move a door in this mode."""
    if mode is DoorMode.BLOCKED:
        return Reason.DOOR_BLOCKED
    if mode is DoorMode.LOCKED_DOWN and kind is not PassKind.EMERGENCY:
        return Reason.DOOR_LOCKED_DOWN
    return None


def _hold_ms(flags: PassFlags, settings: DoorSettings) -> int:
    """Who needs longer never gets less, whatever was configured."""
    if PassFlags.EXTENDED_RELEASE in flags:
        return max(settings.extended_release_time_ms, settings.release_time_ms)
    return settings.release_time_ms


def _deny(step: Step, reason: Reason, credential: VerifiedCredential) -> Denied:
    return Denied(step, reason, credential.claims.pass_id, credential.assurance)


def _admitting_level(levels: tuple[int, ...], policy: PolicyState, now: Instant) -> int | Reason:
    known = [level for level in levels if level in policy.bundle.levels]
    if not known:
        return Reason.UNAUTHORIZED
    for level in known:
        if any(_schedule_admits(number, policy, now) for number in policy.bundle.levels[level]):
            return level
    suspect = now.clock is ClockState.SUSPECT
    return Reason.CLOCK_SUSPECT if suspect else Reason.NOT_PERMITTED_AT_THIS_TIME


def _schedule_admits(number: int, policy: PolicyState, now: Instant) -> bool:
    rule = policy.bundle.settings.suspect
    if now.clock is ClockState.SUSPECT and rule is SuspectRule.DENY:
        return False
    if number == ALWAYS:
        return True
    if now.clock is ClockState.SUSPECT:
        return rule is SuspectRule.IGNORE_SCHEDULES
    return is_active(policy.bundle.schedules[number], policy.bundle.holidays, local_time(now.wall_ms, policy.zone))
