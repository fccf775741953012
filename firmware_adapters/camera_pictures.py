"""The last few pictures of a camera, kept in memory and written to files when the daemon asks for them.

Import this module only in the camera's worker process: it loads the image libraries.

Invariant: a picture is small and has no code in it that was read: a printed pass would be copied from it. Nothing is
written unless it is asked for, and then for the owner of the files alone.
"""

import os
from collections import deque
from pathlib import Path

import cv2
import numpy as np

from firmware_adapters.qr_looks import Corners, Gray

# A second and a half before the event and the event: who came, and what was held up.
MOST_PICTURES = 4
GAP_MS = 500
# Enough to know a face a metre away; 0.5 MB in memory, 60 kB as a file.
WIDEST_PX = 960
JPEG_QUALITY = 75
FILE_MODE = 0o600
# Grey: neither a module that is dark nor one that is light.
_COVER = 128


class Pictures:
    """Remembers what a camera saw during the last seconds."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._spaced: deque[Gray] = deque(maxlen=MOST_PICTURES)
        self._due_ms: float = float("-inf")
        self._newest: Gray | None = None

    def add(self, gray: Gray, *, at_ms: int, corners: tuple[Corners, ...]) -> None:
        """Take a frame that was decoded, or looks as the last one did.

        Args:
            gray: the frame, which is left alone.
            at_ms: monotonic milliseconds.
            corners: where codes are. One frame in `GAP_MS` is kept, and besides the newest that has a code.
        """
        if at_ms >= self._due_ms:
            self._due_ms = at_ms + GAP_MS
            self._spaced.append(_covered(gray, corners))
            self._newest = None
        elif corners:
            self._newest = _covered(gray, corners)

    def write(self, prefix: Path) -> int:
        """Write what is remembered, oldest first, as `prefix`-1.jpg and so on; return how many there are.

        Raises:
            OSError: they cannot be written.
        """
        kept = [*self._spaced, *([] if self._newest is None else [self._newest])][-MOST_PICTURES:]
        for number, gray in enumerate(kept, start=1):
            _, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            _write(prefix.with_name(f"{prefix.name}-{number}.jpg"), data.tobytes())
        return len(kept)


def _covered(gray: Gray, corners: tuple[Corners, ...]) -> Gray:
    """Return a small copy of a frame, its codes covered."""
    height, width = gray.shape
    scale = min(1.0, WIDEST_PX / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.array(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for each in corners:
        outline = cv2.convexHull(np.round(np.array(each, dtype=np.float32) * scale).astype(np.int32))
        cv2.fillConvexPoly(small, outline, _COVER)
    return small


def _write(path: Path, data: bytes) -> None:
    """Let a file appear whole."""
    hidden = path.with_name(f".{path.name}")
    file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(file, "wb") as stream:  # noqa: PTH123 - a descriptor, so that no other mode is ever seen
        stream.write(data)
    hidden.replace(path)
