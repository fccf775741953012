"""A Wiegand reader on two lines of a GPIO chip: its cards and its keys.

Assurance 0: the wires can be tapped and the number replayed; an OSDP reader is the better choice (docs/hardware.md).
Invariant: a frame is delivered once, and one that does not hold as an empty number, so that its refusal is journaled.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from edge.ports import (
    Feedback,
    Form,
    Medium,
    PinEntry,
    Presentation,
    ReaderError,
    ReaderInfo,
    Reading,
    Reason,
)
from firmware_adapters.address import Address
from firmware_adapters.card_bits import MAX_NUMBER_BYTES
from firmware_adapters.keypad import Keypad
from firmware_adapters.pacing import ReopenPacing
from firmware_adapters.wiegand_decoder import CardNumber, Frame, Key, Noise, WiegandDecoder


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pulse on D0 (bit 0) or D1 (bit 1)."""

    bit: int
    at_us: int


class Pulses(Protocol):
    """Two wires, already open."""

    async def next(self) -> list[Pulse]:
        """Wait for pulses and return them in their order; ReaderError when the wires are gone."""
        ...

    def close(self) -> None:
        """Free the wires."""
        ...


class WiegandReader:
    """Reads frames; takes the wires again after each loss."""

    def __init__(self, reader_id: str, open_pulses: Callable[[], Pulses], *, gap_ms: int, pin_pause_ms: int) -> None:
        """Prepare a reader; nothing is opened before `presentations` is iterated.

        Args:
            reader_id: the id the configuration gives it.
            open_pulses: takes the wires; raises ReaderError when it cannot.
            gap_ms: silence that ends a frame.
            pin_pause_ms: how long after its last key a PIN ends by itself.
        """
        self._info = ReaderInfo(reader_id, frozenset({Medium.NFC}), frozenset(), MAX_NUMBER_BYTES)
        self._open_pulses = open_pulses
        self._gap_s = gap_ms / 1000
        self._keypad = Keypad(pause_ms=pin_pause_ms)
        self._decoder = WiegandDecoder(gap_us=gap_ms * 1000)
        self._pacing = ReopenPacing()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._iterating = False
        self.noises = 0

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is."""
        return self._info

    async def presentations(self) -> AsyncIterator[Reading]:
        """Yield each card and each PIN; see `Reader.presentations`."""
        if self._iterating:
            raise ReaderError(
                Reason.BUSY,
                what=f"reader {self._info.id} is being read already",
                remedy="end the first iteration before the next",
            )
        self._iterating = True
        try:
            if await self._pause(self._pacing.pause_s()):
                return
            self._decoder.flush()  # what came before a loss is no part of what comes now
            with contextlib.closing(self._open_pulses()) as pulses:
                self._opened.set()
                async for reading in self._readings(pulses):
                    yield reading
        finally:
            self._iterating = False
            self._opened.clear()

    async def opened(self) -> None:
        """Wait until the wires are taken; see `Reader.opened`."""
        await self._opened.wait()

    async def show(self, feedback: Feedback) -> None:
        """Do nothing: two wires have no way back."""

    async def aclose(self) -> None:
        """Free the wires and end the iteration."""
        self._closing.set()

    async def _readings(self, pulses: Pulses) -> AsyncIterator[Reading]:
        arriving = asyncio.create_task(pulses.next())
        closing = asyncio.create_task(self._closing.wait())
        try:
            while not closing.done():
                await asyncio.wait({arriving, closing}, timeout=self._wait_s(), return_when=asyncio.FIRST_COMPLETED)
                frames: list[Frame] = []
                if arriving.done():
                    for pulse in arriving.result():
                        frames += self._decoder.pulse(pulse.bit, at_us=pulse.at_us)
                    self._pacing.succeeded()
                    arriving = asyncio.create_task(pulses.next())
                else:
                    frames = self._decoder.flush()
                for reading in self._readings_of(frames):
                    yield reading
        finally:
            arriving.cancel()
            closing.cancel()
            await asyncio.wait({arriving, closing})

    def _wait_s(self) -> float | None:
        if self._decoder.unfinished:
            return self._gap_s
        due_ms = self._keypad.due_ms()
        return None if due_ms is None else max(0.0, due_ms / 1000 - time.monotonic())

    def _readings_of(self, frames: list[Frame]) -> list[Reading]:
        now_ms = time.monotonic_ns() // 1_000_000
        readings: list[Reading] = []
        for frame in frames:
            match frame:
                case CardNumber(number):
                    readings.append(Presentation(self._info.id, Medium.NFC, number, now_ms, form=Form.CARD_NUMBER))
                case Key(character):
                    readings += self._pins(self._keypad.press(character, at_ms=now_ms), now_ms)
                case Noise():
                    self.noises += 1
        return readings + self._pins(self._keypad.expire(at_ms=now_ms), now_ms)

    def _pins(self, pins: list[bytes], at_ms: int) -> list[Reading]:
        return [PinEntry(self._info.id, pin, at_ms) for pin in pins]

    async def _pause(self, pause_s: float) -> bool:
        """Wait, and tell whether the end came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closing.wait()
        return self._closing.is_set()


def open_reader(address: Address, reader_id: str) -> WiegandReader:
    """Make the reader for an address like wiegand:///dev/gpiochip0?d0=14&d1=15."""

    def take() -> Pulses:
        from firmware_adapters.wiegand_gpio import GpioPulses  # noqa: PLC0415 - loads the GPIO library

        return GpioPulses(address.path, d0=address.texts["d0"], d1=address.texts["d1"])

    # At the start, not at the first card: a missing library is a fault of the installation.
    import gpiod  # noqa: F401, PLC0415

    return WiegandReader(
        reader_id, take, gap_ms=address.options["gap_ms"], pin_pause_ms=address.options["pin_pause_ms"]
    )
