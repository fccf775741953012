"""A display on whatever device: it is opened, held, cut off when it takes nothing, and opened again.

Invariant: nothing waits for a device longer than `SHOW_DEADLINE_S`; one that was too slow is let go of.
Must not: know what is shown, or how a device is told.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from edge.ports import DisplayError, DisplayInfo, Reason
from firmware_adapters.pacing import ReopenPacing

# A row of 20 characters takes 21 ms at 9,600 baud; a person looks away after a second.
SHOW_DEADLINE_S = 1.0


class Glass(Protocol):
    """An open device."""

    async def put(self, rows: Sequence[str]) -> None:
        """Write these rows, each as wide as the device and all that it has, over what stands there.

        Raises:
            DisplayError: it is gone.
        """
        ...

    async def gone(self) -> DisplayError:
        """Wait until the device is gone, and give the error that says so."""
        ...

    async def aclose(self) -> None:
        """Let go of the device; called once, and must end by itself."""
        ...


class HeldDisplay:
    """Opens its device again after each loss."""

    def __init__(self, info: DisplayInfo, open_glass: Callable[[], Awaitable[Glass]]) -> None:
        """Prepare a display; nothing is opened before `hold`.

        Args:
            info: what it is.
            open_glass: opens the device; raises DisplayError when it cannot.
        """
        self._info = info
        self._open_glass = open_glass
        self._pacing = ReopenPacing()
        self._closing = asyncio.Event()
        self._opened = asyncio.Event()
        self._holding = False
        self._glass: Glass | None = None
        self._cut: asyncio.Queue[DisplayError] = asyncio.Queue(1)

    @property
    def info(self) -> DisplayInfo:
        """Tell what this display is."""
        return self._info

    async def hold(self) -> None:
        """Open the device and hold it; see `Display.hold`."""
        if self._holding:
            raise self._error(Reason.BUSY, "is held already", remedy="end the first hold before the next")
        self._holding = True
        try:
            error = await self._hold()
        except asyncio.CancelledError:  # the daemon ends: nothing is left standing there
            await self._clear()
            raise
        finally:
            self._holding = False
            await self._drop()
        if error is not None and not self._closing.is_set():
            raise error

    async def opened(self) -> None:
        """Wait until the device is open; see `Display.opened`."""
        await self._opened.wait()

    async def show(self, rows: Sequence[str]) -> None:
        """Show these rows; see `Display.show`."""
        if self._glass is None:
            raise self._error(Reason.LOST, "is not open", remedy="plug it in; it is opened again by itself")
        try:
            await self._put(self._glass, rows)
        except DisplayError as error:
            self._opened.clear()
            if self._cut.empty():
                self._cut.put_nowait(error)
            raise

    async def aclose(self) -> None:
        """Clear the device, free it and end the hold."""
        self._closing.set()
        await self._clear()
        await self._drop()

    async def _hold(self) -> DisplayError | None:
        """Hold the device until it is gone, was cut off or is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pacing.pause_s()):
                await self._closing.wait()
        if self._closing.is_set():
            return None
        self._cut = asyncio.Queue(1)
        try:
            glass = self._glass = await self._open_glass()
            await self._put(glass, ())  # a device that takes nothing was not opened
        except DisplayError as error:
            return error
        self._opened.set()
        return await self._first(glass)

    async def _first(self, glass: Glass) -> DisplayError | None:
        """Wait for the first of: it is gone, it was cut off, it is closed (None)."""
        gone, cut = asyncio.ensure_future(glass.gone()), asyncio.ensure_future(self._cut.get())
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({gone, cut, closing}, return_when=asyncio.FIRST_COMPLETED)
            return next((each.result() for each in (cut, gone) if each.done()), None)
        finally:
            for each in (gone, cut, closing):
                each.cancel()

    async def _put(self, glass: Glass, rows: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(SHOW_DEADLINE_S):
                await glass.put(self._fitted(rows))
        except TimeoutError as error:
            what = f"takes nothing for {SHOW_DEADLINE_S:g} s"
            raise self._error(Reason.DEADLINE, what, remedy="unplug it and plug it in again") from error
        self._pacing.succeeded()

    def _fitted(self, rows: Sequence[str]) -> list[str]:
        """Cut or fill rows to what the device has, in printable ASCII."""
        wanted = [*rows, *[""] * self._info.rows][: self._info.rows]
        return ["".join(map(_printable, row))[: self._info.columns].ljust(self._info.columns) for row in wanted]

    async def _clear(self) -> None:
        if self._glass is not None:
            with contextlib.suppress(DisplayError):
                await self._put(self._glass, ())

    async def _drop(self) -> None:
        self._opened.clear()
        glass, self._glass = self._glass, None
        if glass is not None:
            await glass.aclose()

    def _error(self, reason: Reason, what: str, *, remedy: str) -> DisplayError:
        return DisplayError(reason, what=f"display {self._info.id} {what}", remedy=remedy)


def _printable(character: str) -> str:
    return character if " " <= character <= "~" else "?"
