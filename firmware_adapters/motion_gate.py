"""Tell frames that show something new from those that show what was already decoded.

Import this module only where frames are decoded: it loads the image libraries.
Invariant: at least one frame in `GATE_OPEN_MS` is let through.
"""

from enum import Enum

import cv2
import numpy as np

from firmware_adapters.qr_looks import Gray

# The scene at about 8 x 8 camera pixels a cell.
GATE_WIDTH, GATE_HEIGHT = 160, 90
# Sensor noise, averaged over a cell, stays below 4 of 255; a QR module that flips moves a cell by 40.
GATE_LEVEL = 12
# A code at the readable floor (2.5 pixels a module, 57 modules) covers 320 cells and changes over half of them.
GATE_CELLS = 15
# A slow focus changes little at a time: look again at least this often.
GATE_OPEN_MS = 1000


class Scene(Enum):
    """What a frame is worth."""

    CHANGED = "changed"  # something has moved since the last decoded frame
    DUE = "due"  # nothing has, and another look is wanted or due
    SAME = "same"  # nothing has, and it was looked at: not to be decoded


class MotionGate:
    """Compares each frame with the last decoded one."""

    def __init__(self) -> None:
        """Start with nothing seen: the first frame is new."""
        self._seen: Gray | None = None
        self._due_ms = 0

    def judge(self, gray: Gray, *, at_ms: int) -> Scene:
        """Tell what this frame is worth; unless that is SAME, remember it as decoded."""
        cells = np.asarray(cv2.resize(gray, (GATE_WIDTH, GATE_HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        changed = self._seen is None or self._differs(cells, self._seen)
        if not changed and at_ms < self._due_ms:
            return Scene.SAME
        self._seen = cells
        self._due_ms = at_ms + GATE_OPEN_MS
        return Scene.CHANGED if changed else Scene.DUE

    def look_again(self) -> None:
        """Let the next frame through although nothing has moved."""
        self._due_ms = 0

    @staticmethod
    def _differs(cells: Gray, seen: Gray) -> bool:
        moved = np.asarray(cv2.absdiff(cells, seen)) > GATE_LEVEL
        return bool(np.count_nonzero(moved) >= GATE_CELLS)
