"""The cloud is lost, and restored from a backup that it made while it served."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING, Final

from tests.faults.table import Fault, Injected
from tests.support.commands import run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from doorward.fleet.door import FleetDoor
    from tests.faults.system import System

_GOES_ON_S: Final = (0.2, 1.0)
_REACH_S: Final = 60.0
_PASS: Final = {"kind": "visitor", "accessLevels": [1], "lifetimeS": 3_600}


async def _restore(system: System, chance: random.Random, wanted: int) -> Injected:
    """Lose the cloud some time after `doorward cloud backup`, and put `doorward cloud restore` in its place.

    One pass is revoked after the backup, which the restored cloud knows nothing of, and two after it, of which one
    before doors reach it: every door must come to hold the two, in a list with a higher number than its own.
    """
    del wanted
    service = system.service
    made = await _doorward("cloud", "backup", "--state", service.state, "--to", system.folder / "backups")
    held = {door: door.journal.durable for door in system.doors}
    before = max(map(_revoked, system.doors))
    await _revoke(system)
    await _everywhere(system, before + 1)
    system.visit_all()
    await system.recovered()
    await asyncio.sleep(chance.uniform(*_GOES_ON_S))
    await service.kill()
    system.part()  # the machine is gone: nobody answers at its address, not even with a refusal
    await service.kill_database()
    await service.stop_broker()
    assert all(door.journal.durable > mark for door, mark in held.items()), "nothing is newer than the backup"
    lists = max(map(_sequence, system.doors))
    await asyncio.to_thread(shutil.rmtree, service.state)
    await _doorward("cloud", "restore", "--from", made, "--state", service.state)
    await service.start()
    await service.start_broker()
    await _revoke(system)  # before doors reach it, as docs/operations.md has it
    system.join()
    began_s = time.monotonic()
    system.visit_all()
    await _revoke(system)
    await _everywhere(system, before + 2)
    assert min(map(_sequence, system.doors)) > lists
    await system.recovered()
    recovery_s = time.monotonic() - began_s
    await asyncio.to_thread(shutil.rmtree, system.folder / "backups")
    return Injected(1, recovery_s=(recovery_s,))


async def _doorward(*arguments: str | Path) -> str:
    """Run a command; gives the folder that it made."""
    ran = await asyncio.to_thread(run_program, *arguments, "--json", environment={"DATABASE_URL": ""})
    assert ran.code == 0, ran.err
    return str(ran.record.get("folder", ""))


async def _revoke(system: System) -> None:
    """Issue a pass and revoke it."""

    def revoke() -> None:
        with system.service.api() as api:
            place = ("institutions", system.campus.tenant, "passes")
            made = api.post(*place, body=_PASS)
            api.post(*place, made["passId"], "revoke")

    await asyncio.to_thread(revoke)


async def _everywhere(system: System, count: int) -> None:
    """Wait until every door knows of so many revoked passes."""
    try:
        await until(lambda: all(_revoked(door) == count for door in system.doors), deadline_s=_REACH_S)
    except TimeoutError as error:
        known = [_revoked(door) for door in system.doors]
        message = f"{count} revoked passes are not known everywhere: {known}"
        raise AssertionError(message) from error


def _revoked(door: FleetDoor) -> int:
    return sum(bits.bit_count() for status in door.materials.statuses.values() for bits in status.bits)


def _sequence(door: FleetDoor) -> int:
    return max((status.sequence for status in door.materials.statuses.values()), default=0)


BACKUPS: Final = (Fault("cloud restored from its own backup", 2, _restore),)
