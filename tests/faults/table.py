"""What a fault came to: one row of the table that the suite prints."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from tests.faults.system import System


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that can be injected.

    Attributes:
        name: of its row.
        times: how often it is injected in a usual run.
        inject: does it, once or on several connections at a time but no more often than it is told; returns when the
            fault is over, with how many there were.
        why_not: says why it cannot be injected here; None when it can.
        own: the system that it runs in, after all others; None for the one that the others share.
    """

    name: str
    times: int
    inject: Callable[[System, random.Random, int], Awaitable[Injected]]
    why_not: Callable[[System], str | None] = lambda _: None
    own: Own | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """A system of a fault's own.

    Attributes:
        why_not: says why it cannot run here; None when it can.
        running: runs it for a seed until the block ends.
    """

    why_not: Callable[[], str | None]
    running: Callable[[int], AbstractAsyncContextManager[System]]


@dataclass(frozen=True, slots=True)
class Injected:
    """How many faults there were, and how long recovery took where the fault measures that itself (seconds)."""

    times: int
    recovery_s: tuple[float, ...] | None = None


@dataclass(slots=True)
class Row:
    """One row.

    Attributes:
        recovery_s: from the end of each fault to the first moment at which all is as before.
        seconds: that all of it took.
        skipped: why it was not injected.
        failed: what went wrong.
    """

    name: str
    times: int = 0
    events: int = 0
    lost: int = 0
    duplicate: int = 0
    broken: int = 0
    recovery_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str | None = None
    failed: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled or broken, and all recovered."""
        return self.failed is None and not (self.lost or self.duplicate or self.broken)

    def to_json(self) -> dict[str, Any]:
        """Give it for programs."""
        return {
            "fault": self.name,
            "times": self.times,
            "lost": self.lost,
            "duplicate": self.duplicate,
            "broken": self.broken,
            "recovery_s": {"median": self._median(), "longest": self._longest()},
            "seconds": round(self.seconds, 1),
            "skipped": self.skipped,
            "failed": self.failed,
        }

    def cells(self) -> tuple[str, ...]:
        """Give it for people."""
        if self.skipped is not None:
            return (self.name, "-", "-", "-", "-", f"skipped: {self.skipped}")
        median, longest = self._median(), self._longest()
        recovery = "-" if median is None else f"{median:.1f} / {longest:.1f} s"
        said = f"{recovery}  FAILED: {self.failed}" if self.failed else recovery
        return (self.name, str(self.times), str(self.lost), str(self.duplicate), str(self.broken), said)

    def _median(self) -> float | None:
        return round(statistics.median(self.recovery_s), 2) if self.recovery_s else None

    def _longest(self) -> float | None:
        return round(max(self.recovery_s), 2) if self.recovery_s else None


HEADERS: Final = ("FAULT", "TIMES", "LOST", "DUPLICATE", "BROKEN", "RECOVERY, MEDIAN / LONGEST")


async def stands_still(progress: Callable[[], int], *, still_s: float, patience_s: float) -> bool:
    """Wait until a number has not risen for a while; False when it goes on rising."""
    began_s = changed_s = time.monotonic()
    last = progress()
    while time.monotonic() - changed_s < still_s:
        if time.monotonic() - began_s > patience_s:
            return False
        await asyncio.sleep(still_s / 20)
        if (now := progress()) != last:
            last, changed_s = now, time.monotonic()
    return True


def total(rows: Iterable[Row]) -> Row:
    """Sum rows up."""
    found = Row("all")
    for row in rows:
        found.times += row.times
        found.lost += row.lost
        found.duplicate += row.duplicate
        found.broken += row.broken
        found.recovery_s += row.recovery_s
        found.seconds += row.seconds
    return found
