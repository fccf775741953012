"""A keyboard-wedge scanner whose key presses are the kernel's events, made by the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge.ports import ReaderLost, Reason
from firmware_adapters.hid import TypedLink
from firmware_adapters.hid_keys import EVENT, PLAIN, SHIFTED
from firmware_adapters.line_reader import LineReader

if TYPE_CHECKING:
    from pathlib import Path

    from firmware_adapters.link import ByteLink

_LEFT_SHIFT = 42
_MOST_WAITING = 256


def key(code: int, value: int) -> bytes:
    """Return one event of the kernel, and the report that follows it."""
    return EVENT.pack(1_700_000_000, 0, 1, code, value) + EVENT.pack(1_700_000_000, 0, 0, 0, 0)


def typed(text: str) -> bytes:
    """Return the events of somebody who types `text`."""
    events = b""
    for character in text:
        shifted = character not in PLAIN.values()
        code = next(code for code, each in (SHIFTED if shifted else PLAIN).items() if each == character)
        press = key(code, 1) + key(code, 0)
        events += key(_LEFT_SHIFT, 1) + press + key(_LEFT_SHIFT, 0) if shifted else press
    return events


class Events:
    """A device that a test types on."""

    def __init__(self) -> None:
        self._arriving: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)

    def arrive(self, data: bytes) -> None:
        """Let events arrive; none when the device is gone."""
        self._arriving.put_nowait(data)

    async def read(self) -> bytes:
        data = await self._arriving.get()
        if not data:
            raise _lost()
        return data

    async def write(self, data: bytes) -> None:
        raise ReaderLost(Reason.LOST, what=f"nobody takes {len(data)} bytes", remedy="do not send them")

    async def aclose(self) -> None:
        self.arrive(b"")


class HidBench:
    """A scanner that types what it reads, and Enter."""

    def __init__(self, folder: Path) -> None:
        assert folder.exists()
        self._events = Events()
        self._there = True
        self.reader = LineReader("reader-1", self._open, idle_ms=100)

    async def _open(self) -> ByteLink:
        if not self._there:
            raise _lost()
        self._events = Events()
        return TypedLink(self._events)

    def present(self, payload: bytes) -> None:
        self._events.arrive(typed(payload.decode("ascii") + "\n"))

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        self._there = False
        self._events.arrive(b"")

    def restore(self) -> None:
        self._there = True

    def dispose(self) -> None:
        """Nothing is held."""


def _lost() -> ReaderLost:
    return ReaderLost(Reason.LOST, what="the device of the test is gone", remedy="let the test bring it back")
