"""A simulated reader for twins, demonstrations and tests: what it reads are lines written to its Unix socket.

The socket `reader-ID.sock` lies in the door's state folder, which stands for the device: without it the reader is lost.
A line is "code DW1:…"; or "card 04a1b2c3", "message …", "secret …", "key …", a card's number in hexadecimal digits and
what a real adapter would have proven of it; or "pin 1234". What it shows is appended to `reader-ID.jsonl`.

Invariant: every line that is answered "ok" becomes exactly one reading.
This module must not keep a PIN, nor write one anywhere.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType

from edge.ports import (
    Capability,
    Feedback,
    Form,
    Medium,
    PinEntry,
    Presentation,
    ReaderError,
    ReaderInfo,
    ReaderLost,
    Reading,
    Reason,
)
from firmware_adapters.pacing import ReopenPacing
from firmware_adapters.simulated_folder import LOOK_EVERY_S, StateFolder, folder_identity, monotonic_ms, wall_ms
from firmware_adapters.simulated_socket import ControlSocket, send_line

# As a scanner on a serial port: a rotating pass is 640 characters at most.
MAX_PAYLOAD_BYTES = 1024
MAX_PIN_DIGITS = 16
MAX_LINE_BYTES = len("code ") + MAX_PAYLOAD_BYTES

# Readings that wait for the daemon.
MOST_READINGS = 64

FORMS: Mapping[bytes, Form] = MappingProxyType(
    {
        b"card": Form.CARD_NUMBER,
        b"message": Form.CARD_MESSAGE,
        b"secret": Form.CARD_SECRET,
        b"key": Form.CARD_KEY,
    },
)


class SimulatedReader:
    """Reads the lines that are written to its socket; opens its folder again after each loss."""

    def __init__(self, path: str, reader_id: str) -> None:
        """Prepare a reader; nothing is opened before `presentations` is iterated."""
        self._info = ReaderInfo(
            reader_id, frozenset({Medium.QR, Medium.NFC}), frozenset({Capability.DISPLAY}), MAX_PAYLOAD_BYTES
        )
        self._path = Path(path)
        self._folder: StateFolder | None = None
        self._readings: asyncio.Queue[Reading | None] = asyncio.Queue(MOST_READINGS)
        self._pacing = ReopenPacing()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._iterating = False

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is."""
        return self._info

    async def presentations(self) -> AsyncIterator[Reading]:
        """Yield one reading a line; see `Reader.presentations`. The socket is there meanwhile."""
        if self._iterating:
            raise ReaderError(
                Reason.BUSY,
                what=f"reader {self._info.id} is being read already",
                remedy="end the first iteration before the next",
            )
        self._iterating = True
        control = ControlSocket(
            self._path, _socket_name(self._info.id), self._obey, max_line_bytes=MAX_LINE_BYTES, error=ReaderError
        )
        try:
            await self._open_paced(control)
            identity = self._identity()
            while not self._closing.is_set():
                reading = await self._next()
                if reading is not None:
                    yield reading
                if self._identity() != identity:
                    raise self._lost()
        finally:
            self._opened.clear()
            await control.stop()
            self._release()
            self._iterating = False

    async def opened(self) -> None:
        """Wait until the socket is there; see `Reader.opened`."""
        await self._opened.wait()

    async def show(self, feedback: Feedback) -> None:
        """Put it on record; nothing while the reader is not open."""
        if self._folder is not None:
            self._folder.append_shown({"t_wall_ms": wall_ms(), "feedback": feedback.value})

    async def aclose(self) -> None:
        """Let go of the folder and end the iteration."""
        self._closing.set()
        if not self._readings.full():
            self._readings.put_nowait(None)

    async def _next(self) -> Reading | None:
        """Give the next reading; None when there is none for a while, or the reader is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                return await self._readings.get()
        return None

    async def _open_paced(self, control: ControlSocket) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pacing.pause_s()):
                await self._closing.wait()
        if self._closing.is_set():
            return
        if self._identity() is None:
            raise self._lost()
        self._readings = asyncio.Queue(MOST_READINGS)
        self._folder = StateFolder(self._path, holder=f"reader-{self._info.id}", error=ReaderError)
        control.listen()
        self._opened.set()

    def _identity(self) -> tuple[int, int] | None:
        """Tell which folder is there now, None when there is none."""
        return folder_identity(self._path)

    def _lost(self) -> ReaderLost:
        return ReaderLost(
            Reason.LOST,
            what=f"the folder {self._path} of the simulated reader {self._info.id} is not there",
            remedy=f"make it, or bring it back: mkdir -p {self._path}",
        )

    def _release(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()

    def _obey(self, line: bytes) -> str:
        reading = self._read(line)
        if isinstance(reading, str):
            return f"error: {reading}"
        if self._readings.full():
            return "error: the daemon does not take what is read; wait and try again"
        self._readings.put_nowait(reading)
        self._pacing.succeeded()
        return "ok"

    def _read(self, line: bytes) -> Reading | str:
        """Give what a line stands for, or a sentence that says what one is."""
        word, _, value = line.partition(b" ")
        if word == b"code":
            return Presentation(self._info.id, Medium.QR, value, monotonic_ms())
        if word == b"pin":
            if not value.isdigit() or len(value) > MAX_PIN_DIGITS:
                return f"a PIN has 1 to {MAX_PIN_DIGITS} digits"
            return PinEntry(self._info.id, value, monotonic_ms())
        if word not in FORMS:
            words = b", ".join(FORMS).decode()
            return f"unknown line; use one of: code, {words}, pin, followed by what is read"
        try:
            number = bytes.fromhex(value.decode("ascii"))
        except ValueError:
            return "a card's number is written in hexadecimal digits"
        return Presentation(self._info.id, Medium.NFC, number, monotonic_ms(), FORMS[word])


def _socket_name(reader_id: str) -> str:
    return f"reader-{reader_id}.sock"


async def send_reading(folder: Path, reader_id: str, line: bytes) -> None:
    """Hold something before the simulated reader of the door in `folder`, from any process.

    Raises:
        ReaderError: no daemon reads it, or the line is none.
    """
    await send_line(folder, _socket_name(reader_id), line, error=ReaderError)
