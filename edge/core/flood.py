"""Refusals under flood: each refused input is journaled once, but a flood is journaled as a number.

Taps and commands are counted apart: who floods a reader hides no forged command, and the other way round.

Invariant: nothing is dropped without being counted; the count is journaled when the window ends.
"""

from dataclasses import dataclass, replace
from typing import Final

from edge.core.instant import Instant

WINDOW_MS: Final = 10_000
DENIALS_A_WINDOW: Final = 20
"""A person tries a few times a second at most; a scanner gone mad sends hundreds."""
COMMANDS_A_WINDOW: Final = 6
"""Commands come one at a time from people. Both kinds flooded, with the two numbers, are 28 events in 10 s: 241,920 a
day at worst, below the journal's 250,000."""


@dataclass(frozen=True, slots=True)
class Flood:
    """The window that is running: when it began (monotonic ms), how many were let through, how many only counted."""

    began_ms: int | None = None
    journaled: int = 0
    suppressed: int = 0


def admit(flood: Flood, most: int, now: Instant) -> tuple[Flood, bool]:
    """Count one refusal and tell whether it is journaled in full, as `most` a window are. Call `roll` first."""
    if flood.journaled < most:
        began = now.monotonic_ms if flood.began_ms is None else flood.began_ms
        return replace(flood, began_ms=began, journaled=flood.journaled + 1), True
    return replace(flood, suppressed=flood.suppressed + 1), False


def roll(flood: Flood, now: Instant) -> tuple[Flood, int]:
    """End the window if its time is over; gives how many refusals it suppressed."""
    due = deadline_ms(flood)
    if due is None or now.monotonic_ms < due:
        return flood, 0
    return Flood(), flood.suppressed


def deadline_ms(flood: Flood) -> int | None:
    """Give the monotonic millisecond at which the window ends, None when none runs."""
    return None if flood.began_ms is None else flood.began_ms + WINDOW_MS
