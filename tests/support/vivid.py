"""Cameras of the kernel's virtual video driver (vivid): one that draws test pictures, one that sees what a test shows.

Both belong to one device, so they are plugged in and unplugged together. The second is an HDMI input whose signal is
the driver's own HDMI output; both ends must have the same format, so a picture is written in the one that the reader
has chosen for the camera.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import struct
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from firmware_adapters.camera import CameraReader
from firmware_adapters.catalogue import open_reader
from tests.support.images import HEIGHT, WIDTH, code
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firmware_adapters.qr_looks import Gray

# As script/test-hardware loads the driver: a webcam of several sizes, an HDMI input, the output that it is looped to.
WEBCAM, LOOPED, OUTPUT = (Path(f"/dev/video{number}") for number in range(3))
_DRIVER, _DEVICE = Path("/sys/bus/platform/drivers/vivid"), "vivid.0"

# vivid-ctrls.c: VIVID_CID_OSD_TEXT_MODE, where 2 is none, and VIVID_CID_LOOP_VIDEO.
_TEXT, _NO_TEXT, _LOOP = 0x00F0F001, 2, 0x00F0F025

# linux/videodev2.h and v4l2-dv-timings.h: the requests, the types of buffers, V4L2_FIELD_NONE, V4L2_MEMORY_MMAP.
_GET_FORMAT, _SET_FORMAT, _SET_CONTROL, _SET_TIMINGS = 0xC0D05604, 0xC0D05605, 0xC008561C, 0xC0845657
_REQUEST, _QUERY, _QUEUE, _DEQUEUE, _STREAM = 0xC0145608, 0xC0585609, 0xC058560F, 0xC0585611, 0x40045612
_CAPTURED, _PUT_OUT, _WHOLE_FRAMES, _MAPPED = 1, 2, 1, 1
# v4l2_format up to the picture's sizeimage; v4l2_requestbuffers; v4l2_buffer without its time.
_FORMAT, _REQUESTED = struct.Struct("=I4xII4sIII176x"), struct.Struct("=IIIII")
_BUFFER = struct.Struct("=IIIII36xIIQI12x")
# V4L2_DV_BT_CEA_1280X720P24: the usual 60 frames a second are more than an emulated processor can copy.
_TIMINGS = struct.pack("=IIIIIQ6I80x", 0, 1280, 720, 0, 3, 59_400_000, 1760, 40, 220, 5, 5, 20)

_LAYOUTS: MappingProxyType[bytes, Callable[[Gray], Gray]] = MappingProxyType(
    {
        b"BGR3": lambda gray: np.repeat(gray[:, :, np.newaxis], 3, axis=2),
        b"YUYV": lambda gray: np.stack([gray, np.full_like(gray, 128)], axis=2),
    },
)


def chosen_format(device: Path) -> tuple[int, int, bytes]:
    """Return the width, the height and the four letters of the pixel format that a camera is set to."""
    with _opened(device) as file:
        _, width, height, pixels, *_ = _FORMAT.unpack(
            fcntl.ioctl(file, _GET_FORMAT, _FORMAT.pack(_CAPTURED, 0, 0, bytes(4), 0, 0, 0))
        )
    return width, height, pixels


@contextlib.contextmanager
def _opened(device: Path) -> Iterator[int]:
    file = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


class _Output:
    """The driver's output: it keeps the last of its two pictures until another comes, and gives back the one before."""

    def __init__(self, width: int, height: int, pixels: bytes) -> None:
        self._file = os.open(OUTPUT, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(self._file, _SET_FORMAT, _FORMAT.pack(_PUT_OUT, width, height, pixels, _WHOLE_FRAMES, 0, 0))
        # write(2) would be simpler, but Linux 6.1 passes the driver an empty picture then.
        fcntl.ioctl(self._file, _REQUEST, _REQUESTED.pack(2, _PUT_OUT, _MAPPED, 0, 0))
        self._maps = [self._mapped(number) for number in range(2)]

    def begin(self, picture: bytes) -> None:
        for number in range(2):
            self._queue(number, picture)
        fcntl.ioctl(self._file, _STREAM, struct.pack("=i", _PUT_OUT))

    def follow(self, picture: bytes) -> None:
        self._queue(self._buffer(_DEQUEUE, 0)[0], picture)

    def close(self) -> None:
        for each in self._maps:
            each.close()
        os.close(self._file)

    def _mapped(self, number: int) -> mmap.mmap:
        *_, offset, length = self._buffer(_QUERY, number)
        return mmap.mmap(self._file, length, offset=offset)

    def _queue(self, number: int, picture: bytes) -> None:
        self._maps[number][:] = picture.ljust(len(self._maps[number]))
        self._buffer(_QUEUE, number, size=len(picture))

    def _buffer(self, request: int, number: int, *, size: int = 0) -> tuple[int, ...]:
        asked = _BUFFER.pack(number, _PUT_OUT, size, 0, _WHOLE_FRAMES, 0, _MAPPED, 0, 0)
        return _BUFFER.unpack(fcntl.ioctl(self._file, request, asked))


class Vivid:
    """The driver's device."""

    def __init__(self) -> None:
        """Plug it in."""
        self._output: _Output | None = None
        self.plug_in()

    def plug_in(self) -> None:
        """Let the cameras appear; does nothing when they are there."""
        if not (_DRIVER / _DEVICE).exists():
            (_DRIVER / "bind").write_text(_DEVICE)
        for device in (LOOPED, OUTPUT):
            with _opened(device) as file:
                fcntl.ioctl(file, _SET_TIMINGS, _TIMINGS)
        self._control(_TEXT, _NO_TEXT)
        self._control(_LOOP, 0)

    def unplug(self) -> None:
        """Let the cameras vanish, whoever reads them."""
        self.darken()
        if (_DRIVER / _DEVICE).exists():
            (_DRIVER / "unbind").write_text(_DEVICE)

    def show(self, gray: Gray) -> None:
        """Let the looped camera see a picture of 720p from now on; somebody must have opened it."""
        _, _, pixels = chosen_format(LOOPED)
        picture = _LAYOUTS[pixels](gray).tobytes()
        if self._output is None:
            height, width = gray.shape
            self._output = _Output(width, height, pixels)
            self._output.begin(picture)
            self._control(_LOOP, 1)
        else:
            self._output.follow(picture)

    def darken(self) -> None:
        """Show nothing any more."""
        if self._output is not None:
            self._output.close()
            self._output = None

    def _control(self, control: int, value: int) -> None:
        with _opened(LOOPED) as file:
            fcntl.ioctl(file, _SET_CONTROL, struct.pack("=Ii", control, value))


def _held_before_a_wall(payload: bytes) -> Gray:
    picture = np.full((HEIGHT, WIDTH), 128, dtype=np.uint8)
    held = code(payload.decode("ascii"))
    height, width = held.shape
    picture[60 : 60 + height, 100 : 100 + width] = held
    return picture


class VividBench:
    """A USB camera, played by the looped camera: each code is held before it until it was read."""

    def __init__(self, url: str, reader_id: str) -> None:
        self.vivid = Vivid()
        reader = open_reader(url, reader_id)
        assert isinstance(reader, CameraReader)
        self.reader = reader
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._holding = asyncio.create_task(self._hold())

    def present(self, payload: bytes) -> None:
        self._waiting.put_nowait(payload)

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        self.vivid.unplug()

    def restore(self) -> None:
        self.vivid.plug_in()

    def dispose(self) -> None:
        failed = self._holding.done()
        self._holding.cancel()
        self.vivid.darken()
        self.vivid.plug_in()
        if failed:
            self._holding.result()

    async def _hold(self) -> None:
        while True:
            payload = await self._waiting.get()
            await self._show(payload)

    async def _show(self, payload: bytes) -> None:
        before = self._presented()
        # Elsewhere: drawing takes long on an emulated processor, and the reader's deadlines run meanwhile.
        await asyncio.to_thread(lambda: self.vivid.show(_held_before_a_wall(payload)))
        await until(lambda: self._presented() > before)

    def _presented(self) -> int:
        return self.reader.statistics.codes - self.reader.statistics.repeats
