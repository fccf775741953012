"""How a door is to rest: as its policy orders, or unlocked by a schedule or by staff while the policy says LOCKED.

Invariant: the policy's mode is stronger than both; a schedule never unlocks a door that does not know the time.
Must not: move the door; what follows from a change is the door's table.
"""

from dataclasses import dataclass, replace
from typing import Final

from edge.core.effects import Grant
from edge.core.instant import Instant
from edge.core.policy import MINUTE_MS, PolicyState, schedule_is_active
from edge.core.schedule import local_time
from wire.names import ClockState, DoorMode, PassKind
from wire.policy import OUTSIDE, PolicyBundle
from wire.settings import DoorSettings

STAFF_HOLD_MS: Final = 43_200_000
"""Twelve hours: a door that staff left unlocked secures itself over night."""


@dataclass(frozen=True, slots=True)
class StaffTap:
    """When a staff pass was last admitted, monotonic milliseconds."""

    credential: bytes
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How the door is to rest, and what decides it besides the policy.

    Attributes:
        rule: what orders `rest`: "policy", "schedule-3" or "staff".
        look_at_ms: when a schedule has to be looked at again, monotonic; None when none unlocks.
        first_person: somebody was admitted since the unlocking schedule became active.
        unlocked_until_ms: staff keep the door unlocked until then, monotonic; None when they do not.
        tapped: the staff pass that was admitted last, if it may do so with another tap.
    """

    rest: DoorMode = DoorMode.LOCKED
    rule: str = "policy"
    look_at_ms: int | None = None
    first_person: bool = False
    unlocked_until_ms: int | None = None
    tapped: StaffTap | None = None


def follow(orders: Orders, policy: PolicyState | None, now: Instant) -> Orders:
    """Give how the door is to rest at this moment; the same orders where nothing unlocks it and nothing changes."""
    mode = DoorMode.LOCKED if policy is None else policy.bundle.settings.mode
    plain = orders.look_at_ms is None and orders.unlocked_until_ms is None and not orders.first_person
    if plain and orders.rest is mode and (policy is None or not policy.bundle.settings.unlock_schedule):
        return orders
    if policy is None:
        return Orders()
    settings = policy.bundle.settings
    until = _staff_until(orders, settings, now)
    scheduled = _unlocks_by_schedule(settings, policy, now)
    first = orders.first_person and scheduled
    rest, rule = settings.mode, "policy"
    if rest is DoorMode.LOCKED and until is not None:
        rest, rule = DoorMode.UNLOCKED, "staff"
    elif rest is DoorMode.LOCKED and scheduled and (first or not settings.first_person_in):
        rest, rule = DoorMode.UNLOCKED, f"schedule-{settings.unlock_schedule}"
    return Orders(
        rest=rest,
        rule=rule,
        look_at_ms=_next_minute_ms(now) if settings.unlock_schedule else None,
        first_person=first,
        unlocked_until_ms=until,
        tapped=orders.tapped,
    )


def _staff_until(orders: Orders, settings: DoorSettings, now: Instant) -> int | None:
    """Give until when staff keep the door unlocked; another mode ends that, also after it is over."""
    until = orders.unlocked_until_ms
    lasts = until is not None and now.monotonic_ms < until
    return until if lasts and settings.double_tap_ms and settings.mode is DoorMode.LOCKED else None


def _unlocks_by_schedule(settings: DoorSettings, policy: PolicyState, now: Instant) -> bool:
    if not settings.unlock_schedule or now.clock is ClockState.SUSPECT:
        return False
    return schedule_is_active(settings.unlock_schedule, policy, local_time(now.wall_ms, policy.zone))


def _next_minute_ms(now: Instant) -> int:
    """Windows begin and end with whole minutes, in every zone and on both days when clocks change."""
    return now.monotonic_ms + MINUTE_MS - now.wall_ms % MINUTE_MS


def deadline_ms(orders: Orders) -> int | None:
    """Give the monotonic millisecond at which the door may have to rest otherwise."""
    due = (orders.look_at_ms, orders.unlocked_until_ms)
    return min((each for each in due if each is not None), default=None)


def admitted(orders: Orders, grant: Grant, kind: PassKind, bundle: PolicyBundle, now: Instant) -> Orders:
    """Take note of a person who was admitted: the first of a schedule, or a staff pass that taps twice.

    Its second tap in time, with nobody admitted between, keeps the door unlocked, or ends that.
    """
    credential, settings = grant.credential, bundle.settings
    first = orders.first_person or (settings.first_person_in and not _leads_outside(grant.reader, bundle))
    counts = kind is PassKind.STAFF and settings.double_tap_ms > 0
    if not counts and orders.tapped is None and first is orders.first_person:
        return orders
    if not counts:
        return replace(orders, first_person=first, tapped=None)
    if not _is_second(orders.tapped, credential, settings, now):
        return replace(orders, first_person=first, tapped=StaffTap(credential, now.monotonic_ms))
    until = now.monotonic_ms + STAFF_HOLD_MS if orders.unlocked_until_ms is None else None
    return replace(orders, first_person=first, tapped=None, unlocked_until_ms=until)


def _leads_outside(reader: str, bundle: PolicyBundle) -> bool:
    """Tell whether whoever taps there leaves: no first person in."""
    passage = bundle.passages.get(reader)
    return passage is not None and passage.into == OUTSIDE


def _is_second(last: StaffTap | None, credential: bytes, settings: DoorSettings, now: Instant) -> bool:
    if last is None or last.credential != credential:
        return False
    return now.monotonic_ms - last.at_ms <= settings.double_tap_ms
