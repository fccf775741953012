"""What a daemon does besides deciding: it keeps the time it knew over a restart, forgets what is over, says it lives.

Invariant: the watchdog is fed only while the loop turns and the store answers.
Must not: decide anything.
"""

import asyncio
import os
from typing import Final

import structlog

from edge.clock import Clock, Known
from edge.core.replay import KEEP_MS
from edge.store import Store, StoreError
from edge.watchdog import interval_s, notify

HOUSEKEEPING_S: Final = 30.0
KNOWN_EVERY_MS: Final = 600_000
"""Between two writes of the known time to the disk; a restart counts the drift of ten minutes, 30 ms, anyway."""
FLOOR: Final = "floor_ms"
_KNOWN: Final = "known_ms"
_KNOWN_UNCERTAINTY: Final = "known_uncertainty_ms"

_log: Final = structlog.get_logger()


async def recall_known(store: Store) -> Known | None:
    """Give the last moment whose time the runs before knew, None when they never did."""
    wall_ms = await store.number(_KNOWN)
    return Known(wall_ms, await store.number(_KNOWN_UNCERTAINTY)) if wall_ms else None


async def keep_house(store: Store, clock: Clock) -> None:
    """Persist what is known of the time and forget replay marks whose time is over; runs until cancelled."""
    keeper = ClockKeeper(store, clock)
    while True:
        await asyncio.sleep(HOUSEKEEPING_S)
        try:
            await keeper.keep()
            await store.forget_marks(clock.now().wall_ms - KEEP_MS)
        except StoreError as error:
            _log.warning("housekeeping", sentence=str(error))


class ClockKeeper:
    """Writes what a restart is to know of the time, when there is something new."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._floor_ms = clock.floor_ms
        self._known_ms = 0

    async def keep(self) -> None:
        """Persist the floor when it rose, and the known time when that was last done ten minutes ago.

        Raises:
            StoreError: it could not be kept.
        """
        numbers: dict[str, int] = {}
        floor_ms, known = self._clock.floor_ms, self._clock.known()
        if floor_ms > self._floor_ms:
            numbers[FLOOR] = floor_ms
        if known is not None and abs(known.wall_ms - self._known_ms) >= KNOWN_EVERY_MS:
            numbers |= {_KNOWN: known.wall_ms, _KNOWN_UNCERTAINTY: known.uncertainty_ms}
        if numbers:
            await self._store.set_numbers(numbers)
            self._floor_ms, self._known_ms = floor_ms, numbers.get(_KNOWN, self._known_ms)


async def feed_watchdog(store: Store) -> None:
    """Feed systemd's watchdog, if it waits for that, until cancelled."""
    every_s = interval_s(dict(os.environ))
    while every_s is not None:
        await asyncio.sleep(every_s)
        try:
            await store.marks()
        except StoreError as error:
            _log.error("self_check", sentence=str(error))
        else:
            notify("WATCHDOG=1")
