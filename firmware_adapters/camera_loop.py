"""Frames in, records out: the loop of the camera's worker process.

Import this module only in that process: it loads the image libraries.
Invariant: each frame is told as begun before it is touched, so that whoever listens can name the one that hangs.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from firmware_adapters.camera_csi import csi_frames
from firmware_adapters.camera_frames import Frame, folder_frames, video_frames
from firmware_adapters.camera_http import http_frames
from firmware_adapters.camera_pictures import Pictures
from firmware_adapters.camera_records import (
    Begun,
    Idle,
    Kept,
    Ready,
    Record,
    Seen,
    Settings,
    SourceKind,
    Unchanged,
    Unreadable,
)
from firmware_adapters.motion_gate import MotionGate, Scene
from firmware_adapters.qr_decode import FrameDecoder
from firmware_adapters.qr_looks import Corners, Gray


def watch(settings: Settings, tell: Callable[[Record], None], asked: Callable[[], Path | None] = lambda: None) -> None:
    """Decode the frames of the source that `settings` names and tell what happens, until the source fails.

    Args:
        settings: the source and how to read it.
        tell: takes each record.
        asked: gives the name that pictures are wanted under, None while none are.

    Raises:
        SourceError: the source failed.
    """
    # The door has other work for the other cores.
    cv2.setNumThreads(1)
    watcher = _Watcher(settings)
    tell(Ready(watcher.decoder.has_zbar))
    for frame in _frames(settings):
        if frame is None:
            tell(Idle())
        else:
            tell(Begun(frame.name))
            tell(watcher.look_at(frame))
        prefix = asked()
        if prefix is not None:
            tell(watcher.keep(prefix))


def _frames(settings: Settings) -> Iterator[Frame | None]:
    match settings.source:
        case SourceKind.FILES:
            return folder_frames(Path(settings.place), fps=settings.fps, after=settings.after)
        case SourceKind.HTTP:
            return http_frames(settings.place, fps=settings.fps)
        case SourceKind.DEVICE | SourceKind.CSI as kind:
            frames = video_frames if kind is SourceKind.DEVICE else csi_frames
            return frames(settings.place, fps=settings.fps, width=settings.width, height=settings.height)


class _Watcher:
    """What is remembered from frame to frame."""

    def __init__(self, settings: Settings) -> None:
        self.decoder = FrameDecoder(fallbacks_per_s=settings.fallbacks_per_s)
        self._gate = MotionGate() if settings.gate else None
        self._pictures = Pictures() if settings.pictures else None
        self._corners: tuple[Corners, ...] = ()

    def look_at(self, frame: Frame) -> Record:
        """Decode a frame, unless it shows nothing new."""
        at_ms = time.monotonic_ns() // 1_000_000
        gray = frame.load()
        if gray is None:
            return Unreadable()
        record = self._decode(gray, at_ms)
        if self._pictures is not None:
            self._pictures.add(gray, at_ms=at_ms, corners=self._corners)
        return record

    def keep(self, prefix: Path) -> Kept:
        """Write the last pictures."""
        if self._pictures is None:
            return Kept(0)
        try:
            return Kept(self._pictures.write(prefix))
        except OSError:
            return Kept(0)

    def _decode(self, gray: Gray, at_ms: int) -> Record:
        scene = Scene.CHANGED if self._gate is None else self._gate.judge(gray, at_ms=at_ms)
        if scene is Scene.SAME:
            return Unchanged(at_ms)
        found = self.decoder.decode(gray, at_ms=at_ms, changed=scene is Scene.CHANGED)
        if self._gate is not None and found.withheld:
            self._gate.look_again()
        self._corners = found.corners
        return Seen(at_ms, found.codes, found.ignored, found.fallback is not None)
