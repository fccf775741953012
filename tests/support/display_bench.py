"""Displays with a peer: a process that obeys the bytes of a pseudo-terminal, or the simulated display's folder."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tty
from typing import TYPE_CHECKING, Any, Protocol

from firmware_adapters.catalogue import open_display

if TYPE_CHECKING:
    from pathlib import Path

    from edge.ports import Display

_PEER = "tests.support.display_peer"
_FULL_S = 0.1


class DisplayBench(Protocol):
    """A display that a test can look at and take away."""

    @property
    def url(self) -> str: ...

    @property
    def display(self) -> Display: ...

    def rows(self) -> list[str]:
        """Tell what stands there, blanks at the end of a row left out."""
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


class PlugDisplay:
    """A customer display: a process at the other end of a pseudo-terminal, behind a link that stays."""

    def __init__(self, folder: Path, commands: str = "cd5220") -> None:
        self.link = folder / "ttyDisplay"
        self.url = f"display://{self.link}?commands={commands}"
        self._commands = commands
        self._told = folder / "glass.jsonl"
        self.plug()

    def plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(master)
        tty.setraw(slave)
        fresh = self.link.with_suffix(".new")
        fresh.symlink_to(os.ttyname(slave))
        arguments = [sys.executable, "-m", _PEER, str(master), self._commands, str(self._told)]
        self._told.unlink(missing_ok=True)
        # The peer alone holds its end: when it dies the line hangs up. While nobody held ours, it would read an error.
        self._process = subprocess.Popen(arguments, pass_fds=(master,))
        os.close(master)
        self._ours = slave
        fresh.replace(self.link)

    def unplug(self) -> None:
        self._process.kill()
        self._process.wait()
        self.link.unlink(missing_ok=True)
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def hang(self) -> None:
        """Have it take nothing, with a line that is full already."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # a processor may still run it
        os.set_blocking(self._ours, False)
        while True:
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(self._ours, b" ")
            # The kernel moves bytes on by and by, which makes room again.
            if not select.select([], [self._ours], [], _FULL_S)[1]:
                return

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def told(self) -> list[dict[str, Any]]:
        """Give what stood on the glass after each read, oldest first."""
        lines = self._told.read_text().splitlines(keepends=True) if self._told.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]


class SerialDisplayBench:
    """The display on a serial port."""

    def __init__(self, folder: Path, commands: str = "cd5220") -> None:
        self.plug = PlugDisplay(folder, commands)
        self.url = self.plug.url
        self.display = open_display(self.url, "display-1")

    def rows(self) -> list[str]:
        told = self.plug.told()
        rows: list[str] = told[-1]["rows"] if told else []
        return rows

    def lose(self) -> None:
        self.plug.unplug()

    def restore(self) -> None:
        self.plug.plug()

    def dispose(self) -> None:
        self.plug.unplug()


class SimulatedDisplayBench:
    """The simulated display."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "door"
        self.url = f"display+simulated://{self._folder}"
        self.display = open_display(self.url, "display-1")
        self.restore()

    def rows(self) -> list[str]:
        file = self._folder / "display-display-1.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        rows: list[str] = json.loads(lines[-1])["rows"] if lines else []
        return rows

    def lose(self) -> None:
        shutil.rmtree(self._folder)

    def restore(self) -> None:
        self._folder.mkdir()

    def dispose(self) -> None:
        """Nothing is held."""
