"""Grayscale frames to the payloads of the QR codes in them, within a frame's time.

Every frame gets the two cheap looks of `qr_looks.py`; where they find nothing, one of the expensive ones has a look,
in turn from frame to frame and so often a second at most. Import this module only where frames are decoded: it loads
the image libraries.

Invariant: the payloads of one frame are bounded in number and unchanged; nothing here logs or interprets them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from firmware_adapters.qr_looks import Code, Corners, Gray, fallbacks, histogram, load_zbar, plain

# What one frame may bring to the core: phones side by side are two or three, a sheet of codes is an attack.
MOST_CODES = 8
# No further look at a frame that has taken so long: a quarter of what the daemon lets the worker take before it ends it
# (camera_process.FRAME_DEADLINE_S); the longest look takes 50 ms, four times that on a small board.
FRAME_BUDGET_MS = 250


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was found in one frame.

    Args:
        codes: the payloads, at most `MOST_CODES`, each once.
        ignored: how many more different payloads there were.
        fallback: the name of the expensive look that was taken, None when there was none.
        withheld: True when nothing was found and there are looks that this scene has not had; it is worth another
            frame.
        corners: where codes are, all of them.
    """

    codes: tuple[bytes, ...]
    ignored: int
    fallback: str | None
    withheld: bool
    corners: tuple[Corners, ...] = ()


def monotonic_ms() -> float:
    """Return the monotonic clock in milliseconds."""
    return time.monotonic_ns() / 1_000_000


def decode_frame(gray: Gray) -> list[bytes]:
    """Return the payloads of the QR codes in a frame, at most `MOST_CODES`, taking every look until one finds any."""
    for look in (plain, histogram, *fallbacks(load_zbar()).values()):
        if found := look(gray):
            return list(_payloads(found)[:MOST_CODES])
    return []


class FrameDecoder:
    """Decodes frame after frame, with limits on the expensive looks."""

    def __init__(self, *, fallbacks_per_s: int, clock_ms: Callable[[], float] = monotonic_ms) -> None:
        """Allow at most `fallbacks_per_s` expensive looks a second; `clock_ms` tells what a frame takes."""
        self._gap_ms = 1000 / fallbacks_per_s if fallbacks_per_s else None
        self._next_fallback_ms = float("-inf")
        self._clock_ms = clock_ms
        zbar = load_zbar()
        self.has_zbar = zbar is not None
        self._fallbacks = tuple(fallbacks(zbar).items())
        self._turn = 0
        self._owed = 0
        self._found_last = False

    def decode(self, gray: Gray, *, at_ms: int, changed: bool = True) -> Decoded:
        """Find the QR codes of one frame.

        Args:
            gray: the frame.
            at_ms: monotonic milliseconds when it was due, for the limit on expensive looks.
            changed: whether it shows another scene than the frame before.
        """
        if changed or self._found_last:  # a code that is not found any more may still be there
            self._owed = len(self._fallbacks)
        late_ms = self._clock_ms() + FRAME_BUDGET_MS
        found, fallback = plain(gray), None
        if not found and self._clock_ms() < late_ms:
            found = histogram(gray)
        if not found:
            found, fallback = self._fall_back(gray, at_ms, late_ms)
        self._found_last = bool(found)
        codes = _payloads(found)
        return Decoded(
            codes=codes[:MOST_CODES],
            ignored=max(0, len(codes) - MOST_CODES),
            fallback=fallback,
            withheld=not found and self._owed > 0,
            corners=tuple(code.corners for code in found),
        )

    def _fall_back(self, gray: Gray, at_ms: int, late_ms: float) -> tuple[list[Code], str | None]:
        """Take the expensive look whose turn it is, if one is allowed now; give its name when it was taken."""
        if self._gap_ms is None or self._clock_ms() >= late_ms:
            self._owed = 0  # another frame of this scene would have none either
            return [], None
        if at_ms < self._next_fallback_ms:
            return [], None
        self._next_fallback_ms = at_ms + self._gap_ms
        name, look = self._fallbacks[self._turn]
        found = look(gray)
        if not found:  # the look that reads a scene keeps its turn
            self._turn = (self._turn + 1) % len(self._fallbacks)
            self._owed = max(0, self._owed - 1)
        return found, name


def _payloads(found: list[Code]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(code.payload for code in found))
