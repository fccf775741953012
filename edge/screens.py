"""What stands on a door's displays: the answer to whoever was just at a reader, else the name of the door.

Invariant: a display that hangs delays nobody: what waits for it is bounded and falls out from the oldest on.
Must not: know which door is open or who stands there; a display tells the class of a reason, as every reader does.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import structlog

from edge.core.effects import Feedback
from edge.ports import Display, PortError

Rows: TypeAlias = tuple[str, ...]

MOST_WAITING: Final = 4
"""Feedback that waits for one display; older feedback is of no use to anyone."""

TEXTS: Final[Mapping[Feedback, Rows]] = MappingProxyType(
    {
        Feedback.GRANTED: ("WELCOME", "Please come in"),
        Feedback.DENIED_EXPIRED: ("PASS EXPIRED", "Please renew it"),
        Feedback.DENIED_NOT_NOW: ("NOT AT THIS TIME", "Please come later"),
        Feedback.DENIED_NOT_HERE: ("NOT AT THIS DOOR", "No access here"),
        Feedback.TRY_AGAIN: ("PLEASE TRY AGAIN", "It was not read"),
        Feedback.WAIT: ("PLEASE WAIT", "One moment"),
        Feedback.ENTER_PIN: ("ENTER YOUR PIN", "then press #"),
        Feedback.NEXT_PERSON: ("NEXT PERSON", "Present your pass"),
    },
)
"""The words of the OSDP readers' text (16 characters), then what to do; the upper row alone says enough."""

_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things stand on a display.

    Attributes:
        shown_s: feedback: as an OSDP reader shows its text, long enough to be read, gone for the next person.
        renewed_s: what stands at rest, before it is written again: a display that was without power fills by itself.
        deadline_s: in which it has to be shown; an adapter gives up after one second, this bounds one that does not.
    """

    shown_s: float = 3.0
    renewed_s: float = 60.0
    deadline_s: float = 2.0


_USUAL: Final = Times()


class Screen:
    """One display, and what is to stand on it.

    Args:
        display: the device.
        rest: the rows that stand there when nobody was answered for a while.
        readers: the ids of the readers whose feedback is shown; empty for all of them.
        times: how long each stands there.
    """

    def __init__(
        self,
        display: Display,
        *,
        rest: Rows,
        readers: frozenset[str] = frozenset(),
        times: Times = _USUAL,
    ) -> None:
        self.display = display
        self._times = times
        self._rest = rest
        self._readers = readers
        self._waiting: asyncio.Queue[Feedback | None] = asyncio.Queue(MOST_WAITING)

    def tell(self, reader: str, feedback: Feedback) -> None:
        """Show the feedback of a reader, if it is one of this display's; returns at once."""
        if self._readers and reader not in self._readers:
            return
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(feedback)

    def renew(self) -> None:
        """Begin anew: the device was opened, and what was said before that is of no use to anyone."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    async def drive(self) -> None:
        """Show feedback as it comes, and what stands at rest a while after it; runs until cancelled."""
        stays_s = self._times.renewed_s
        while True:
            feedback = await self._next(stays_s)
            stays_s = self._times.renewed_s if feedback is None else self._times.shown_s
            with contextlib.suppress(PortError):  # a display that is gone is reported by its hold
                await self._show(self._rest if feedback is None else TEXTS[feedback])

    async def _next(self, within_s: float) -> Feedback | None:
        """Give what is to be shown next; None for what stands at rest, also when nothing came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await self._waiting.get()
        return None

    async def _show(self, rows: Rows) -> None:
        try:
            async with asyncio.timeout(self._times.deadline_s):
                await self.display.show(rows)
        except TimeoutError:
            _log.error("display_stuck", display=self.display.info.id, deadline_s=self._times.deadline_s)
