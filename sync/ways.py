"""Which way batches take, and when the broker is tried again.

Invariant: pure; time and chance are arguments. A broker that fails is tried ever less often, and never given up.
Must not: wait, send or connect.
"""

from dataclasses import dataclass
from typing import Final

from sync.ports import Reason, UplinkError
from wire.health import Way

FIRST_CEILING_S: Final = 10.0
LAST_CEILING_S: Final = 300.0
_DOUBLINGS: Final = 5
"""10 s * 2^5 = 320 s is the first ceiling above the last one."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When the broker is tried again.

    Attributes:
        failures: in a row; answers, and sessions that hold for as long as the longest wait, end the row.
    """

    failures: int = 0

    def lost(self, *, held_s: float) -> "Retry":
        """Count a session that could not be had (0 s), or was lost after so many seconds."""
        return Retry(1 if held_s >= LAST_CEILING_S else self.failures + 1)

    def delay_s(self, fraction: float) -> float:
        """Give the wait before the next try: half the ceiling and a random part of the other half.

        5 to 10 s at first, 150 to 300 s at last: after a broker has come back, its doors come back over seconds.
        """
        ceiling_s = min(LAST_CEILING_S, FIRST_CEILING_S * 2.0 ** min(max(self.failures - 1, 0), _DOUBLINGS))
        return ceiling_s * (1 + fraction) / 2


@dataclass(frozen=True, slots=True)
class WayStatus:
    """Which way batches take.

    Attributes:
        way: the one that is used now.
        since_wall_ms: since when, Unix.
        fault: why it is not the broker; None when it is, and before it was tried.
    """

    way: Way
    since_wall_ms: int
    fault: UplinkError | None = None

    @property
    def reason(self) -> Reason | None:
        """Give the class of the fault."""
        return None if self.fault is None else self.fault.reason

    def turned(self, way: Way, fault: UplinkError | None, *, wall_ms: int) -> "WayStatus":
        """Give the status after a session was won or lost."""
        return WayStatus(way, self.since_wall_ms if way is self.way else wall_ms, fault)
