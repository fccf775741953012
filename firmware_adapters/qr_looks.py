"""The ways of looking at one grayscale frame for QR codes, each reading some that the others do not.

zxing-cpp as it is reads most at the least cost. What else there is, by what it is for: a binarizer over the whole frame
(a screen's stripes), twice the size (grain and small modules), twice the size and smoothed (more grain), a threshold by
neighbourhood (hard shadows), zbar (stripes over small modules). Import this module only where frames are decoded: it
loads the image libraries.

Invariant: payloads are unchanged; nothing here logs or interprets them, keeps a frame, or writes into it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import zxingcpp

# Shape (height, width), one byte a pixel, 0 is black.
Gray: TypeAlias = npt.NDArray[np.uint8]
# Four (x, y) in pixels, around the code.
Corners: TypeAlias = tuple[tuple[int, int], ...]
Look: TypeAlias = Callable[[Gray], "list[Code]"]

# A frame of 1920 x 1080; a larger one has its modules large already, and four times its pixels would take a second.
MOST_ENLARGED_PIXELS: Final = 1920 * 1080
# Of the threshold by neighbourhood: a dozen modules at the readable floor, and what the grain of a sensor stays below.
_NEIGHBOURHOOD_PX: Final = 31
_LEVEL: Final = 5

# Not QRCode, which would let in Micro QR and rMQR: neither can hold a pass.
_QR_CODE: Final = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code in a frame: what it says and where it is."""

    payload: bytes
    corners: Corners


def plain(gray: Gray) -> list[Code]:
    """Look with zxing-cpp as it is."""
    return _zxing(gray, zxingcpp.Binarizer.LocalAverage)


def histogram(gray: Gray) -> list[Code]:
    """Look with zxing-cpp after one threshold a line, taken from the line's histogram."""
    return _zxing(gray, zxingcpp.Binarizer.GlobalHistogram)


def enlarged(gray: Gray) -> list[Code]:
    """Look at the frame at twice its size, bicubic."""
    if gray.size > MOST_ENLARGED_PIXELS:
        return []
    return _zxing(_twice(gray, cv2.INTER_CUBIC), zxingcpp.Binarizer.LocalAverage, scale=2)


def smoothed(gray: Gray) -> list[Code]:
    """Look at the frame at twice its size, linear, under a 5 x 5 Gaussian."""
    if gray.size > MOST_ENLARGED_PIXELS:
        return []
    soft = cv2.GaussianBlur(_twice(gray, cv2.INTER_LINEAR), (5, 5), 0)
    return _zxing(np.asarray(soft, dtype=np.uint8), zxingcpp.Binarizer.LocalAverage, scale=2)


def thresholded(gray: Gray) -> list[Code]:
    """Look at the frame in black and white, each pixel against its neighbourhood."""
    black_and_white = cv2.adaptiveThreshold(
        gray, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, _NEIGHBOURHOOD_PX, _LEVEL
    )
    return _zxing(np.asarray(black_and_white, dtype=np.uint8), zxingcpp.Binarizer.LocalAverage)


def load_zbar() -> Look | None:
    """Give the look with zbar; None where it is not installed, or ctypes may not make it callable in this sandbox."""
    try:
        from pyzbar import pyzbar  # noqa: PLC0415 - a machine without libzbar reads with zxing alone
    except (ImportError, OSError, MemoryError):
        return None

    def look(gray: Gray) -> list[Code]:
        found = pyzbar.decode(gray, symbols=[pyzbar.ZBarSymbol.QRCODE])
        return [Code(bytes(code.data), tuple((x, y) for x, y in code.polygon)) for code in found if code.data]

    return look


def fallbacks(zbar: Look | None) -> Mapping[str, Look]:
    """Give the looks that take turns where the first two find nothing, in their order."""
    looks: dict[str, Look] = {"enlarged": enlarged, "smoothed": smoothed, "thresholded": thresholded}
    return looks if zbar is None else looks | {"zbar": zbar}


def _twice(gray: Gray, interpolation: int) -> Gray:
    height, width = gray.shape
    return np.asarray(cv2.resize(gray, (2 * width, 2 * height), interpolation=interpolation), dtype=np.uint8)


def _zxing(gray: Gray, binarizer: zxingcpp.Binarizer, *, scale: int = 1) -> list[Code]:
    found = zxingcpp.read_barcodes(gray, formats=_QR_CODE, binarizer=binarizer)
    return [Code(code.bytes, _corners(code.position, scale)) for code in found if code.bytes]


def _corners(position: zxingcpp.Position, scale: int) -> Corners:
    points = (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    return tuple((point.x // scale, point.y // scale) for point in points)
