"""The whole tap: from the bytes of a reader to the lock being commanded, with the event durable in between.

The shipped controller, store and simulated lock of a door, fed with codes of passes that were never seen before. The
floor of the same round is what no door can do without: the two bare signature checks and one bare commit of the same
bytes.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.door import PASSES, PLACE, World, make_world
from benchmarks.journal import IDENTITY, BareJournal, granted
from benchmarks.measure import Times, compared_p99, quiet_collector
from benchmarks.result import Result
from benchmarks.verify import BareChecks, bare_checks
from edge.clock import Known, LadderClock, RealSystem, monotonic_ms, wall_ms
from edge.controller import Controller
from edge.core.credential import Medium, Presentation
from edge.core.replay import make_mark
from edge.core.tap import PolicyReplaced, State, Tap, TrustReplaced
from edge.database import Database, Entry
from edge.logs import log_as_json
from edge.ports import Lock, LockInfo
from edge.store import Store
from firmware_adapters.catalogue import open_lock

ROUNDS: Final = 1_000
_WARM_UP: Final = 50
_DEADLINE_S: Final = 10.0


class WatchedLock:
    """The door's own lock, with the moment at which it was commanded.

    Attributes:
        commanded_ns: `time.perf_counter_ns` when `energise` was called last.
        done: set once the lock has carried it out.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.commanded_ns = 0
        self.done = asyncio.Event()

    @property
    def info(self) -> LockInfo:
        """Tell what the lock is."""
        return self._lock.info

    async def energise(self, *, hold_ms: int, cause_seq: int) -> None:
        """Note the moment, then unlock."""
        self.commanded_ns = time.perf_counter_ns()
        await self._lock.energise(hold_ms=hold_ms, cause_seq=cause_seq)
        self.done.set()

    async def release(self) -> None:
        """Secure the door."""
        await self._lock.release()

    async def aclose(self) -> None:
        """Free the lock."""
        await self._lock.aclose()


def run() -> Iterable[Result]:
    """Measure `tap`; what counts is the 99th percentile of both."""
    with tempfile.TemporaryDirectory(prefix="doorward-bench-") as folder, _unread_log():
        subject, floor = asyncio.run(_measure(Path(folder)))
    told = f"{_NOTE}; the floor's median is {floor.median / 1_000_000:.3f} ms"
    yield compared_p99("tap", subject, floor, must="p99 <= 2.0 of the floor's p99", note=told)


@contextlib.contextmanager
def _unread_log() -> Iterator[None]:
    """Let the daemon write its log lines where nobody reads them: their cost belongs to a tap."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        log_as_json()
        yield


async def _measure(folder: Path) -> tuple[Times, Times]:
    world = make_world(holders=ROUNDS + _WARM_UP, codes_a_holder=1, now_ms=int(time.time() * 1000))
    store = Store(Database(folder / "journal.db", IDENTITY, new_epoch=bytes(8)), max_events=250_000)
    lock = WatchedLock(open_lock(f"simulated://{folder / 'door'}"))
    controller = Controller(
        State(place=PLACE),
        clock=LadderClock(RealSystem(), rtc=True, floor_ms=0, known=Known(wall_ms(), 0)),
        store=store,
        lock=lock,
        readers={},
        journaled=lambda _event: None,
    )
    await controller.keep_recording()
    controller.feed(TrustReplaced(world.believing(bytes(PASSES // 8)), None))
    controller.feed(PolicyReplaced(world.policy))
    bare = BareJournal(folder / "bare.db")
    driving = asyncio.create_task(controller.drive_lock())
    try:
        async with asyncio.timeout(_DEADLINE_S * 60):
            return await _rounds(world, controller, lock, bare, await _event_bytes(store, world))
    finally:
        controller.stop()
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        await lock.aclose()
        await store.aclose()
        bare.close()


async def _event_bytes(store: Store, world: World) -> bytes:
    return (await store.append(Entry(draft=granted(world.now)))).data


async def _rounds(
    world: World, controller: Controller, lock: WatchedLock, bare: BareJournal, data: bytes
) -> tuple[Times, Times]:
    checks = [bare_checks(world, payload) for payload in world.presentations]
    taps: list[int] = []
    floors: list[int] = []
    with quiet_collector():
        for number, payload in enumerate(world.presentations):
            if number % 2:
                floors.append(_floor_ns(number, checks[number], bare, data, world))
            taps.append(await _tap_ns(controller, lock, payload))
            if not number % 2:
                floors.append(_floor_ns(number, checks[number], bare, data, world))
    return Times(taps[_WARM_UP:]), Times(floors[_WARM_UP:])


def _floor_ns(number: int, checks: BareChecks, bare: BareJournal, data: bytes, world: World) -> int:
    mark = make_mark(number.to_bytes(32, "big"), world.now)
    started = time.perf_counter_ns()
    checks.both()
    bare.commit(number + 1, data, mark)
    return time.perf_counter_ns() - started


async def _tap_ns(controller: Controller, lock: WatchedLock, payload: bytes) -> int:
    lock.done.clear()
    started = time.perf_counter_ns()
    controller.feed(Tap(Presentation("outside", Medium.QR, payload, monotonic_ms())))
    async with asyncio.timeout(_DEADLINE_S):
        await lock.done.wait()
    return lock.commanded_ns - started


_NOTE = (
    "bytes of a reader to the call of the lock's energise, the event durable before it; value and floor are 99th "
    "percentiles; floor: both bare signature checks and one bare commit of event and replay mark in the same round; "
    "the simulated relay's own files are written after the call and not counted"
)
