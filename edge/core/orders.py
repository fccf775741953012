"""How a door is to rest: as its policy orders, or otherwise for a while, by a command, by staff or by a schedule.

Invariant: a policy that shuts the door is stronger than all of them, one that frees it than staff and schedule; no
command and no schedule unlocks a door that does not know the time.
Must not: move the door; what follows from a change is the door's table.
"""

from dataclasses import dataclass, replace
from typing import Final

from edge.core.effects import Grant
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.policy import MINUTE_MS, PolicyState, schedule_is_active
from edge.core.schedule import local_time
from wire.names import ClockState, DoorMode, PassKind
from wire.policy import OUTSIDE, PolicyBundle
from wire.settings import DoorSettings

STAFF_HOLD_MS: Final = 43_200_000
"""Twelve hours: a door that staff left unlocked secures itself over night."""
_SHUT: Final = frozenset({DoorMode.BLOCKED, DoorMode.LOCKED_DOWN})
"""Modes of a policy that end whatever was ordered for a while, also after them."""


@dataclass(frozen=True, slots=True)
class StaffTap:
    """When a staff pass was last admitted, monotonic milliseconds."""

    credential: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class ModeOrder:
    """A mode that a command ordered for a while; it is remembered over a restart.

    Attributes:
        ends_at_s: when it is over, Unix seconds.
        since_s: when it began, by the door's clock.
    """

    mode: DoorMode
    ends_at_s: int
    since_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How the door is to rest, and what decides it besides the policy.

    Attributes:
        rule: what orders `rest`: "policy", "command", "schedule-3" or "staff".
        look_at_ms: when the time has to be looked at again, monotonic; None when nothing ends or begins by it.
        first_person: somebody was admitted since the unlocking schedule became active.
        unlocked_until_ms: staff keep the door unlocked until then, monotonic; None when they do not.
        tapped: the staff pass that was admitted last, if it may do so with another tap.
        ordered: what a command ordered.
        ordered_until_ms: when that is over at the latest, monotonic; None until it was looked at in this run.
    """

    rest: DoorMode = DoorMode.LOCKED
    rule: str = "policy"
    look_at_ms: int | None = None
    first_person: bool = False
    unlocked_until_ms: int | None = None
    tapped: StaffTap | None = None
    ordered: ModeOrder | None = None
    ordered_until_ms: int | None = None


def recalled(memory: Memory) -> Orders:
    """Give the orders of a daemon that starts: what a command ordered may still hold."""
    kept = memory.get(MemoKind.MODE, b"")
    return Orders() if kept is None else Orders(ordered=ModeOrder(DoorMode(kept[0]), *kept[1:]))


def note_order(order: ModeOrder | None) -> Memo:
    """Give the memo that keeps what a command ordered, or forgets it."""
    value = None if order is None else (int(order.mode), order.ends_at_s, order.since_s)
    return Memo(MemoKind.MODE, b"", value)


def follow(orders: Orders, policy: PolicyState | None, now: Instant) -> Orders:
    """Give how the door is to rest at this moment; the same orders where nothing unlocks it and nothing changes."""
    mode = DoorMode.LOCKED if policy is None else policy.bundle.settings.mode
    plain = orders.look_at_ms is None and orders.unlocked_until_ms is None and not orders.first_person
    plain = plain and orders.ordered is None
    if plain and orders.rest is mode and (policy is None or not policy.bundle.settings.unlock_schedule):
        return orders
    ordered, ordered_until_ms = _still_ordered(orders, mode, now)
    if policy is None:
        return Orders(ordered=ordered, ordered_until_ms=ordered_until_ms)  # not followed: there may be a lockdown
    settings = policy.bundle.settings
    until = _staff_until(orders, settings, now)
    scheduled = _unlocks_by_schedule(settings, policy, now)
    first = orders.first_person and scheduled
    rest, rule = settings.mode, "policy"
    if ordered is not None:
        rest, rule = ordered.mode, "command"
    elif rest is DoorMode.LOCKED and until is not None:
        rest, rule = DoorMode.UNLOCKED, "staff"
    elif rest is DoorMode.LOCKED and scheduled and (first or not settings.first_person_in):
        rest, rule = DoorMode.UNLOCKED, f"schedule-{settings.unlock_schedule}"
    return Orders(
        rest=rest,
        rule=rule,
        look_at_ms=_next_minute_ms(now) if settings.unlock_schedule or ordered is not None else None,
        first_person=first,
        unlocked_until_ms=until,
        tapped=orders.tapped,
        ordered=ordered,
        ordered_until_ms=ordered_until_ms,
    )


def _still_ordered(orders: Orders, mode: DoorMode, now: Instant) -> tuple[ModeOrder | None, int | None]:
    """Give what a command ordered and until when, None for nothing: its end or a policy that shuts the door ends it.

    It ends by whichever clock is there first: no clock that is set makes it last longer than it was to last when it
    began, or, after a restart, from then on. While the time is not known it frees no door.
    """
    order = orders.ordered
    if order is None or mode in _SHUT:
        return None, None
    lasts_ms = 1000 * (order.ends_at_s - order.since_s)
    if now.clock is not ClockState.SUSPECT:
        lasts_ms = min(lasts_ms, 1000 * order.ends_at_s - now.wall_ms)
    elif order.mode is DoorMode.UNLOCKED:
        return None, None
    until_ms = now.monotonic_ms + lasts_ms
    if orders.ordered_until_ms is not None:
        until_ms = min(until_ms, orders.ordered_until_ms)
    return (order, until_ms) if now.monotonic_ms < until_ms else (None, None)


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
    due = (orders.look_at_ms, orders.unlocked_until_ms, orders.ordered_until_ms)
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
