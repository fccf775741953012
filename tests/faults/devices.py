"""Devices that are not what they should be: made anew, copied, stolen, posing as another, sending too much; clocks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import httpx
from cryptography import x509

from doorward.fleet.crew import make_door
from doorward.fleet.door import FleetDoor
from doorward.fleet.materials import Shared
from doorward.fleet.people import draw_visit
from doorward.fleet.uplink import Traffic
from sync.ports import Reason, UplinkError
from tests.faults.odd_cloud import CLOCK
from tests.faults.table import Fault, Injected
from tests.support.clouds import trusting
from tests.support.waiting import until
from wire.batch import seal_batch
from wire.messages import DEVICE_EVENTS, MEDIA_COSE

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from doorward.fleet.campus import Enrolled
    from tests.faults.system import System

_EVENTS: Final = 20
_FLOOD: Final = 12
"""Batches of one device at a time; the cloud takes eight, on 16 connections with those of the door itself."""
_GATHER_S: Final = 0.4
_HOUR_MS: Final = 3_600_000
_JUMPS_MS: Final = (_HOUR_MS, -_HOUR_MS, 30 * 24 * _HOUR_MS, -30 * 24 * _HOUR_MS, -120_000, 120_000)
_DRAIN_S: Final = 60.0


async def spare(system: System) -> Enrolled:
    """Take an enrolled door that does not run."""
    if not system.spares:
        await system.enrol_more()
    name = system.spares.pop(0)
    return next(each for each in system.campus.doors if each.door == name)


@asynccontextmanager
async def _running(door: FleetDoor) -> AsyncIterator[FleetDoor]:
    """Run a door until the block ends; one that the cloud refuses ends by itself."""
    task = asyncio.create_task(door.run())
    try:
        async with asyncio.timeout(_DRAIN_S):
            await door.ready.wait()
        yield door
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, UplinkError):
            await task


def _make(system: System, each: Enrolled) -> FleetDoor:
    return make_door(system.campus, system.orders, each, Shared(), Traffic())


def _visits(door: FleetDoor, chance: random.Random, count: int = _EVENTS) -> None:
    for _ in range(count):
        door.visit(draw_visit(chance))
    door.leave_alone()


async def _drained(door: FleetDoor) -> None:
    await until(door.drained, deadline_s=_DRAIN_S)


async def _reimage(system: System, chance: random.Random, wanted: int) -> Injected:
    """A device starts anew with an empty store: nothing of it is taken until an operator has accepted the new epoch."""
    del wanted
    each = await spare(system)
    async with _running(_make(system, each)) as before:
        _visits(before, chance)
        await _drained(before)
    system.campus.journal(each.door).unlink()
    async with _running(_make(system, each)) as anew:
        _visits(anew, chance)
        await until(lambda: _reason(anew) is Reason.QUARANTINED, deadline_s=_DRAIN_S)
        assert anew.journal.durable == 0, "a journal that nobody accepted was taken"
    await _release(system, each, accept=anew.journal.epoch)
    await _go_on(system, each, anew, chance)
    system.past.append(before.record())
    return Injected(1)


async def _copy(system: System, chance: random.Random, wanted: int) -> Injected:
    """Two devices write one journal from a copied memory card: nothing of the second story is taken, and both wait."""
    del wanted
    each = await spare(system)
    async with _running(_make(system, each)) as original:
        _visits(original, chance)
        await _drained(original)
        copy = FleetDoor(_make(system, each).parts, continues=original.journal)
        _visits(original, chance, 1)
        await _drained(original)
        async with _running(copy):
            _visits(copy, chance, 1)
            await until(lambda: _reason(copy) in _ALARMED, deadline_s=_DRAIN_S)
            _visits(original, chance)
            await until(lambda: _reason(original) is Reason.QUARANTINED, deadline_s=_DRAIN_S)
    await _release(system, each, accept=None)
    await _go_on(system, each, original, chance)
    return Injected(1)


_ALARMED: Final = frozenset({Reason.CHAIN_BROKEN, Reason.QUARANTINED})


async def _release(system: System, each: Enrolled, *, accept: bytes | None) -> None:
    """Let a device out of quarantine, as an operator does who has looked at it."""

    def post() -> None:
        with system.service.api() as api:
            place = ("institutions", system.campus.tenant, "devices", each.device, "quarantine", "release")
            api.post(*place, body={"acceptEpoch": None if accept is None else accept.hex()})

    await asyncio.to_thread(post)


async def _go_on(system: System, each: Enrolled, door: FleetDoor, chance: random.Random) -> None:
    """Restart a door that was released: all that it had kept arrives."""
    unlocks = tuple(door.unlocks)
    async with _running(_make(system, each)) as again:
        assert again.journal.epoch == door.journal.epoch
        again.unlocks += unlocks
        _visits(again, chance)
        await _drained(again)
    system.past.append(again.record())


def _reason(door: FleetDoor) -> Reason | None:
    return None if door.notice_now is None else door.notice_now.reason


async def _steal(system: System, chance: random.Random, wanted: int) -> Injected:
    """A device is revoked; whoever holds its key is refused from then on, and what it told before stays."""
    del wanted
    each = await spare(system)

    def revoke() -> None:
        with system.service.api() as api:
            api.post("institutions", system.campus.tenant, "devices", each.device, "revoke")

    async with _running(_make(system, each)) as door:
        _visits(door, chance)
        await _drained(door)
        record = door.record()
        await asyncio.to_thread(revoke)
        _visits(door, chance)
        await until(lambda: _reason(door) is Reason.NOT_ENROLLED, deadline_s=_DRAIN_S)
        assert door.journal.durable == record.last, "a revoked device was believed"
    system.past.append(record)
    return Injected(1)


async def _pose(system: System, chance: random.Random, wanted: int) -> Injected:
    """A device sends a batch that tells of another, signed by itself, and one signed by the other."""
    del wanted
    mine, other = chance.sample(system.doors, 2)
    system.visit_all()
    mine_events = await mine.journal.events_after(0, 3)
    batches = [
        seal_batch(
            device=named.journal.device,
            epoch=mine.journal.epoch,
            first=mine_events[0][0],
            events=[data for _, data in mine_events],
            signer=signer.parts.signer,
        )
        for named, signer in ((mine, other), (other, mine))
    ]
    for door, batch in zip((other, mine), batches, strict=True):
        reason = await _refusal(door, batch)
        assert reason in (Reason.REFUSED, Reason.NOT_ENROLLED), f"a batch of another device: {reason}"
    return Injected(2)


async def _refusal(door: FleetDoor, batch: bytes) -> Reason | None:
    try:
        await door.parts.uplink.send_batch(batch)
    except UplinkError as error:
        return error.reason
    return None


async def _flood(system: System, chance: random.Random, wanted: int) -> Injected:
    """A device sends far more batches at a time than the cloud takes: it is sent away, and nothing is stored twice."""
    del wanted
    door = chance.choice(system.https_doors)  # one answer over MQTT is that of all equal batches
    system.visit_all()  # what is in a backup has been forgotten, and may be all
    events = await door.journal.events_after(0, 100)
    batch = seal_batch(
        device=door.journal.device,
        epoch=door.journal.epoch,
        first=events[0][0],
        events=[data for _, data in events],
        signer=door.parts.signer,
    )
    each = next(found for found in system.campus.doors if found.device == door.parts.device)
    answers = await _send_at_once(system, each, batch)
    assert set(answers) <= {200, 503}, answers
    return Injected(1 if 503 in answers else 0)


async def _send_at_once(system: System, each: Enrolled, batch: bytes) -> list[int]:
    """Post a batch many times at once, as no door does."""
    context = trusting(x509.load_pem_x509_certificate(system.campus.ca.read_bytes()))
    context.load_cert_chain(system.campus.certificate(each.door), system.campus.key(each.door))
    limits = httpx.Limits(max_connections=_FLOOD)
    async with httpx.AsyncClient(
        base_url=system.service.device_url, verify=context, timeout=30, limits=limits
    ) as client:
        warm = [client.get("/device/v1/bootstrap") for _ in range(_FLOOD)]
        await asyncio.gather(*warm)
        # While the cloud stands still they gather at its door; then it finds all of them at once.
        system.service.suspend()
        headers = {"content-type": MEDIA_COSE}
        posts = asyncio.gather(*(client.post(DEVICE_EVENTS, content=batch, headers=headers) for _ in range(_FLOOD)))
        await asyncio.sleep(_GATHER_S)
        system.service.resume()
        return [answer.status_code for answer in await posts]


async def _cloud_clock(system: System, chance: random.Random, wanted: int) -> Injected:
    """The cloud's clock jumps, and back."""
    file = system.folder / "cloud-clock-offset-ms"
    if not system.service.odd:
        file.write_text("0")
        await system.service.stop()
        system.service.odd = (f"{CLOCK}{file}",)
        await system.service.start()
        await system.recovered()
    for offset_ms in (chance.choice(_JUMPS_MS), 0):
        file.write_text(json.dumps(offset_ms))
        system.visit_all()
        await asyncio.sleep(chance.uniform(0.1, 0.6))
    if wanted == 1:
        await system.service.stop()
        system.service.odd = ()
        await system.service.start()
    return Injected(1)


DEVICES: Final = (
    Fault("device made anew", 6, _reimage),
    Fault("device copied", 6, _copy),
    Fault("certificate stolen", 5, _steal),
    Fault("device posing as another", 8, _pose),
    Fault("more batches than the cloud takes", 6, _flood),
    Fault("cloud's clock jumps", 5, _cloud_clock),
)
