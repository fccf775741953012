"""One moment as a door knows it.

Invariant: `monotonic_ms` never goes back within one run; `wall_ms` may, and `clock` tells how far to believe it.
"""

from dataclasses import dataclass

from wire.names import ClockState


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Now, as the shell measured it.

    Attributes:
        wall_ms: Unix milliseconds, from 1970 to the year 9999.
        monotonic_ms: milliseconds since some fixed moment of this boot.
        clock: how the wall time is known.
        uncertainty_ms: the wall time may be off by this much either way.
    """

    wall_ms: int
    monotonic_ms: int
    clock: ClockState
    uncertainty_ms: int = 0

    @property
    def wall_s(self) -> int:
        """Whole Unix seconds."""
        return self.wall_ms // 1000
