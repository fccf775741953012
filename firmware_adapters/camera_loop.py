"""Frames in, records out: the loop of the camera's worker process.

Import this module only in that process: it loads the image libraries.
Invariant: each frame is told as begun before it is touched, so that whoever listens can name the one that hangs.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from firmware_adapters.camera_frames import Frame, folder_frames, video_frames
from firmware_adapters.camera_http import http_frames
from firmware_adapters.camera_records import Begun, Idle, Ready, Record, Seen, Settings, Unchanged, Unreadable
from firmware_adapters.qr_decode import FrameDecoder, MotionGate


def watch(settings: Settings, tell: Callable[[Record], None]) -> None:
    """Decode the frames of the source that `settings` names and tell what happens, until the source fails.

    Raises:
        SourceError: the source failed.
    """
    # The door has other work for the other cores.
    cv2.setNumThreads(1)
    decoder = FrameDecoder(fallbacks_per_s=settings.fallbacks_per_s)
    gate = MotionGate() if settings.gate else None
    tell(Ready(decoder.has_fallback))
    for frame in _frames(settings):
        if frame is None:
            tell(Idle())
        else:
            tell(Begun(frame.name))
            tell(_decode(frame, decoder, gate))


def _frames(settings: Settings) -> Iterator[Frame | None]:
    if settings.folder is not None:
        return folder_frames(Path(settings.folder), fps=settings.fps, after=settings.after)
    if settings.device is not None and settings.device.startswith("http://"):
        return http_frames(settings.device, fps=settings.fps)
    return video_frames(
        settings.device or "0",
        fps=settings.fps,
        width=settings.width,
        height=settings.height,
    )


def _decode(frame: Frame, decoder: FrameDecoder, gate: MotionGate | None) -> Record:
    at_ms = time.monotonic_ns() // 1_000_000
    gray = frame.load()
    if gray is None:
        return Unreadable()
    if gate is not None and not gate.opens(gray, at_ms=at_ms):
        return Unchanged(at_ms)
    found = decoder.decode(gray, at_ms=at_ms)
    if gate is not None and found.withheld:
        gate.look_again()
    return Seen(at_ms, found.codes, found.ignored, found.fallback)
