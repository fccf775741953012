"""A closed door that is fed at moments later than the usual one, and woken when it asks for it.

Invariant: time passes as the shell lets it, by `TimeDue` at the deadlines that the core names, each later than before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING

from edge.core.door_state import Mode
from edge.core.effects import Effect
from edge.core.tap import PolicyReplaced, State, TimeDue, handle, next_deadline_ms
from tests.core.campus import MONOTONIC_MS, commits, door, drafts, durable, instant, policy, tap
from tests.core.doors import CLOSED_DOOR
from wire.names import EventKind
from wire.policy import ALL_DAYS, Schedule, Window
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from edge.core.instant import Instant
    from edge.core.policy import PolicyState
    from edge.core.tap import Input

MINUTE_MS = 60_000
BEGINS_MS = 40_000  # NOW is 08:53:20
ENDS_MS = BEGINS_MS + 2 * MINUTE_MS
TWO_MINUTES = Schedule((Window(ALL_DAYS, 534, 536),))
SCHEDULED = DoorSettings(unlock_schedule=3)


def hours(
    schedule: Schedule = TWO_MINUTES,
    settings: DoorSettings = SCHEDULED,
    *,
    holidays: Iterable[int] = (),
    zone: tzinfo = UTC,
) -> PolicyState:
    """Rules with one schedule, number 3, that unlocks the door."""
    return policy(settings, schedules={3: schedule}, holidays=holidays, zone=zone)


@dataclass
class RunningDoor:
    """One door; `seen` is all it did."""

    state: State
    seen: list[Effect]

    def feed(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        """Feed one input; gives what it led to."""
        self.state, effects = handle(self.state, event, now)
        self.seen += effects
        return effects

    def wait(self, later_ms: int) -> None:
        """Let time pass, woken only when the core asked for it."""
        while (due := next_deadline_ms(self.state)) is not None and due <= MONOTONIC_MS + later_ms:
            self.feed(TimeDue(), instant(due - MONOTONIC_MS))
            following = next_deadline_ms(self.state)
            assert following is None or following > due

    def admit(self, payload: bytes, later_ms: int) -> None:
        """Show something at the reader; a grant becomes durable at once."""
        for commit in commits(self.feed(tap(payload), instant(later_ms))):
            self.state, effects = durable(self.state, commit, instant(later_ms))
            self.seen += effects

    def changes(self) -> list[tuple[int, str | None]]:
        """When the door's order changed, milliseconds after the usual moment, and by which rule."""
        return [
            (draft.at.monotonic_ms - MONOTONIC_MS, draft.rule)
            for draft in drafts(self.seen)
            if draft.kind is EventKind.MODE_CHANGED
        ]

    def mode(self) -> Mode:
        """What the door does now."""
        return self.state.door.mode


def running(rules: PolicyState, now: Instant | None = None) -> RunningDoor:
    """A door that has just been given its rules."""
    made = RunningDoor(replace(door(), door=CLOSED_DOOR), [])
    made.feed(PolicyReplaced(rules, None), instant() if now is None else now)
    return made
