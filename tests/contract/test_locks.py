"""What every lock promises (edge/ports.py), tried on each of them; what the relay did is seen from outside."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pytest

from edge.ports import Lock, LockError, Reason
from firmware_adapters.catalogue import open_lock
from tests.support.gpio_bench import FilesLockBench
from tests.support.modbus_bench import ModbusLockBench
from tests.support.simulated import door
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


class LockBench(Protocol):
    """A lock whose relay a test can see."""

    def open(self) -> Lock: ...

    def unlocked(self) -> bool: ...

    def dispose(self) -> None: ...


class SimulatedBench:
    """The simulated lock, seen through its state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "door"

    def open(self) -> Lock:
        return open_lock(f"simulated://{self._folder}")

    def unlocked(self) -> bool:
        return bool(door(self._folder)["lock"] == "unlocked")

    def dispose(self) -> None:
        """Nothing is held."""


_BENCHES: dict[str, Callable[[Path], LockBench]] = {
    "simulated": SimulatedBench,
    "gpio+files": FilesLockBench,
    "modbus+tcp": ModbusLockBench,
    "modbus": partial(ModbusLockBench, serial=True),
}


@pytest.fixture(params=_BENCHES, name="bench")
def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LockBench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    bench.dispose()


@pytest.fixture(name="lock")
async def _lock(bench: LockBench) -> AsyncIterator[Lock]:
    lock = bench.open()
    yield lock
    async with asyncio.timeout(DEADLINE_S):
        await lock.aclose()


async def test_a_lock_is_secure_when_it_is_opened(bench: LockBench, lock: Lock):
    assert lock.info.id
    assert not bench.unlocked()


async def test_energise_unlocks_before_it_returns(bench: LockBench, lock: Lock):
    await lock.energise(hold_ms=60_000, cause_seq=7)
    assert bench.unlocked()


async def test_release_secures_before_it_returns(bench: LockBench, lock: Lock):
    await lock.energise(hold_ms=60_000, cause_seq=7)
    await lock.release()
    assert not bench.unlocked()


async def test_a_lock_that_nobody_releases_releases_itself_after_hold_ms(bench: LockBench, lock: Lock):
    began_s = time.monotonic()
    await lock.energise(hold_ms=150, cause_seq=7)
    await until(lambda: not bench.unlocked())
    # The relay's timer may fire up to one tick of the event loop's clock early.
    assert time.monotonic() - began_s >= 0.149


async def test_a_later_energise_replaces_the_time_that_is_left(bench: LockBench, lock: Lock):
    await lock.energise(hold_ms=60_000, cause_seq=7)
    await lock.energise(hold_ms=50, cause_seq=8)
    await until(lambda: not bench.unlocked())


async def test_an_earlier_deadline_does_not_cut_a_later_energise_short(bench: LockBench, lock: Lock):
    await lock.energise(hold_ms=50, cause_seq=7)
    await lock.energise(hold_ms=60_000, cause_seq=8)
    await asyncio.sleep(0.1)
    assert bench.unlocked()


async def test_release_is_harmless_when_secure(bench: LockBench, lock: Lock):
    await lock.release()
    await lock.release()
    assert not bench.unlocked()


async def test_closing_leaves_it_released_and_a_second_close_is_harmless(bench: LockBench, lock: Lock):
    await lock.energise(hold_ms=60_000, cause_seq=7)
    await lock.aclose()
    await lock.aclose()
    assert not bench.unlocked()


async def test_a_closed_lock_is_not_driven(bench: LockBench, lock: Lock):
    await lock.aclose()
    with pytest.raises(LockError) as caught:
        await lock.energise(hold_ms=1000, cause_seq=7)
    assert caught.value.reason is Reason.CLOSED
    assert not bench.unlocked()


@pytest.mark.parametrize("hold_ms", [0, -1, 86_400_001])
async def test_a_hold_outside_its_bounds_is_refused(bench: LockBench, lock: Lock, hold_ms: int):
    with pytest.raises(LockError) as caught:
        await lock.energise(hold_ms=hold_ms, cause_seq=7)
    assert caught.value.reason is Reason.UNSUPPORTED
    assert not bench.unlocked()


@pytest.mark.parametrize("hold_ms", [1, 86_400_000])
async def test_a_hold_at_its_bounds_is_taken(bench: LockBench, lock: Lock, hold_ms: int):
    await lock.energise(hold_ms=hold_ms, cause_seq=7)
    await lock.release()
    assert not bench.unlocked()


async def test_a_lock_in_use_cannot_be_opened_twice_until_it_is_closed(bench: LockBench, lock: Lock):
    with pytest.raises(LockError) as caught:
        bench.open()
    assert caught.value.reason is Reason.BUSY
    await lock.aclose()
    again = bench.open()
    await again.aclose()
