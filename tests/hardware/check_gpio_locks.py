"""What every lock promises, kept by a relay on a line of the kernel's simulated GPIO chip."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import gpiod
import pytest

from edge.ports import Lock, LockError, Reason
from firmware_adapters.catalogue import open_lock
from firmware_adapters.worker_lock import WorkerLock
from tests.contract import test_locks as suite
from tests.support.gpio_sim import GpioSim
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# The contract's own tests, with this bench in place of its others.
globals().update({name: each for name, each in vars(suite).items() if name.startswith("test_")})


class GpioLockBench:
    """A relay on a line, read back from outside."""

    def __init__(self, options: str = "") -> None:
        self.sim = GpioSim({4: "RELAY_1"})
        self.url = f"gpio://{self.sim.path}?lock=4{options}"

    def open(self) -> Lock:
        return open_lock(self.url)

    def unlocked(self) -> bool:
        return self.sim.value(4) == "1"


@pytest.fixture(name="bench")
def _bench() -> Iterator[GpioLockBench]:
    bench = GpioLockBench()
    yield bench
    bench.sim.remove()


@pytest.fixture(name="lock")
async def _lock(bench: GpioLockBench) -> AsyncIterator[Lock]:
    lock = bench.open()
    yield lock
    async with asyncio.timeout(DEADLINE_S):
        await lock.aclose()


async def test_a_line_is_found_by_its_name(bench: GpioLockBench):
    lock = open_lock(f"gpio://{bench.sim.path}?lock=RELAY_1&fail=safe")
    assert bench.unlocked()  # powered: a fail-safe lock is locked while it has power
    await lock.energise(hold_ms=60_000, cause_seq=1)
    assert not bench.unlocked()
    await lock.aclose()


async def test_a_line_in_use_is_told_with_its_user(bench: GpioLockBench):
    with (
        gpiod.request_lines(bench.sim.path, consumer="somebody-else", config={4: gpiod.LineSettings()}),
        pytest.raises(LockError) as caught,
    ):
        bench.open()
    assert caught.value.reason is Reason.BUSY
    assert "somebody-else" in caught.value.what


def test_a_line_that_the_chip_lacks_is_told(bench: GpioLockBench):
    for line in ("32", "NO_SUCH_NAME"):
        with pytest.raises(LockError) as caught:
            open_lock(f"gpio://{bench.sim.path}?lock={line}")
        assert caught.value.reason is Reason.UNSUPPORTED


async def test_the_process_that_holds_the_line_is_replaced_when_it_dies(bench: GpioLockBench, lock: Lock):
    assert isinstance(lock, WorkerLock)
    await lock.energise(hold_ms=600_000, cause_seq=1)
    first = lock.worker_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: lock.worker_pid not in {None, first} and bench.unlocked())
    await lock.release()
    assert not bench.unlocked()
