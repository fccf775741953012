"""The cloud's disk: power cut under it, or full."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from tests.faults.processes import SHORTLY_S
from tests.faults.table import Fault, Injected, stands_still
from tests.faults.volume import why_no_volume

if TYPE_CHECKING:
    import random

    from tests.faults.system import System

_FULL_S: Final = (0.0, 2.0)
_BITES_S: Final = 60.0
"""Until then PostgreSQL has used up what it holds ready: segments of its log, free places in its pages."""


async def _power_cut(system: System, chance: random.Random, wanted: int) -> Injected:
    """The machine of the cloud loses its power, with everything that is not on its disk."""
    del wanted
    assert system.volume is not None
    system.visit_all()
    await asyncio.sleep(chance.uniform(*SHORTLY_S))
    system.volume.cut_power()
    system.part()
    await system.service.kill()
    await system.service.kill_database()
    await system.service.stop_broker()
    await system.volume.unmount()
    system.volume.mount()
    await system.service.start()
    await system.service.start_broker()
    await system.look()
    system.join()
    return Injected(1)


async def _full(system: System, chance: random.Random, wanted: int) -> Injected:
    """The disk is full to the last block for a while; PostgreSQL cannot write its log."""
    del wanted
    assert system.volume is not None
    with system.volume.filled():
        system.visit_all()
        if not await stands_still(
            lambda: sum(door.journal.durable for door in system.doors), still_s=1.0, patience_s=_BITES_S
        ):
            return Injected(0)
        await asyncio.sleep(chance.uniform(*_FULL_S))
    return Injected(1)


async def _restore(system: System, chance: random.Random, wanted: int) -> Injected:
    """The cloud is put back to a copy of its folder that is older than what it has acknowledged since."""
    del wanted
    copy, state = system.folder / "copy", system.service.state
    await system.service.stop()
    await asyncio.to_thread(_copy, state, copy)
    await system.service.start()
    system.visit_all()
    await system.recovered()
    await asyncio.sleep(chance.uniform(0.2, 1.0))
    await system.service.stop()
    await system.service.stop_broker()
    await asyncio.to_thread(_replace, state, copy)
    await system.service.start()
    await system.service.start_broker()
    # A door learns of it with its next batch, at the latest with its probe of every quarter of an hour.
    system.visit_all()
    return Injected(1)


def _copy(state: object, copy: object) -> None:
    shutil.rmtree(str(copy), ignore_errors=True)
    _copy_tree(str(state), str(copy))


def _replace(state: object, copy: object) -> None:
    shutil.rmtree(str(state))
    _copy_tree(str(copy), str(state))


def _copy_tree(source: str, target: str) -> None:
    """Copy with owners and permissions: PostgreSQL refuses a data folder that is another's."""
    subprocess.run(["cp", "-a", source, target], check=True)  # noqa: S607


def _no_volume(system: System) -> str | None:
    return None if system.volume is not None else why_no_volume() or "the volume was not mounted"


POWER_CUT: Final = Fault("power cut under PostgreSQL", 8, _power_cut, why_not=_no_volume)
DISKS: Final = (
    POWER_CUT,
    Fault("disk full under PostgreSQL", 2, _full, why_not=_no_volume),
    Fault("cloud restored to an older state", 2, _restore),
)
