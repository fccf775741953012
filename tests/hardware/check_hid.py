"""A keyboard-wedge scanner on a real input device: the kernel's uinput types, the reader grabs and reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.ports import ReaderLost, Reason
from firmware_adapters.catalogue import open_reader
from firmware_adapters.hid_keys import EVENT, PLAIN
from tests.support.hid_bench import typed
from tests.support.readers import Listener, listening
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# linux/uinput.h: UI_SET_EVBIT, UI_SET_KEYBIT, UI_DEV_SETUP, UI_DEV_CREATE, UI_GET_SYSNAME(64).
TYPING_S = 0.002
_SET_EVENT, _SET_KEY, _SETUP, _CREATE, _SYSNAME = 0x40045564, 0x40045565, 0x405C5503, 0x5501, 0x8040552C


class Keyboard:
    """A keyboard of the kernel's."""

    def __init__(self) -> None:
        self._device = os.open("/dev/uinput", os.O_WRONLY | os.O_CLOEXEC)
        fcntl.ioctl(self._device, _SET_EVENT, 1)
        for code in {*PLAIN, 42, 54}:
            fcntl.ioctl(self._device, _SET_KEY, code)
        fcntl.ioctl(self._device, _SETUP, struct.pack("HHHH80sI", 3, 1, 1, 1, b"Scanner", 0))
        fcntl.ioctl(self._device, _CREATE)
        name = fcntl.ioctl(self._device, _SYSNAME, bytes(64)).rstrip(b"\0").decode()
        event = next(Path(f"/sys/devices/virtual/input/{name}").glob("event*")).name
        self.path = Path("/dev/input") / event

    async def type(self, text: str) -> None:
        """Type as fast as a scanner does; the kernel keeps 64 events for a reader that is late."""
        for character in text:
            data = typed(character)
            for start in range(0, len(data), EVENT.size):
                os.write(self._device, data[start : start + EVENT.size])
            await asyncio.sleep(TYPING_S)

    def unplug(self) -> None:
        if self._device >= 0:
            os.close(self._device)
            self._device = -1


@pytest.fixture(name="keyboard")
async def _keyboard() -> AsyncIterator[Keyboard]:
    keyboard = Keyboard()
    await until(keyboard.path.exists)
    yield keyboard
    keyboard.unplug()


async def test_what_is_typed_is_read_and_a_lost_device_is_told(keyboard: Keyboard):
    reader = open_reader(f"hid://{keyboard.path}", "reader-1")
    async with listening(reader) as listener:
        await keyboard.type("DW1:ABC $%*+-./:\n")
        assert await listener.next_payload() == b"DW1:ABC $%*+-./:"
        keyboard.unplug()
        assert isinstance(await listener.failure(), ReaderLost)
    await reader.aclose()


async def test_a_grabbed_device_is_busy(keyboard: Keyboard):
    reader, other = (open_reader(f"hid://{keyboard.path}", name) for name in ("reader-1", "reader-2"))
    async with listening(reader):
        assert (await Listener(other).failure()).reason is Reason.BUSY
    await reader.aclose()
    await other.aclose()
