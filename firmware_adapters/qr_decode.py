"""Grayscale frames to the payloads of the QR codes in them.

zxing-cpp reads more than zbar in a tenth of its time, but not all that zbar reads (moiré on screens), so zbar gets a
look at frames where zxing finds nothing. Import this module only where frames are decoded: it loads the image
libraries.

Invariant: the payloads of one frame are bounded in number and unchanged; nothing here logs or interprets them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

# Shape (height, width), one byte a pixel, 0 is black.
Gray: TypeAlias = npt.NDArray[np.uint8]

# What one frame may bring to the core: phones side by side are two or three, a sheet of codes is an attack.
MOST_CODES = 8

# Not QRCode, which would let in Micro QR and rMQR: neither can hold a pass.
_QR_CODE = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)

# The scene at about 8 x 8 camera pixels a cell.
GATE_WIDTH, GATE_HEIGHT = 160, 90
# Sensor noise, averaged over a cell, stays below 4 of 255; a QR module that flips moves a cell by 40.
GATE_LEVEL = 12
# A code at the readable floor (2.5 pixels a module, 57 modules) covers 320 cells and changes over half of them.
GATE_CELLS = 15
# A slow focus changes little at a time: look again at least this often.
GATE_OPEN_MS = 1000


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was found in one frame.

    Args:
        codes: the payloads, at most `MOST_CODES`, each once.
        ignored: how many more different payloads there were.
        fallback: True when zbar had to look.
        withheld: True when nothing was found and zbar may look only later; the same scene is worth another frame.
    """

    codes: tuple[bytes, ...]
    ignored: int
    fallback: bool
    withheld: bool


def decode_frame(gray: Gray) -> list[bytes]:
    """Return the payloads of the QR codes in a frame, at most `MOST_CODES`; zbar looks when zxing finds none."""
    return list(FrameDecoder(fallbacks_per_s=0).decode(gray, at_ms=0, fallback_at_will=True).codes)


class FrameDecoder:
    """Decodes frame after frame, with a limit on the expensive second look."""

    def __init__(self, *, fallbacks_per_s: int) -> None:
        """Allow zbar to look at most `fallbacks_per_s` times a second."""
        self._gap_ms = 1000 / fallbacks_per_s if fallbacks_per_s else None
        self._next_fallback_ms = float("-inf")
        self._zbar = _load_zbar()

    @property
    def has_fallback(self) -> bool:
        """Tell whether zbar is installed."""
        return self._zbar is not None

    def decode(self, gray: Gray, *, at_ms: int, fallback_at_will: bool = False) -> Decoded:
        """Find the QR codes of one frame.

        Args:
            gray: the frame.
            at_ms: monotonic milliseconds, for the limit on fallbacks.
            fallback_at_will: no limit on fallbacks for this frame.
        """
        found = [code.bytes for code in zxingcpp.read_barcodes(gray, formats=_QR_CODE)]
        fallback = withheld = False
        if not found and self._zbar is not None and (fallback_at_will or self._gap_ms is not None):
            fallback = fallback_at_will or at_ms >= self._next_fallback_ms
            withheld = not fallback
            if fallback:
                self._next_fallback_ms = at_ms + (self._gap_ms or 0)
                found = self._zbar(gray)
        codes = tuple(dict.fromkeys(code for code in found if code))
        return Decoded(codes[:MOST_CODES], max(0, len(codes) - MOST_CODES), fallback, withheld)


def _load_zbar() -> Callable[[Gray], list[bytes]] | None:
    try:
        from pyzbar import pyzbar  # noqa: PLC0415 - a machine without libzbar reads with zxing alone
    except (ImportError, OSError, MemoryError):
        # Not installed, or ctypes may not make it callable in this sandbox.
        return None

    def look(gray: Gray) -> list[bytes]:
        return [bytes(code.data) for code in pyzbar.decode(gray, symbols=[pyzbar.ZBarSymbol.QRCODE])]

    return look


class MotionGate:
    """Tells frames that show something new from those that show what was already decoded."""

    def __init__(self) -> None:
        """Start with nothing seen: the first frame is new."""
        self._seen: Gray | None = None
        self._seen_ms = 0

    def opens(self, gray: Gray, *, at_ms: int) -> bool:
        """Tell whether this frame is to be decoded, and if so remember it as decoded."""
        cells = cv2.resize(gray, (GATE_WIDTH, GATE_HEIGHT), interpolation=cv2.INTER_AREA)
        if self._seen is not None and at_ms - self._seen_ms < GATE_OPEN_MS:
            moved = np.asarray(cv2.absdiff(cells, self._seen)) > GATE_LEVEL
            if np.count_nonzero(moved) < GATE_CELLS:
                return False
        self._seen = np.asarray(cells, dtype=np.uint8)
        self._seen_ms = at_ms
        return True

    def look_again(self) -> None:
        """Forget the last decoded frame: the next one is to be decoded although nothing has moved."""
        self._seen = None
