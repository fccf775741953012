"""Time that passes only when somebody waits for it, so that tests of pauses and deadlines never sleep."""

from __future__ import annotations

import asyncio

WALL_START_MS = 1_800_000_000_000


class VirtualSurroundings:
    """`sync.ports.Surroundings` whose clock jumps forward by what is slept.

    Args:
        fraction: what the dice show, always; 1.0 makes every backoff as long as it may be.
    """

    def __init__(self, *, fraction: float = 1.0) -> None:
        self.now_ms = 1_000
        self.slept_s: list[float] = []
        self._fraction = fraction

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return WALL_START_MS + self.now_ms

    def fraction(self) -> float:
        return self._fraction

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += round(seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.pass_s(seconds)
        await asyncio.sleep(0)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        await asyncio.sleep(0)
        if not event.is_set():
            await self.sleep(seconds)
        return event.is_set()


class StandingSurroundings(VirtualSurroundings):
    """Time that stands still: whoever waits for an event waits until it is set.

    Attributes:
        waits_s: how long it was to be waited at most, each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float] = []

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        self.waits_s.append(seconds)
        if seconds:
            await event.wait()
        return event.is_set()
