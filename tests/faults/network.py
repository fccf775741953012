"""Faults of the network, on live connections between doors and cloud.

Each is counted by connection: one that was reset, cut, corrupted, held.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.faults.table import Fault, Injected
from tests.support.tcp_proxy import Answer, Connection

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from tests.faults.system import System
    from tests.support.tcp_proxy import Pipe, TcpProxy

    Line = Callable[[System], TcpProxy]

AT_ONCE: Final = 8
"""Connections that a round disturbs at most."""
_SOON_S: Final = 3.0
_OUTAGE_S: Final = (0.3, 1.5)


def to_cloud(system: System) -> TcpProxy:
    """Give the line between doors and the cloud's listener."""
    return system.proxy


def to_broker(system: System) -> TcpProxy:
    """Give the line between doors and the broker."""
    return system.broker_proxy


async def reset(system: System, chance: random.Random, wanted: int, *, line: Line = to_cloud) -> Injected:
    """Reset live connections."""
    found = _some(line(system).live, chance, wanted)
    for connection in found:
        connection.reset()
    return Injected(len(found))


async def cut(system: System, chance: random.Random, wanted: int, *, answer: Answer, line: Line = to_cloud) -> Injected:
    """Cut connections exactly when a batch's answer comes: what was committed is not told, or told and then cut."""
    armed = _some(line(system).live, chance, 4 * wanted, at_once=4 * AT_ONCE)
    for connection in armed:
        connection.cut_on_answer(answer)
    system.visit_all()
    await _any(connection.closed for connection in armed)
    cut = [connection for connection in armed if connection.closed.is_set()]
    for connection in armed:
        connection.spare()
    return Injected(len(cut))


async def edit(
    system: System,
    chance: random.Random,
    wanted: int,
    *,
    change: Callable[[Pipe, random.Random], None],
    line: Line = to_cloud,
) -> Injected:
    """Change what goes over the line, in one direction of each connection."""
    pipes = [chance.choice((each.up, each.down)) for each in _some(line(system).live, chance, wanted)]
    for pipe in pipes:
        pipe.edited.clear()
        change(pipe, chance)
    system.visit_all()
    await _any(pipe.edited for pipe in pipes)
    done = sum(pipe.edited.is_set() for pipe in pipes)
    for pipe in pipes:
        pipe.edits.clear()
    return Injected(done)


async def half_open(system: System, chance: random.Random, wanted: int, *, line: Line = to_cloud) -> Injected:
    """Let connections be half-open for good: the doors must find out by themselves."""
    found = _some(line(system).live, chance, wanted, at_once=2 * AT_ONCE)
    for connection in found:
        connection.freeze()
    system.visit_all()
    return Injected(len(found))


async def slow(
    system: System, chance: random.Random, wanted: int, *, delay_s: float = 0.0, bytes_per_s: float | None = None
) -> Injected:
    """Let live connections be slow for a while."""
    found = _some(system.proxy.live, chance, wanted)
    for connection in found:
        connection.slow(delay_s=delay_s, bytes_per_s=bytes_per_s)
    system.visit_all()
    await asyncio.sleep(chance.uniform(*_OUTAGE_S))
    for connection in found:
        connection.slow()
    return Injected(len(found))


async def partition(system: System, chance: random.Random, wanted: int, *, line: Line = to_cloud) -> Injected:
    """Let nothing through for a while; what was under way then arrives late."""
    del wanted
    line(system).partition()
    system.visit_all()
    await asyncio.sleep(chance.uniform(*_OUTAGE_S))
    line(system).heal()
    return Injected(1)


async def partition_and_reset(system: System, chance: random.Random, wanted: int) -> Injected:
    """Let nothing through for a while; what was under way never arrives."""
    await partition(system, chance, wanted)
    system.proxy.reset_all()
    return Injected(1)


async def refuse(system: System, chance: random.Random, wanted: int) -> Injected:
    """Hang up on everybody for a while."""
    del wanted
    system.proxy.refuse()
    system.proxy.reset_all()
    system.visit_all()
    await asyncio.sleep(chance.uniform(*_OUTAGE_S))
    system.proxy.admit()
    return Injected(1)


async def cut_anywhere(system: System, chance: random.Random, wanted: int) -> Injected:
    """Reset a connection within a batch or its answer, after a random number of bytes."""
    found = _some(system.proxy.live, chance, wanted)
    for connection in found:
        pipe = chance.choice((connection.up, connection.down))
        pipe.cut_at = pipe.passed + chance.randint(1, 400)
    system.visit_all()
    await _any(connection.closed for connection in found)
    done = sum(connection.closed.is_set() for connection in found)
    for connection in found:
        connection.up.cut_at = connection.down.cut_at = None
    return Injected(done)


def _some(live: list[Connection], chance: random.Random, wanted: int, *, at_once: int = AT_ONCE) -> list[Connection]:
    return chance.sample(live, min(len(live), wanted, at_once))


async def _any(events: Iterable[asyncio.Event]) -> None:
    """Wait until all have happened, but not long: a connection that carries nothing has nothing to break."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SOON_S / 4):
            for event in events:
                await event.wait()


CHANGES: Final[dict[str, Callable[[Pipe, random.Random], None]]] = {
    "corrupted": lambda pipe, chance: pipe.corrupt(chance),
    "lost": lambda pipe, chance: pipe.drop(chance),
    "duplicated": lambda pipe, _: pipe.duplicate(),
    "reordered": lambda pipe, chance: pipe.reorder(chance),
}
NETWORK: Final = (
    Fault("acknowledgement lost after the commit", 50, partial(cut, answer=Answer.BEGUN)),
    Fault("connection cut after the acknowledgement", 20, partial(cut, answer=Answer.FINISHED)),
    Fault("connection cut within a batch or answer", 20, cut_anywhere),
    Fault("connection reset", 32, reset),
    Fault("bytes corrupted", 20, partial(edit, change=CHANGES["corrupted"])),
    Fault("bytes lost", 12, partial(edit, change=CHANGES["lost"])),
    Fault("bytes duplicated", 12, partial(edit, change=CHANGES["duplicated"])),
    Fault("bytes reordered", 12, partial(edit, change=CHANGES["reordered"])),
    Fault("delay of 0.4 s a piece", 16, partial(slow, delay_s=0.4)),
    Fault("line of 2 kB/s", 12, partial(slow, bytes_per_s=2_000.0)),
    Fault("half-open connection", 16, half_open),
    Fault("partition, then late arrival", 5, partition),
    Fault("partition, then reset", 5, partition_and_reset),
    Fault("connections refused", 5, refuse),
)
