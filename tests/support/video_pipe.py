"""A video source at the other end of a named pipe: raw frames, as a camera delivers them, that OpenCV itself reads.

What a video device adds to it, the kernel's Video4Linux, needs a kernel with a device.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from firmware_adapters.camera import CameraReader
from firmware_adapters.catalogue import open_reader
from tests.support.images import HEIGHT, WIDTH, background
from tests.support.mjpeg import showing
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from firmware_adapters.qr_looks import Gray

FPS: Final = 30
# YUV4MPEG2 without colour: a header, then each frame's brightness behind a word.
_HEADER: Final = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 Cmono\n".encode()
_FRAME: Final = b"FRAME\n"


class _UnpluggedError(Exception):
    """The pipe was taken away, or whoever watched has left."""


class VideoPipe:
    """Shows frames to whoever opens the pipe, the last one again and again."""

    def __init__(self, path: Path, progress: Callable[[], int]) -> None:
        """Prepare; `progress` moves when the watcher has seen a code."""
        self.path = path
        self._progress = progress
        self._held: SimpleQueue[Gray] = SimpleQueue()
        self._unplugged = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, gray: Gray) -> None:
        """Hold a code before the camera until it was seen, now or once somebody watches."""
        self._held.put(gray)

    def plug_in(self) -> None:
        """Make the pipe and show an empty scene."""
        os.mkfifo(self.path)
        self._unplugged.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Take the pipe away and cut off whoever watches; a second call does nothing."""
        self._unplugged.set()
        if self._thread is not None:
            self._thread.join(DEADLINE_S)
            self._thread = None
            self.path.unlink()

    def _run(self) -> None:
        while not self._unplugged.is_set():
            end = self._watched()
            if end is None:
                return
            with contextlib.suppress(_UnpluggedError):
                self._show(end)
            os.close(end)

    def _watched(self) -> int | None:
        """Wait until somebody opens the pipe."""
        while not self._unplugged.wait(1 / FPS):
            try:
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
        return None

    def _show(self, end: int) -> None:
        self._write(end, _HEADER)
        shown = background()
        while True:
            with contextlib.suppress(Empty):
                shown = self._held.get_nowait()
                seen = self._progress()
                while self._progress() == seen:
                    self._frame(end, shown)
            self._frame(end, shown)

    def _frame(self, end: int, gray: Gray) -> None:
        self._write(end, _FRAME + gray.tobytes())
        if self._unplugged.wait(1 / FPS):
            raise _UnpluggedError

    def _write(self, end: int, data: bytes) -> None:
        while data:
            if self._unplugged.is_set():
                raise _UnpluggedError
            if not select.select([], [end], [], 1 / FPS)[1]:
                continue
            try:
                data = data[os.write(end, data) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise _UnpluggedError from error


class VideoBench:
    """A camera played through a pipe."""

    def __init__(self, folder: Path, options: str = "?fps=30") -> None:
        self.pipe = VideoPipe(folder / "camera.y4m", lambda: self.reader.statistics.codes)
        reader = open_reader(f"camera://{self.pipe.path}{options}", "camera-1")
        assert isinstance(reader, CameraReader)
        self.reader = reader
        self.restore()

    def present(self, payload: bytes) -> None:
        self.pipe.hold(showing(payload.decode("ascii")))

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        self.pipe.unplug()

    def restore(self) -> None:
        self.pipe.plug_in()

    def dispose(self) -> None:
        self.pipe.unplug()
