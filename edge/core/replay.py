"""Replay marks: which presentations this door has accepted and must not accept again.

Invariant: a mark is forgotten only when both clocks have passed its end, so that setting the wall clock back
does not reopen a window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from edge.core.effects import ReplayMark
from edge.core.instant import Instant

KEEP_MS: Final = 210_000
"""Twice the widest acceptance window of 90 s, and a margin of 30 s."""
MAX_MARKS: Final = 4096
"""One grant every 51 ms for as long as marks live; beyond that the door refuses rather than forgets."""


@dataclass(frozen=True, slots=True)
class ReplayMarks:
    """The marks in force."""

    marks: Mapping[bytes, ReplayMark] = field(default_factory=lambda: MappingProxyType({}))

    def seen(self, key: bytes) -> bool:
        """Tell whether this presentation was accepted before."""
        return key in self.marks

    def full(self, now: Instant) -> bool:
        """Tell whether no further mark can be kept."""
        return len(self._alive(now)) >= MAX_MARKS

    def add(self, mark: ReplayMark, now: Instant) -> "ReplayMarks":
        """Give the marks with one more, without those whose time is over."""
        return ReplayMarks(MappingProxyType({**self._alive(now), mark.key: mark}))

    def _alive(self, now: Instant) -> dict[bytes, ReplayMark]:
        return {key: mark for key, mark in self.marks.items() if not is_over(mark, now)}


def make_mark(key: bytes, now: Instant) -> ReplayMark:
    """Mark a presentation accepted now."""
    return ReplayMark(key=key, expires_wall_ms=now.wall_ms + KEEP_MS, expires_monotonic_ms=now.monotonic_ms + KEEP_MS)


def is_over(mark: ReplayMark, now: Instant) -> bool:
    """Tell whether a mark may be forgotten."""
    return now.wall_ms >= mark.expires_wall_ms and now.monotonic_ms >= mark.expires_monotonic_ms
