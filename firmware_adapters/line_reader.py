"""A scanner that sends each code as a line, on whatever link: each line is one presentation.

Invariant: whatever the scanner sends, memory is bounded and every line becomes exactly one presentation.
This module must not interpret a line.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from edge.ports import Feedback, Medium, Presentation, ReaderError, ReaderInfo, Reason
from firmware_adapters.line_framer import LineFramer
from firmware_adapters.link import ByteLink
from firmware_adapters.pacing import ReopenPacing

# A rotating pass is 640 characters at most (docs/spec/presentation.md); room for a scanner's prefix, no more.
MAX_LINE_BYTES = 1024
# After a silence, the bytes that came while this process stood still are looked for: they wait already.
LOOK_S = 0.005


class LineReader:
    """Reads the lines of a scanner; opens the link again after each loss."""

    def __init__(
        self,
        reader_id: str,
        open_link: Callable[[], Awaitable[ByteLink]],
        *,
        idle_ms: int,
    ) -> None:
        """Prepare a reader; nothing is opened before `presentations` is iterated.

        Args:
            reader_id: the id the configuration gives it.
            open_link: opens the link; raises ReaderError when it cannot.
            idle_ms: silence after which the bytes so far are a line, for scanners that send no terminator.
        """
        self._info = ReaderInfo(reader_id, frozenset({Medium.QR}), frozenset(), MAX_LINE_BYTES)
        self._open_link = open_link
        self._idle_s = idle_ms / 1000
        self._pacing = ReopenPacing()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._iterating = False
        self._link: ByteLink | None = None

    @property
    def info(self) -> ReaderInfo:
        """Tell what this reader is."""
        return self._info

    async def presentations(self) -> AsyncIterator[Presentation]:
        """Yield one presentation a line; see `Reader.presentations`."""
        if self._iterating:
            raise ReaderError(
                Reason.BUSY,
                what=f"reader {self._info.id} is being read already",
                remedy="end the first iteration before the next",
            )
        self._iterating = True
        try:
            link = await self._open_paced()
            framer = LineFramer(MAX_LINE_BYTES)
            while not self._closing.is_set():
                for line in await self._read(link, framer):
                    yield Presentation(self._info.id, Medium.QR, line, time.monotonic_ns() // 1_000_000)
        except ReaderError:
            if not self._closing.is_set():
                raise
        finally:
            self._iterating = False
            await self._drop_link()

    async def opened(self) -> None:
        """Wait until the port is open; see `Reader.opened`."""
        await self._opened.wait()

    async def show(self, feedback: Feedback) -> None:
        """Do nothing: a line scanner has no capabilities."""

    async def aclose(self) -> None:
        """Free the port and end the iteration."""
        self._closing.set()
        await self._drop_link()

    async def _open_paced(self) -> ByteLink:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pacing.pause_s()):
                await self._closing.wait()
        if self._closing.is_set():
            raise ReaderError(
                Reason.CLOSED,
                what=f"reader {self._info.id} was closed",
                remedy="make a new one",
            )
        self._link = await self._open_link()
        self._opened.set()
        return self._link

    async def _read(self, link: ByteLink, framer: LineFramer) -> list[bytes]:
        """Wait for bytes; without a limit between lines, for `idle_s` within one."""
        data = await self._heard(link, self._idle_s if framer.unfinished else None)
        if data is None:  # time passed; whether in silence is not known yet: a machine that is busy may not have looked
            data = await self._heard(link, LOOK_S)
        if data is None:
            return framer.flush()
        self._pacing.succeeded()
        return framer.feed(data)

    async def _heard(self, link: ByteLink, within_s: float | None) -> bytes | None:
        """Give the bytes that come in a time, None when there are none."""
        try:
            async with asyncio.timeout(within_s):
                return await link.read()
        except TimeoutError:
            return None

    async def _drop_link(self) -> None:
        self._opened.clear()
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()
