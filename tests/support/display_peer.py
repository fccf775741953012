"""A customer display in a process of its own: it obeys the bytes that arrive, as the maker's list of commands says.

Usage: python -m tests.support.display_peer FD COMMANDS FILE. After each read of the line one line of JSON is appended
to FILE: what stands on the glass, the monotonic and the wall clock's nanoseconds, and what no command begins with.
It starts as such a device does that another program used: scrolling, with a cursor and an advertisement on it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

COLUMNS, ROWS = 20, 2
CLEAR, HOME = 0x0C, 0x0B
# (commands, first byte, second byte): how many bytes more belong to it, what it does.
COMMANDS = {
    ("cd5220", 0x1B, 0x11): (0, "overwrite"),
    ("cd5220", 0x1B, 0x12): (0, "scroll"),
    ("cd5220", 0x1B, 0x5F): (1, "cursor"),
    ("escpos", 0x1F, 0x01): (0, "overwrite"),
    ("escpos", 0x1F, 0x02): (0, "scroll"),
    ("escpos", 0x1F, 0x43): (1, "cursor"),
}


@dataclass
class Glass:
    """The cells, the cursor's place, and what of a command has arrived."""

    commands: str
    cells: bytearray = field(default_factory=lambda: bytearray(b"BUY TWO".ljust(COLUMNS) + b"PAY ONE".ljust(COLUMNS)))
    place: int = 7
    overwrite: bool = False
    cursor: bool = True
    unknown: list[int] = field(default_factory=list)
    begun: bytes = b""

    def obey(self, data: bytes) -> None:
        for byte in data:
            if self.begun:
                self._go_on(byte)
            elif byte == CLEAR:
                self.cells[:] = b" " * len(self.cells)
                self.place = 0
            elif byte == HOME:
                self.place = 0
            elif byte in {first for commands, first, _ in COMMANDS if commands == self.commands}:
                self.begun = bytes([byte])
            elif 0x20 <= byte <= 0x7E:
                self._write(byte)
            else:
                self.unknown.append(byte)

    def _go_on(self, byte: int) -> None:
        self.begun += bytes([byte])
        command = COMMANDS.get((self.commands, self.begun[0], self.begun[1]))
        if command is None:
            self.unknown += self.begun
            self.begun = b""
            return
        more, does = command
        if len(self.begun) < 2 + more:
            return
        if does == "cursor":
            self.cursor = self.begun[2] != 0
        else:
            self.overwrite = does == "overwrite"
        self.begun = b""

    def _write(self, byte: int) -> None:
        if not self.overwrite and self.place == 0 and self.cells[-1] != 0x20:  # scrolls: the lower row moves up
            self.cells[:] = self.cells[COLUMNS:] + b" " * COLUMNS
            self.place = COLUMNS
        self.cells[self.place] = byte
        self.place = (self.place + 1) % len(self.cells)

    def rows(self) -> list[str]:
        return [self.cells[at : at + COLUMNS].decode().rstrip() for at in range(0, len(self.cells), COLUMNS)]


def main(line: int, commands: str, told: Path) -> None:
    glass = Glass(commands)
    with told.open("a") as file:
        while True:
            state = {"rows": glass.rows(), "cursor": glass.cursor, "unknown": glass.unknown, "begun": glass.begun.hex()}
            stamps = {"monotonic_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}
            file.write(json.dumps(state | stamps) + "\n")
            file.flush()
            glass.obey(os.read(line, 4096))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
