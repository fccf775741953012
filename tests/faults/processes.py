"""Processes that die or hang: the cloud, its PostgreSQL, one backend of that."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from tests.faults.service import START_S
from tests.faults.table import Fault, Injected
from tests.support.waiting import until

if TYPE_CHECKING:
    import random

    from tests.faults.system import System

_HANG_S: Final = (0.5, 2.5)
SHORTLY_S: Final = (0.0, 0.15)
"""After people have come: while their events go up, are committed, or have just been acknowledged."""


async def _kill_cloud(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of the service; whoever keeps it alive starts it again at once."""
    del wanted
    system.visit_all()
    await asyncio.sleep(chance.uniform(*SHORTLY_S))
    await system.service.kill()
    system.part()
    await system.service.start()
    await system.look()
    system.join()
    return Injected(1)


async def _stop_cloud(system: System, chance: random.Random, wanted: int) -> Injected:
    """A clean stop and start, as for an update."""
    del chance, wanted
    system.visit_all()
    await system.service.stop()
    await system.service.start()
    return Injected(1)


async def _hang_cloud(system: System, chance: random.Random, wanted: int) -> Injected:
    del wanted
    system.service.suspend()
    system.visit_all()
    await asyncio.sleep(chance.uniform(*_HANG_S))
    system.service.resume()
    return Injected(1)


async def _kill_postgres(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of the postmaster; the cloud starts it again by itself."""
    del wanted
    before = system.service.postmaster_pid()
    assert before is not None
    system.visit_all()
    await asyncio.sleep(chance.uniform(*SHORTLY_S))
    os.kill(before, signal.SIGKILL)
    system.part()
    await until(lambda: system.service.postmaster_pid() not in (None, before), deadline_s=START_S)
    await system.look()
    system.join()
    return Injected(1)


async def _kill_backend(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of one of its processes that serves the cloud: PostgreSQL then restarts all of them."""
    del wanted
    connection = await system.database()
    try:
        rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'doorward-cloud'")
    finally:
        await connection.close()
    if not rows:
        return Injected(0)
    system.visit_all()
    try:
        os.kill(chance.choice(rows)["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return Injected(0)
    return Injected(1)


KILL_CLOUD: Final = Fault("kill -9 of the cloud", 12, _kill_cloud)
PROCESSES: Final = (
    KILL_CLOUD,
    Fault("stop and start of the cloud", 2, _stop_cloud),
    Fault("cloud hangs", 5, _hang_cloud),
    Fault("kill -9 of PostgreSQL", 10, _kill_postgres),
    Fault("kill -9 of one PostgreSQL process", 10, _kill_backend),
)
