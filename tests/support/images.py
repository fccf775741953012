"""Frames as a camera would see them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
import segno

if TYPE_CHECKING:
    from firmware_adapters.qr_looks import Gray

WIDTH, HEIGHT = 1280, 720
# The alphanumeric alphabet of a QR code: what a pass is written in.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"


def qr_png(payload: bytes | str, *, scale: int = 4) -> bytes:
    """Return a PNG of a QR code, `scale` pixels a module."""
    image = io.BytesIO()
    segno.make(payload, error="l", micro=False).save(image, kind="png", scale=scale, border=4)
    return image.getvalue()


def code(payload: bytes | str, *, scale: int = 4) -> Gray:
    """Return a QR code alone, `scale` pixels a module, with its quiet zone."""
    gray = cv2.imdecode(np.frombuffer(qr_png(payload, scale=scale), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    return np.asarray(gray, dtype=np.uint8)


def background(seed: int = 1) -> Gray:
    """Return a 720p frame of soft blotches: a wall, a face, a coat."""
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    soft = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 25)
    return np.asarray(40 + 160 * (soft - np.min(soft)) / np.ptp(soft), dtype=np.uint8)


def frame_with(*codes: Gray, left: int = 100, top: int = 60, gap: int = 20) -> Gray:
    """Return a 720p frame with codes laid out in rows."""
    frame = background()
    x, y, row_height = left, top, 0
    for each in codes:
        height, width = each.shape
        if x + width > WIDTH:
            x, y, row_height = left, y + row_height + gap, 0
        frame[y : y + height, x : x + width] = each
        x, row_height = x + width + gap, max(row_height, height)
    return frame


def pass_like(seed: int = 7, *, length: int = 400) -> str:
    """Return a text of a rotating pass's length and alphabet."""
    letters = np.random.default_rng(seed).integers(0, len(ALPHABET), length)
    return "DW1:" + "".join(ALPHABET[letter] for letter in letters)


def png(gray: Gray) -> bytes:
    """Return a frame as a PNG file."""
    done, data = cv2.imencode(".png", gray)
    assert done
    return data.tobytes()
