"""Faults of a real door: its daemon, its disk, its clock, and commands that it must not carry out."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.faults.table import Fault, Injected, stands_still
from tests.faults.volume import why_no_volume
from tests.support.twin import Daemon
from tests.support.waiting import until

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tests.faults.real_door import RealDoor
    from tests.faults.system import System

_LIFE_S: Final = 0.6
_START_S: Final = 0.8
_FULL_S: Final = (0.0, 1.5)
_BITES_S: Final = 15.0
"""How long a full disk may take until something has to be written to it that has no place."""
_HOUR_MS: Final = 3_600_000
_JUMPS_MS: Final = (_HOUR_MS, -_HOUR_MS, 24 * _HOUR_MS, -24 * _HOUR_MS, 10 * 365 * 24 * _HOUR_MS, -90_000)
_EXPIRES_S: Final = 1
_DOOR: Final = "real-door"


async def _kill(system: System, chance: random.Random, wanted: int) -> Injected:
    """SIGKILL of the daemon under taps; every third one while it starts."""
    door = await system.real_door()
    await door.running()
    await asyncio.sleep(chance.uniform(0, _LIFE_S))
    await door.kill()
    kills = 1
    if wanted > 1 and chance.random() < 0.5:
        starting = await Daemon.start(door.twin)
        await asyncio.sleep(chance.uniform(0, _START_S))
        await starting.kill()
        kills = 2
    return Injected(kills, (await _back(door),))


async def _power_cut(system: System, chance: random.Random, wanted: int) -> Injected:
    """The door's machine loses its power under taps, with everything that is not on its disk."""
    del wanted
    door, volume = await system.real_door(), system.edge_volume
    assert volume is not None
    await door.running()
    await asyncio.sleep(chance.uniform(0, _LIFE_S))
    volume.cut_power()
    await door.kill()
    await volume.unmount()
    volume.mount()
    return Injected(1, (await _back(door),))


async def _full(system: System, chance: random.Random, wanted: int) -> Injected:
    """The door's disk is full for a while: nobody may be let in whose event cannot be kept."""
    del wanted
    door, volume = await system.real_door(), system.edge_volume
    assert volume is not None
    await door.running()
    with volume.filled():
        if not await stands_still(lambda: len(door.unlocks()), still_s=0.5, patience_s=_BITES_S):
            return Injected(0)
        await asyncio.sleep(chance.uniform(*_FULL_S))
    return Injected(1, (await door.decided_again(),))


async def _clock_jump(system: System, chance: random.Random, wanted: int) -> Injected:
    """The door's clock jumps, and back."""
    del wanted
    door = await system.real_door()
    await door.running()
    file = door.twin.folder / "clock-offset-ms"
    for offset_ms in (chance.choice(_JUMPS_MS), 0):
        file.write_text(str(offset_ms))
        await asyncio.sleep(chance.uniform(0.1, 0.4))
    return Injected(1, (await door.decided_again(),))


async def _back(door: RealDoor) -> float:
    began_s = time.monotonic()
    await door.start()
    await door.decided_again()
    return time.monotonic() - began_s


# --- commands ----------------------------------------------------------------------------------------------------


async def _order(system: System, door: str, *, expires_in_s: int = 30) -> bytes:
    """Have the cloud sign an unlock and take it from the database, as whoever listens in could."""

    def post() -> str:
        with system.service.api() as api:
            body = {"action": "unlock", "expiresInS": expires_in_s}
            place = ("institutions", system.campus.tenant, "doors", door, "commands")
            return str(api.post(*place, body=body)["id"])

    name = await asyncio.to_thread(post)
    connection = await system.database()
    try:
        sealed = await connection.fetchval(
            "SELECT sealed FROM commands WHERE tenant_id = $1 AND encode(command_id, 'hex') = replace($2, '-', '')",
            system.campus.tenant,
            name,
        )
    finally:
        await connection.close()
    return bytes(sealed)


async def _command(
    system: System, chance: random.Random, wanted: int, *, kind: Callable[[System, RealDoor], Awaitable[str]]
) -> Injected:
    """Bring commands that must not be carried out, with the door cut off from the network."""
    del chance, wanted
    door = await system.real_door()
    await door.running()
    await door.send_people_away()
    # What was granted moves the relay before the line below counts.
    await asyncio.sleep(0.2)
    door.proxy.partition()
    try:
        reason = await kind(system, door)
    finally:
        door.proxy.heal()
        door.proxy.reset_all()
    assert reason, "the command was carried out"
    return Injected(1, ())


async def _refused(door: RealDoor, command: bytes, reason: str) -> str:
    before = door.unlocks()
    answer = await door.bring(command)
    assert not answer["carried_out"], answer
    assert door.unlocks() == before, "the relay moved"
    # After some refusals within ten seconds a door journals the rest of them together, without their reasons.
    assert reason in str(answer) or answer["events"] == [], answer
    return reason


async def _carried_out(door: RealDoor, command: bytes) -> None:
    before = door.unlocks()
    answer = await door.bring(command)
    assert answer["carried_out"], answer
    await until(lambda: len(door.unlocks()) == len(before) + 1)


async def _replayed(system: System, door: RealDoor) -> str:
    command = await _order(system, _DOOR)
    await _carried_out(door, command)
    return await _refused(door, command, "COMMAND_REPLAYED")


async def _reordered(system: System, door: RealDoor) -> str:
    first, second = await _order(system, _DOOR), await _order(system, _DOOR)
    await _carried_out(door, second)
    return await _refused(door, first, "COMMAND_REPLAYED")


async def _expired(system: System, door: RealDoor) -> str:
    command = await _order(system, _DOOR, expires_in_s=_EXPIRES_S)
    await asyncio.sleep(_EXPIRES_S + 1.0)
    return await _refused(door, command, "COMMAND_EXPIRED")


async def _foreign(system: System, door: RealDoor) -> str:
    command = await _order(system, system.campus.doors[0].door)
    return await _refused(door, command, "COMMAND_FOREIGN")


async def _forged(system: System, door: RealDoor) -> str:
    command = bytearray(await _order(system, _DOOR))
    command[-1] ^= 1
    return await _refused(door, bytes(command), "SIGNATURE_INVALID")


def _no_volume(system: System) -> str | None:
    return None if system.edge_volume is not None else why_no_volume() or "the volume was not mounted"


EDGE: Final = (
    Fault("kill -9 of a door's daemon", 20, _kill),
    Fault("power cut under a door's store", 8, _power_cut, why_not=_no_volume),
    Fault("disk full under a door's store", 3, _full, why_not=_no_volume),
    Fault("door's clock jumps", 6, _clock_jump),
    Fault("command replayed", 3, partial(_command, kind=_replayed)),
    Fault("command out of order", 3, partial(_command, kind=_reordered)),
    Fault("command expired", 3, partial(_command, kind=_expired)),
    Fault("command for another door", 3, partial(_command, kind=_foreign)),
    Fault("command forged", 3, partial(_command, kind=_forged)),
)
