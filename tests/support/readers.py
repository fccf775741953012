"""Real peers of the readers: a pseudo-terminal in place of a scanner, image files in place of a camera's view."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tty
from typing import TYPE_CHECKING, Protocol

from edge.ports import PinEntry, Presentation, Reader, ReaderError
from firmware_adapters.camera import CameraReader
from firmware_adapters.catalogue import open_reader
from firmware_adapters.line_reader import LineReader
from firmware_adapters.simulated_reader import SimulatedReader
from firmware_adapters.simulated_socket import short_socket_path
from tests.support.images import background, code, frame_with, qr_png
from tests.support.mjpeg import NetworkCamera, showing
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.ports import Reading

# What waits to be looked at; no test presents more.
_MOST_HEARD = 256


class Listener:
    """Iterates a reader in the background and keeps what it yields, and how it ends."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._heard: asyncio.Queue[Reading] = asyncio.Queue(_MOST_HEARD)
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for reading in self.reader.presentations():
            await self._heard.put(reading)

    async def opened(self) -> None:
        """Wait until the device is open; raise what ended the iteration before."""
        opening = asyncio.create_task(self.reader.opened())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({opening, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                await self._task
        finally:
            opening.cancel()

    async def next(self) -> Presentation:
        """Return the next presentation; raise what ended the iteration when there is none."""
        reading = await self.next_reading()
        assert isinstance(reading, Presentation)
        return reading

    async def next_pin(self) -> PinEntry:
        """Return the next reading, a PIN."""
        reading = await self.next_reading()
        assert isinstance(reading, PinEntry)
        return reading

    async def next_reading(self) -> Reading:
        """Return what is read next, be it a PIN; raise what ended the iteration when there is nothing."""
        waiting = asyncio.create_task(self._heard.get())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not waiting.done():
                waiting.cancel()
        if waiting.done() and not waiting.cancelled():
            return waiting.result()
        await self._task
        raise EOFError("the iteration ended without another presentation")

    async def next_payload(self) -> bytes:
        """Return the payload of the next presentation."""
        return (await self.next()).payload

    async def failure(self) -> ReaderError:
        """Wait for the iteration to fail, and return its error."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self._task})
        error = self._task.exception()
        assert isinstance(error, ReaderError), f"ended with {error!r}"
        return error

    async def ended(self) -> None:
        """Wait for the iteration to end without an error."""
        async with asyncio.timeout(DEADLINE_S):
            await self._task

    async def cancel(self) -> None:
        """Cancel the iteration, as a daemon that stops does."""
        self._task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self._task})


@contextlib.asynccontextmanager
async def listening(reader: Reader) -> AsyncIterator[Listener]:
    """Iterate `reader`, and go on once its device is open."""
    listener = Listener(reader)
    try:
        await listener.opened()
        yield listener
    finally:
        await listener.cancel()


class ReaderBench(Protocol):
    """A reader with a peer that a test can act through."""

    @property
    def reader(self) -> Reader: ...

    def present(self, payload: bytes) -> None:
        """Hold `payload` (printable ASCII) before the reader."""
        ...

    def read_as(self, payload: bytes) -> bytes:
        """Return what the reader delivers then."""
        ...

    def lose(self) -> None:
        """Take the device away."""
        ...

    def restore(self) -> None:
        """Bring it, or another, back under the same address."""
        ...

    def dispose(self) -> None:
        """Free the peer."""
        ...


class SerialBench:
    """A scanner played through a pseudo-terminal; the reader's address is a link to its other end."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.link = folder / "ttyDW0"
        self._master = -1
        self._slave_path = ""
        reader = open_reader(f"serial://{self.link}{options}", "reader-1")
        assert isinstance(reader, LineReader)
        self.reader = reader
        self.restore()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        while data:
            data = data[os.write(self._master, data) :]

    def received(self) -> bytes:
        """Return what the reader has sent to the scanner, waiting for it."""
        return os.read(self._master, 4096)

    def present(self, payload: bytes) -> None:
        self.send(payload + b"\r\n")

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        os.close(self._master)
        self._master = -1
        self.link.unlink()

    def restore(self) -> None:
        if self._master >= 0:
            os.close(self._master)
        self._master, slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(slave)
        replacement = self.link.with_suffix(".new")
        replacement.symlink_to(os.ttyname(slave))
        replacement.replace(self.link)
        os.close(slave)

    def dispose(self) -> None:
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


class SimulatedReaderBench:
    """A simulated reader, played through its socket."""

    def __init__(self, folder: Path) -> None:
        # Deeper than the 108 bytes of a Unix socket's address.
        self.folder = folder / ("deep" * 20) / "door"
        self.folder.mkdir(parents=True)
        self._line: socket.socket | None = None
        reader = open_reader(f"simulated://{self.folder}", "reader-1")
        assert isinstance(reader, SimulatedReader)
        self.reader = reader

    def send(self, line: bytes) -> None:
        """Send a line as it is; nobody waits for the answer."""
        if self._line is None:
            self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with short_socket_path(self.folder, "reader-reader-1.sock") as path:
                self._line.connect(path)
        self._line.sendall(line + b"\n")

    def present(self, payload: bytes) -> None:
        self.send(b"code " + payload)

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        self._hang_up()
        self.folder.rename(self.folder.with_suffix(".away"))

    def restore(self) -> None:
        self._hang_up()
        self.folder.with_suffix(".away").rename(self.folder)

    def dispose(self) -> None:
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class FolderBench:
    """A camera played through image files."""

    def __init__(self, folder: Path, options: str = "?fps=30") -> None:
        self.folder = folder / "frames"
        self.folder.mkdir()
        self._count = 0
        reader = open_reader(f"camera+files://{self.folder}{options}", "camera-1")
        assert isinstance(reader, CameraReader)
        self.reader = reader

    def show(self, image: bytes) -> None:
        """Let an image file appear whole."""
        self._count += 1
        hidden = self.folder / f".{self._count:06}.png"
        hidden.write_bytes(image)
        hidden.replace(self.folder / f"{self._count:06}.png")

    def present(self, payload: bytes) -> None:
        self.show(qr_png(payload.decode("ascii")))

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        self.folder.rename(self.folder.with_suffix(".away"))

    def restore(self) -> None:
        self.folder.with_suffix(".away").rename(self.folder)

    def dispose(self) -> None:
        """Nothing is held."""


# Stands in for the package that only a Raspberry Pi has: frames are files, and no file `plugged` is no camera.
PICAMERA2 = """
import os, time
from pathlib import Path
import numpy as np
FOLDER = Path(os.environ["TEST_CSI"])
STRIDE_PADDING = 64
class Picamera2:
    def __init__(self, number):
        if not (FOLDER / "plugged").exists():
            raise RuntimeError("Camera __init__ sequence did not complete.")
    def __enter__(self):
        return self
    def __exit__(self, *exc):
        pass
    def create_video_configuration(self, main, controls, buffer_count):
        assert main["format"] == "YUV420"
        self.pause_s = 1 / controls["FrameRate"]
        return {"main": main}
    def configure(self, configuration):
        self.main = configuration["main"]
    def start(self):
        pass
    def stream_configuration(self, name):
        width, height = self.main["size"]
        return {"size": (width, height), "stride": width + STRIDE_PADDING, "format": "YUV420"}
    def capture_buffer(self, name):
        time.sleep(self.pause_s)
        if not (FOLDER / "plugged").exists():
            raise RuntimeError("Camera frontend has timed out!")
        width, height = self.main["size"]
        rows = np.full((height * 3 // 2, width + STRIDE_PADDING), 128, dtype=np.uint8)
        names = sorted(FOLDER.glob("*.y"))
        if names:
            rows[:height, :width] = np.fromfile(names[0], dtype=np.uint8).reshape(height, width)
            if len(names) > 1:
                names[0].unlink()
        return rows.reshape(-1)
"""


class CsiBench:
    """A Raspberry Pi's camera, played by a package of picamera2's name that the worker finds."""

    def __init__(self, folder: Path, options: str = "?fps=30") -> None:
        self._folder = folder / "csi"
        self._folder.mkdir()
        (self._folder / "picamera2.py").write_text(PICAMERA2)
        self._count = 0
        reader = open_reader(f"camera+csi:0{options}", "camera-1")
        assert isinstance(reader, CameraReader)
        self.reader = reader
        self._usual = {name: os.environ.get(name) for name in ("PYTHONPATH", "TEST_CSI")}
        os.environ.update({"PYTHONPATH": str(self._folder), "TEST_CSI": str(self._folder)})
        self.restore()

    def present(self, payload: bytes) -> None:
        self._count += 1
        hidden = self._folder / "next"
        hidden.write_bytes(frame_with(code(payload.decode("ascii"))).tobytes())
        hidden.replace(self._folder / f"{self._count:06}.y")

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        (self._folder / "plugged").unlink()

    def restore(self) -> None:
        (self._folder / "plugged").touch()

    def dispose(self) -> None:
        for name, value in self._usual.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class HttpBench:
    """A camera in the network, played by an HTTP server on loopback."""

    def __init__(self, folder: Path, options: str = "?fps=30") -> None:
        del folder
        self.camera = NetworkCamera(lambda: self.reader.statistics.codes)
        reader = open_reader(f"camera+http://{self.camera.address}/live/stream.mjpg{options}", "camera-1")
        assert isinstance(reader, CameraReader)
        self.reader = reader
        self.camera.show(background())

    def present(self, payload: bytes) -> None:
        self.camera.show(showing(payload.decode("ascii")), held=True)

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        self.camera.unplug()

    def restore(self) -> None:
        self.camera.plug_in()
        self.camera.show(background())

    def dispose(self) -> None:
        self.camera.unplug()
