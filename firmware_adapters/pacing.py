"""How long to wait before opening a device again.

Pure: it counts, the adapter waits. Invariant: a pause never exceeds `most_s`.
"""

# A replugged scanner is back within a breath; a missing one costs one open() every five seconds.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class ReopenPacing:
    """Double the pause after each failure in a row; none before the first attempt or after a success."""

    def __init__(self, *, first_s: float = FIRST_PAUSE_S, most_s: float = LONGEST_PAUSE_S) -> None:
        """Start without a pause; `first_s` follows the first failure, `most_s` bounds all."""
        self._first_s = first_s
        self._most_s = most_s
        self._pause_s = 0.0

    def pause_s(self) -> float:
        """Return the seconds to wait before this attempt, and count the attempt as failed until `succeeded`."""
        pause_s = self._pause_s
        self._pause_s = min(max(self._first_s, pause_s * 2), self._most_s)
        return pause_s

    def succeeded(self) -> None:
        """Forget the failures: the device works."""
        self._pause_s = 0.0
