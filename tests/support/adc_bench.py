"""Supervised circuits: a folder of the kernel's files stands for the converter, the resistors are worked out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from firmware_adapters.catalogue import open_inputs
from tests.support.wires import DOOR

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ports import Inputs

REFERENCE_MV = 3300
STEPS = 4096
PRESS_S = 0.2
SHORT, CLOSED, OPEN, CUT = 0.0, 1 / 2, 2 / 3, 1.0


class AdcInputsBench:
    """Contact (0) and fire (2) are closed at rest, the exit button (1) is open."""

    wires = DOOR

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "iio:device0"
        self.folder.mkdir()
        (self.folder / "in_voltage_scale").write_text(f"{REFERENCE_MV / STEPS}\n")
        self.url = f"adc://{self.folder}?contact=0&rex=1&fire=2"
        for channel, share in ((0, CLOSED), (1, OPEN), (2, CLOSED)):
            self.set(channel, share)

    def set(self, channel: int, share: float) -> None:
        """Let a channel have a share of the reference."""
        hidden = self.folder / ".new"
        hidden.write_text(f"{round(share * (STEPS - 1))}\n")
        hidden.replace(self.folder / f"in_voltage{channel}_raw")

    def open(self) -> Inputs:
        return open_inputs(self.url)

    async def open_door(self) -> None:
        await self._lasting(0, OPEN)

    async def close_door(self) -> None:
        await self._lasting(0, CLOSED)

    async def press(self) -> None:
        await self._lasting(1, CLOSED)
        self.set(1, OPEN)

    async def raise_fire(self) -> None:
        await self._lasting(2, OPEN)

    def dispose(self) -> None:
        """Nothing is held."""

    async def _lasting(self, channel: int, share: float) -> None:
        self.set(channel, share)
        await asyncio.sleep(PRESS_S)
