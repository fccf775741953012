"""How a door is to rest: as its policy orders, or unlocked by a schedule or by staff while the policy says LOCKED.

Invariant: the policy's mode is stronger than both; a schedule never unlocks a door that does not know the time.
Must not: move the door; what follows from a change is the door's table.
"""

from dataclasses import dataclass, replace
from typing import Final

from edge.core.instant import Instant
from edge.core.policy import MINUTE_MS, PolicyState, schedule_is_active
from wire.names import ClockState, DoorMode
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
        tapped: the staff pass that may do so with another tap.
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
    until = orders.unlocked_until_ms
    if until is not None and (until <= now.monotonic_ms or settings.mode is not DoorMode.LOCKED):
        until = None
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


def _unlocks_by_schedule(settings: DoorSettings, policy: PolicyState, now: Instant) -> bool:
    if not settings.unlock_schedule or now.clock is ClockState.SUSPECT:
        return False
    return schedule_is_active(settings.unlock_schedule, policy, now)


def _next_minute_ms(now: Instant) -> int:
    """Windows begin and end with whole minutes, in every zone and on both days when clocks change."""
    return now.monotonic_ms + MINUTE_MS - now.wall_ms % MINUTE_MS


def deadline_ms(orders: Orders) -> int | None:
    """Give the monotonic millisecond at which the door may have to rest otherwise."""
    due = (orders.look_at_ms, orders.unlocked_until_ms)
    return min((each for each in due if each is not None), default=None)


def with_person(orders: Orders) -> Orders:
    """Take note of a person who was admitted."""
    return replace(orders, first_person=True)


def with_staff(orders: Orders, credential: bytes, settings: DoorSettings, now: Instant) -> Orders:
    """Take note of a staff pass that was admitted: its second tap in time keeps the door unlocked, or ends that."""
    last = orders.tapped
    again = last is not None and last.credential == credential
    if last is None or not again or now.monotonic_ms - last.at_ms > settings.double_tap_ms:
        return replace(orders, tapped=StaffTap(credential, now.monotonic_ms))
    until = now.monotonic_ms + STAFF_HOLD_MS if orders.unlocked_until_ms is None else None
    return replace(orders, tapped=None, unlocked_until_ms=until)
