"""A Modbus board, real in its protocol, in another process: on loopback TCP, and on a pseudo-terminal as on RS-485."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_adapters.catalogue import open_inputs, open_lock
from tests.support.ports import take_port
from tests.support.waiting import DEADLINE_S
from tests.support.wires import DOOR

if TYPE_CHECKING:
    from edge.ports import Inputs, Lock

_BOARD = Path(__file__).with_name("modbus_board.py")
PRESS_S = 0.2
INPUTS = "contact=0&rex=1&fire=2"


class Board:
    """The board's process and its terminals."""

    def __init__(self, folder: Path, *, serial: bool) -> None:
        self.folder = folder / "board"
        self.folder.mkdir()
        self._ends: list[int] = []
        self._link = folder / "ttyRS485"
        self._serial = serial
        # Kept while the board is off: else somebody else's connection may get it before its supply is back.
        self._taken = None if serial else take_port()
        self.port = "0" if self._taken is None else str(self._taken.getsockname()[1])
        for place in range(8):
            # Inputs read 1 while their circuit is closed: contact and fire are, the exit button is not.
            self.set(place, int(place in {0, 2}))
        self.start()

    def start(self) -> None:
        """Power the board."""
        place = self._line() if self._serial else self.port
        (self.folder / "ready").unlink(missing_ok=True)
        self._process = subprocess.Popen([sys.executable, str(_BOARD), str(self.folder), place])
        ready = threading.Event()
        give_up_s = time.monotonic() + DEADLINE_S
        while not (self.folder / "ready").exists():
            ready.wait(0.01)
            assert time.monotonic() < give_up_s
        self.base = f"modbus://{self._link}?baud=115200&" if self._serial else f"modbus+tcp://127.0.0.1:{self.port}?"

    def stop(self) -> None:
        """Cut its supply."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Have it take nothing in and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._process.send_signal(signal.SIGCONT)

    def dispose(self) -> None:
        self.stop()
        if self._taken is not None:
            self._taken.close()
        for end in self._ends:
            os.close(end)

    def set(self, place: int, level: int) -> None:
        """Open or close an input's circuit."""
        (self.folder / f".di{place}").write_text(str(level))
        (self.folder / f".di{place}").replace(self.folder / f"di{place}")

    def relay(self, place: int = 0) -> bool:
        return (self.folder / f"co{place}").read_text() == "1"

    def _line(self) -> str:
        """Join two pseudo-terminals: bytes that one end sends arrive at the other."""
        ours, board = os.openpty(), os.openpty()
        for end in (*ours, *board):
            tty.setraw(end)
        self._link.symlink_to(os.ttyname(ours[1]))
        self._ends += [*ours, *board]
        for source, target in ((ours[0], board[0]), (board[0], ours[0])):
            threading.Thread(target=_carry, args=(source, target), daemon=True).start()
        return os.ttyname(board[1])


def _carry(source: int, target: int) -> None:
    try:
        while data := os.read(source, 4096):
            os.write(target, data)
    except OSError:
        return


class ModbusLockBench:
    """A relay of the board."""

    def __init__(self, folder: Path, *, serial: bool = False) -> None:
        self.board = Board(folder, serial=serial)
        self.url = f"{self.board.base}coil=0"

    def open(self) -> Lock:
        return open_lock(self.url)

    def unlocked(self) -> bool:
        return self.board.relay()

    def dispose(self) -> None:
        self.board.dispose()


class ModbusInputsBench:
    """Inputs of the board."""

    wires = DOOR

    def __init__(self, folder: Path, *, serial: bool = False) -> None:
        self.board = Board(folder, serial=serial)
        self.url = f"{self.board.base}{INPUTS}"

    def open(self) -> Inputs:
        return open_inputs(self.url)

    async def open_door(self) -> None:
        await self._lasting(0, 0)

    async def close_door(self) -> None:
        await self._lasting(0, 1)

    async def press(self) -> None:
        await self._lasting(1, 1)
        self.board.set(1, 0)

    async def raise_fire(self) -> None:
        await self._lasting(2, 0)

    def dispose(self) -> None:
        self.board.dispose()

    async def _lasting(self, place: int, level: int) -> None:
        self.board.set(place, level)
        await asyncio.sleep(PRESS_S)
