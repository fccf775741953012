"""What the tests of the door share: circumstances, doors in each mode, and a short way to read effects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge.core.door import may_reset_fire, step
from edge.core.door_state import Circumstances, DoorState, LineState, Mode, Trigger
from edge.core.effects import Effect, Energise, Record, Secure
from tests.core.campus import instant
from wire.names import DoorMode, EventKind, RelockRule
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

BASE = {
    DoorMode.LOCKED: Mode.LOCKED,
    DoorMode.UNLOCKED: Mode.UNLOCKED,
    DoorMode.BLOCKED: Mode.BLOCKED,
    DoorMode.LOCKED_DOWN: Mode.LOCKED_DOWN,
}
"""The mode in which a door rests under each order of a policy."""

CLOSED_DOOR = DoorState(contact=LineState.INACTIVE, last_known=LineState.INACTIVE)


def at(
    later_ms: int = 0,
    *,
    settings: DoorSettings | None = None,
    mode: DoorMode = DoorMode.LOCKED,
    relock: RelockRule | None = None,
    rest: DoorMode | None = None,
    hold_ms: int = 0,
    cause_seq: int = 0,
) -> Circumstances:
    """The circumstances `later_ms` after the usual moment; the door rests as its settings say, or as `rest`."""
    base = settings or DoorSettings(mode=mode)
    chosen = base if relock is None else replace(base, relock=relock)
    ordered = chosen.mode if rest is None else rest
    return Circumstances(settings=chosen, rest=ordered, now=instant(later_ms), hold_ms=hold_ms, cause_seq=cause_seq)


def resting(mode: Mode) -> DoorState:
    """A closed door in a mode, brought there by what brings doors there."""
    if mode is Mode.ACCESSED:
        return step(CLOSED_DOOR, Trigger.GRANT, at(hold_ms=1_000))[0]
    if mode is Mode.LOCKED_OPEN:
        return step(CLOSED_DOOR, Trigger.FIRE, at())[0]
    ordered = next(order for order, base in BASE.items() if base is mode)
    return step(CLOSED_DOOR, Trigger.POLICY, at(mode=ordered))[0]


def kinds(effects: Iterable[Effect]) -> list[EventKind]:
    """The events, by their kind."""
    return [effect.draft.kind for effect in effects if isinstance(effect, Record)]


def moves(effects: Iterable[Effect]) -> list[Energise | Secure]:
    """The orders to the lock."""
    return [effect for effect in effects if isinstance(effect, Energise | Secure)]


def reset_fire(door: DoorState, now: Circumstances) -> tuple[DoorState, tuple[Effect, ...]]:
    """What a person's order to end a fire does."""
    return step(door, Trigger.FIRE_RESET, now) if may_reset_fire(door) else (door, ())
