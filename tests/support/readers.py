"""Real peers of the readers: a pseudo-terminal in place of a scanner, image files in place of a camera's view."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tty
from typing import TYPE_CHECKING, Protocol

import segno

from edge.ports import PinEntry, Presentation, Reader, ReaderError
from firmware_adapters.camera import CameraReader
from firmware_adapters.catalogue import open_reader
from firmware_adapters.line_reader import LineReader
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
        async for presentation in self.reader.presentations():
            await self._heard.put(presentation)

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
        """Return the next reading, a presentation; raise what ended the iteration when there is none."""
        reading = await self._next()
        assert isinstance(reading, Presentation)
        return reading

    async def next_pin(self) -> PinEntry:
        """Return the next reading, a PIN."""
        reading = await self._next()
        assert isinstance(reading, PinEntry)
        return reading

    async def _next(self) -> Reading:
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


def qr_png(payload: bytes | str, *, scale: int = 4) -> bytes:
    """Return a PNG of a QR code, `scale` pixels a module."""
    image = io.BytesIO()
    segno.make(payload, error="l", micro=False).save(image, kind="png", scale=scale, border=4)
    return image.getvalue()


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
