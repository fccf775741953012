"""Locks and inputs on a folder that stands for a GPIO chip, acted on from outside as a door acts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from firmware_adapters.catalogue import open_inputs, open_lock
from tests.support.wires import DOOR

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ports import Inputs, Lock

LINES = "contact=5&rex=6&fire=13"
# A finger's press: well over the 50 ms that inputs are debounced.
PRESS_S = 0.2


class FilesLockBench:
    """A relay whose line is a file."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.folder = folder / "chip"
        self.folder.mkdir(exist_ok=True)
        self.url = f"gpio+files://{self.folder}?lock=17{options}"

    def open(self) -> Lock:
        return open_lock(self.url)

    def level(self) -> str:
        return (self.folder / "17").read_text().strip()

    def unlocked(self) -> bool:
        return self.level() == "1"

    def dispose(self) -> None:
        """Nothing is held."""


class FilesInputsBench:
    """Wires whose lines are files: "1" is an open circuit, which a resistor pulls up."""

    wires = DOOR

    def __init__(self, folder: Path, options: str = "") -> None:
        self.folder = folder / "chip"
        self.folder.mkdir(exist_ok=True)
        self.url = f"gpio+files://{self.folder}?{LINES}{options}"
        for line, level in (("5", 0), ("6", 1), ("13", 0)):
            self.set(line, level)

    def open(self) -> Inputs:
        return open_inputs(self.url)

    def set(self, line: str, level: int) -> None:
        hidden = self.folder / f".{line}.new"
        hidden.write_text(str(level))
        hidden.replace(self.folder / line)

    async def open_door(self) -> None:
        await self._lasting("5", 1)

    async def close_door(self) -> None:
        await self._lasting("5", 0)

    async def press(self) -> None:
        self.set("6", 0)
        await asyncio.sleep(PRESS_S)
        self.set("6", 1)

    async def raise_fire(self) -> None:
        await self._lasting("13", 1)

    def dispose(self) -> None:
        """Nothing is held."""

    async def _lasting(self, line: str, level: int) -> None:
        """Change a line for longer than it is debounced, as a door does."""
        self.set(line, level)
        await asyncio.sleep(PRESS_S)
