"""An RS-485 line of pseudo-terminals with real OSDP readers on it, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tty
from pathlib import Path
from typing import Any

from firmware_adapters.catalogue import open_inputs, open_reader
from firmware_adapters.osdp import OsdpInputs, OsdpReader
from firmware_adapters.sealed_key import write_key
from tests.support.waiting import until
from tests.support.wires import READER_CASE

_PERIPHERAL = Path(__file__).with_name("osdp_peripheral.py")
KEY = bytes.fromhex("00112233445566778899aabbccddeeff")
# The library's numbers of events (IEC 60839-11-5 replies), and that of a status report on case and supply.
CARD, KEYPAD, STATUS, LOCAL = 1, 2, 4, 2


def _pty() -> tuple[int, int]:
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave


class Rs485:
    """A line: all readers hear the panel, and it hears them. The panel's end is a link that can be taken away.

    A reader does not hear the other ones here. Hardware does, byte by byte; the library's reader, in a process that is
    scheduled late, would find another's answer and the question to itself in one read, and drop both.
    """

    def __init__(self, folder: Path) -> None:
        self.port = folder / "ttyRS485"
        self._ends: dict[int, int] = {}
        self._panel = -1
        self.plug()

    def plug(self) -> None:
        """Bring the panel's adapter back."""
        self._panel, slave = self._add()
        replacement = self.port.with_suffix(".new")
        replacement.symlink_to(os.ttyname(slave))
        replacement.replace(self.port)

    def unplug(self) -> None:
        """Take the panel's adapter away."""
        self.port.unlink()
        self.remove(self._panel)

    def add(self) -> tuple[int, str]:
        """Add an end and return its handle and the port of whoever sits there."""
        master, slave = self._add()
        return master, os.ttyname(slave)

    def remove(self, end: int) -> None:
        """Cut an end off."""
        if end in self._ends:
            asyncio.get_running_loop().remove_reader(end)
            os.close(self._ends.pop(end))
            os.close(end)

    def close(self) -> None:
        for end in list(self._ends):
            self.remove(end)

    def say(self, data: bytes) -> None:
        """Let noise be heard by the panel."""
        os.write(self._panel, data)

    def _add(self) -> tuple[int, int]:
        master, slave = _pty()
        self._ends[master] = slave
        asyncio.get_running_loop().add_reader(master, self._carry, master)
        return master, slave

    def _carry(self, source: int) -> None:
        try:
            data = os.read(source, 4096)
        except OSError:
            return
        for end in [*self._ends] if source == self._panel else [self._panel]:
            if end != source and end in self._ends:
                with contextlib.suppress(BlockingIOError):  # nobody reads there
                    os.write(end, data)


class Peripheral:
    """One reader on a line."""

    def __init__(self, line: Rs485, *, address: int = 1, key: str = KEY.hex()) -> None:
        self._line = line
        self._end, port = line.add()
        self._process = subprocess.Popen(
            [sys.executable, str(_PERIPHERAL), port, str(address), key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._told = b""

    def commands(self) -> list[dict[str, Any]]:
        """Return what the panel has sent so far."""
        return [told for told in self._all_told() if "command" in told]

    def obeyed(self) -> bool:
        """Tell whether it has done what it was to do."""
        return any("obeyed" in told for told in self._all_told())

    def _all_told(self) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        self._told += self._process.stdout.read() or b""
        whole = self._told.rpartition(b"\n")[0]
        return [*map(json.loads, whole.splitlines())]

    def received(self, **members: object) -> bool:
        """Tell whether the panel has sent a command with these members."""
        return any(members.items() <= command.items() for command in self.commands())

    def card(self, bits: int, data: bytes) -> None:
        """Hold a card before it."""
        self._send({"event": CARD, "reader_no": 0, "format": 1, "direction": 0, "length": bits, "data": data.hex()})

    def press(self, keys: bytes) -> None:
        """Press keys."""
        self._send({"event": KEYPAD, "reader_no": 0, "data": keys.hex()})

    def local(self, *, tamper: bool, power: bool) -> None:
        """Open or close its case, take or give its supply."""
        self._send({"event": STATUS, "type": LOCAL, "report": bytes([tamper, power]).hex()})

    def kill(self) -> None:
        """Take it off the line at once."""
        if self._process.returncode is not None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._line.remove(self._end)

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()


class OsdpBench:
    """An OSDP reader under contract: a card number stands for a payload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key_file = folder / "1.key"
        write_key(self.key_file, KEY)
        self.line = Rs485(folder)
        self._others: list[Peripheral] = []
        self.peripheral = self.add()
        self.reader = self.open()

    def add(self, *, address: int = 1, key: str = KEY.hex()) -> Peripheral:
        """Put one more reader on the line."""
        peripheral = Peripheral(self.line, address=address, key=key)
        self._others.append(peripheral)
        return peripheral

    def url(self, *, address: int = 1, more: str = "") -> str:
        return f"osdp://{self.line.port}?address={address}&baud=115200&key={self.key_file}{more}"

    def open(self, *, address: int = 1, more: str = "&display=1", name: str = "reader-1") -> OsdpReader:
        reader = open_reader(self.url(address=address, more=more), name)
        assert isinstance(reader, OsdpReader)
        return reader

    def open_inputs(self, *, address: int = 1) -> OsdpInputs:
        inputs = open_inputs(self.url(address=address))
        assert isinstance(inputs, OsdpInputs)
        return inputs

    def present(self, payload: bytes) -> None:
        self.peripheral.card(8 * len(payload), payload)

    def read_as(self, payload: bytes) -> bytes:
        return (8 * len(payload)).to_bytes(2, "big") + payload

    def lose(self) -> None:
        self.line.unplug()

    def restore(self) -> None:
        self.line.plug()

    def dispose(self) -> None:
        for peripheral in self._others:
            peripheral.kill()
        self.line.close()


class OsdpInputsBench:
    """The case and the supply of an OSDP reader under contract: its case is what opens, its supply what fails."""

    wires = READER_CASE

    def __init__(self, folder: Path) -> None:
        key_file = folder / "1.key"
        write_key(key_file, KEY)
        self._line = Rs485(folder)
        self._peripheral = Peripheral(self._line)
        self._url = f"osdp://{self._line.port}?address=1&baud=115200&key={key_file}"
        self._tamper = False

    def open(self) -> OsdpInputs:
        inputs = open_inputs(self._url)
        assert isinstance(inputs, OsdpInputs)
        return inputs

    async def open_door(self) -> None:
        self._tamper = True
        self._peripheral.local(tamper=True, power=False)

    async def close_door(self) -> None:
        self._tamper = False
        self._peripheral.local(tamper=False, power=False)

    async def press(self) -> None:
        raise NotImplementedError("there is no button on it")

    async def raise_fire(self) -> None:
        self._peripheral.local(tamper=self._tamper, power=True)

    def dispose(self) -> None:
        self._peripheral.kill()
        self._line.close()


async def shown(peripheral: Peripheral, **members: object) -> None:
    """Wait until the panel has sent a command with these members."""
    await until(lambda: peripheral.received(**members))
