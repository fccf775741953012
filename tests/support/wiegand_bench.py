"""A Wiegand reader whose two wires are the test's: its frames arrive as the kernel's edge events do."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

from edge.ports import ReaderLost, Reason
from firmware_adapters.card_bits import card_number, packed
from firmware_adapters.wiegand import Pulse, WiegandReader

if TYPE_CHECKING:
    from pathlib import Path

PERIOD_US = 2000
GAP_MS = 25
_MOST_WAITING = 256


class MemoryPulses:
    """Wires that a test pulls."""

    def __init__(self) -> None:
        self._arriving: asyncio.Queue[list[Pulse] | None] = asyncio.Queue(_MOST_WAITING)

    def pull(self, pulses: list[Pulse] | None) -> None:
        """Let pulses arrive; None for wires that are gone."""
        self._arriving.put_nowait(pulses)

    async def next(self) -> list[Pulse]:
        pulses = await self._arriving.get()
        if pulses is None:
            raise _lost()
        return pulses

    def close(self) -> None:
        """Nothing is held."""


class WiegandBench:
    """A card number of 24 bits stands for a payload."""

    def __init__(self, folder: Path, *, pin_pause_ms: int = 3000) -> None:
        assert folder.exists()
        self._wires = MemoryPulses()
        self._there = True
        self._at_us = time.monotonic_ns() // 1000
        self.reader = WiegandReader("reader-1", self._open, gap_ms=GAP_MS, pin_pause_ms=pin_pause_ms)

    def _open(self) -> MemoryPulses:
        if not self._there:
            raise _lost()
        self._wires = MemoryPulses()
        return self._wires

    def send(self, bits: list[int]) -> None:
        """Send one frame, well after the one before."""
        self._at_us += 2 * GAP_MS * 1000
        self._wires.pull([Pulse(bit, self._at_us + place * PERIOD_US) for place, bit in enumerate(bits)])
        self._at_us += len(bits) * PERIOD_US

    def press(self, keys: bytes) -> None:
        for key in keys:
            self.send([*map(int, f"{b'0123456789*#'.index(key):04b}")])

    def present(self, payload: bytes) -> None:
        self.send(_frame(payload))

    def read_as(self, payload: bytes) -> bytes:
        return card_number(26, packed(_frame(payload)))

    def lose(self) -> None:
        self._there = False
        self._wires.pull(None)

    def restore(self) -> None:
        self._there = True

    def dispose(self) -> None:
        """Nothing is held."""


def _frame(payload: bytes) -> list[int]:
    number = int.from_bytes(hashlib.sha256(payload).digest()[:3], "big")
    data = [*map(int, f"{number:024b}")]
    return [sum(data[:12]) % 2, *data, 1 - sum(data[12:]) % 2]


def _lost() -> ReaderLost:
    return ReaderLost(Reason.LOST, what="the wires of the test are gone", remedy="let the test bring them back")
