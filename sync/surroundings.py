"""The machine's own clocks, waiting and randomness, for the daemon.

Must not: be used where a test could pass its own.
"""

import asyncio
import secrets
import time

_CHANCE = secrets.SystemRandom()


class SystemSurroundings:
    """`sync.ports.Surroundings` of the running system."""

    __slots__ = ()

    def monotonic_ms(self) -> int:
        """Milliseconds since some start; keeps counting."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def fraction(self) -> float:
        """Draw from 0 (included) to 1 (excluded)."""
        return _CHANCE.random()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until `event` is set, but not longer than `seconds`; tell whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
