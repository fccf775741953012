"""What a restart is to know of the time: written when there is something new, read at the next start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge.clock import Known
from edge.core.instant import Instant
from edge.database import Database, Identity
from edge.store import Store
from edge.upkeep import FLOOR, KNOWN_EVERY_MS, ClockKeeper, recall_known
from wire.names import ClockState, DeviceId, DoorId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW_MS = 1_800_000_000_000


@dataclass
class SetClock:
    """A clock that shows what a test sets."""

    floor_ms: int = 0
    moment: Known | None = None

    def now(self) -> Instant:
        return Instant(wall_ms=NOW_MS, monotonic_ms=1, clock=ClockState.TRUSTED)

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        self.floor_ms, self.moment = issued_at_ms, Known(issued_at_ms, uncertainty_ms)

    def known(self) -> Known | None:
        return self.moment


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    identity = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
    opened = Store(Database(tmp_path / "journal.db", identity, new_epoch=bytes(8)), max_events=10)
    yield opened
    await opened.aclose()


async def test_nothing_is_kept_of_a_time_that_nobody_knows(store: Store):
    await ClockKeeper(store, SetClock()).keep()
    assert await recall_known(store) is None
    assert await store.number(FLOOR) == 0


async def test_the_floor_and_the_known_time_are_kept_together(store: Store):
    clock = SetClock()
    keeper = ClockKeeper(store, clock)
    clock.signed_time(issued_at_ms=NOW_MS, uncertainty_ms=17)
    await keeper.keep()
    assert await recall_known(store) == Known(NOW_MS, 17)
    assert await store.number(FLOOR) == NOW_MS


@pytest.mark.parametrize(("later_ms", "kept"), [(KNOWN_EVERY_MS - 1, False), (KNOWN_EVERY_MS, True)])
async def test_the_known_time_is_kept_anew_every_ten_minutes(store: Store, later_ms: int, *, kept: bool):
    clock = SetClock(moment=Known(NOW_MS, 17))
    keeper = ClockKeeper(store, clock)
    await keeper.keep()
    clock.moment = Known(NOW_MS + later_ms, 18)
    await keeper.keep()
    assert await recall_known(store) == (clock.moment if kept else Known(NOW_MS, 17))


async def test_a_time_that_was_ahead_is_corrected(store: Store):
    clock = SetClock(moment=Known(NOW_MS + 2 * KNOWN_EVERY_MS, 5))
    keeper = ClockKeeper(store, clock)
    await keeper.keep()
    clock.moment = Known(NOW_MS, 6)
    await keeper.keep()
    assert await recall_known(store) == Known(NOW_MS, 6)
