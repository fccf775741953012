"""Let a code that stays before a camera through once.

Pure. Invariant: at most `most` payloads are remembered.
"""

# Eight codes a frame (qr_decode.MOST_CODES) for two seconds at 15 frames a second, if every one were new.
MOST_PAYLOADS = 256


class RepeatFilter:
    """Remembers what was in view during the last `window_ms` milliseconds."""

    def __init__(self, *, window_ms: int, most: int = MOST_PAYLOADS) -> None:
        """Suppress payloads seen within `window_ms`; 0 suppresses none."""
        self._window_ms = window_ms
        self._most = most
        self._last_seen_ms: dict[bytes, int] = {}
        self._in_view: tuple[bytes, ...] = ()

    def new_in(self, payloads: tuple[bytes, ...], *, at_ms: int) -> list[bytes]:
        """Take the payloads of one decoded frame and return those that were not in view during the window."""
        new = [payload for payload in payloads if not self._seen_lately(payload, at_ms)]
        self._in_view = payloads
        self.unchanged(at_ms=at_ms)
        return new

    def unchanged(self, *, at_ms: int) -> None:
        """Note that the scene is as in the last decoded frame: its payloads are still in view."""
        for payload in self._in_view:
            self._last_seen_ms.pop(payload, None)
            self._last_seen_ms[payload] = at_ms
        while len(self._last_seen_ms) > self._most:
            del self._last_seen_ms[next(iter(self._last_seen_ms))]

    def _seen_lately(self, payload: bytes, at_ms: int) -> bool:
        seen_ms = self._last_seen_ms.get(payload)
        return seen_ms is not None and at_ms - seen_ms < self._window_ms
