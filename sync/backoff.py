"""How long to leave a cloud alone that did not answer: exponential, with full jitter.

Invariant: the n-th failure in a row waits a random time of at most 0.5 s * 2^(n-1), never more than 60 s, on top of
what the cloud asked for. Full jitter spreads a thousand doors that lost the same cloud at the same instant.
Must not: read a clock or draw randomness; both are arguments.
"""

from dataclasses import dataclass
from typing import Final

FIRST_CEILING_S: Final = 0.5
LAST_CEILING_S: Final = 60.0
MAX_RETRY_AFTER_S: Final = 600.0
"""A wish of the cloud's beyond ten minutes is cut: a mistaken header must not silence a door for a day."""

_DOUBLINGS: Final = 7
"""0.5 s * 2^7 = 64 s is the first ceiling above the last one."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures in a row so far."""

    failures: int = 0

    @property
    def ceiling_s(self) -> float:
        """The longest that the present failure may wait, 0 when there is none."""
        if self.failures == 0:
            return 0.0
        return min(LAST_CEILING_S, FIRST_CEILING_S * 2.0 ** min(self.failures - 1, _DOUBLINGS))

    def failed(self) -> "Backoff":
        """Count one more failure."""
        return Backoff(self.failures + 1)

    def delay_s(self, fraction: float, retry_after_s: float | None = None) -> float:
        """Give the wait before the next try.

        Args:
            fraction: random, 0 to 1.
            retry_after_s: what the cloud asked for; the random part is added so that not all come back at once.
        """
        asked_s = 0.0 if retry_after_s is None else min(max(retry_after_s, 0.0), MAX_RETRY_AFTER_S)
        return asked_s + fraction * self.ceiling_s
