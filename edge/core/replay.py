"""Replay marks: which presentations this door has accepted and must not accept again.

Invariant: a mark is forgotten only when both clocks have passed its end, and what it could have stood for is
refused from then on, so that setting the wall clock back does not reopen a window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from edge.core.effects import ReplayMark
from edge.core.instant import Instant
from edge.core.verify import WIDEST_MS

KEEP_MS: Final = 210_000
"""Twice the widest acceptance window of 90 s, and a margin of 30 s."""
MAX_MARKS: Final = 4096
"""One grant every 51 ms for as long as marks live; beyond that the door refuses rather than forgets."""
SWEEP_MS: Final = 1_000
"""Marks whose time is over are looked for this often, and when there is no room: looking costs 0.15 us a mark."""


@dataclass(frozen=True, slots=True)
class ReplayMarks:
    """The marks in force.

    Attributes:
        marks: by their key.
        horizon_ms: of presentations signed up to here (Unix milliseconds) a mark may have been forgotten. It stays
            30 s behind every window that a clock which only goes forward can accept.
        swept_ms: when marks were last forgotten, monotonic.
    """

    marks: Mapping[bytes, ReplayMark] = field(default_factory=lambda: MappingProxyType({}))
    horizon_ms: int = 0
    swept_ms: int = 0

    def seen(self, key: bytes, *, signed_at_ms: int) -> bool:
        """Tell whether this presentation was accepted before, or may have been.

        Args:
            key: its replay key.
            signed_at_ms: when its holder signed it, Unix milliseconds.
        """
        return key in self.marks or signed_at_ms <= self.horizon_ms

    def full(self, now: Instant) -> bool:
        """Tell whether no further mark can be kept."""
        return len(self.marks) >= MAX_MARKS and len(self._alive(now)) >= MAX_MARKS

    def add(self, mark: ReplayMark, now: Instant) -> "ReplayMarks":
        """Give the marks with one more; now and then without those whose time is over."""
        if now.monotonic_ms - self.swept_ms < SWEEP_MS and len(self.marks) < MAX_MARKS:
            return replace(self, marks=MappingProxyType({**self.marks, mark.key: mark}))
        alive = self._alive(now)
        over = [horizon_of(old.expires_wall_ms) for key, old in self.marks.items() if key not in alive]
        marks = MappingProxyType({**alive, mark.key: mark})
        return ReplayMarks(marks, max([self.horizon_ms, *over]), now.monotonic_ms)

    def _alive(self, now: Instant) -> dict[bytes, ReplayMark]:
        return {key: mark for key, mark in self.marks.items() if not is_over(mark, now)}


def horizon_of(expires_wall_ms: int) -> int:
    """Give the newest moment at which what a mark stood for can have been signed, Unix milliseconds."""
    return expires_wall_ms - KEEP_MS + WIDEST_MS


def make_mark(key: bytes, now: Instant) -> ReplayMark:
    """Mark a presentation accepted now."""
    return ReplayMark(key=key, expires_wall_ms=now.wall_ms + KEEP_MS, expires_monotonic_ms=now.monotonic_ms + KEEP_MS)


def is_over(mark: ReplayMark, now: Instant) -> bool:
    """Tell whether a mark may be forgotten."""
    return now.wall_ms >= mark.expires_wall_ms and now.monotonic_ms >= mark.expires_monotonic_ms
