"""A copied memory card: fork, quarantine, a new journal at the door, an operator's word, and events flow again."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud.events.ingest import QUARANTINE_RETRY_S
from cloud.settings import CloudSettings
from edge.config import EdgeConfig, load_config
from edge.core.effects import EventDraft
from edge.core.instant import Instant
from edge.database import Database, Entry, Identity
from edge.store import Store
from edge.synchronise import StoreJournal
from provisioning.plan import DesiredDoor
from sync.engine import SyncEngine
from sync.https_uplink import open_https_uplink
from sync.ports import Reason
from sync.surroundings import SystemSurroundings
from sync.tasks import end
from tests.support.clouds import LOOPBACK, RunningCloud, reachable_folder, running_cloud
from tests.support.commands import Ran, run_program
from tests.support.door_materials import MemoryMaterials
from tests.support.installer import provision
from tests.support.sync_bench import Listener
from wire.keys import P256Signer
from wire.names import ClockState, DeviceId, DoorId, EventKind
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TENANT = "oakfield"


@pytest.fixture
async def cloud() -> AsyncIterator[RunningCloud]:
    folder = reachable_folder()
    settings = CloudSettings(state=folder, api=LOOPBACK, devices=LOOPBACK, shutdown_s=2)
    async with running_cloud(settings) as running:
        await running.make_door(TENANT)
        yield running
    shutil.rmtree(folder)


@asynccontextmanager
async def synchronising(config: EdgeConfig, folder: Path) -> AsyncIterator[tuple[Store, SyncEngine]]:
    """Run the store and the synchronisation of a door, from a folder that may be a copy of its own."""
    assert config.cloud is not None
    files = config.cloud
    key = load_pem_private_key(files.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    device = DeviceId(config.device.id)
    identity = Identity(device=device, door=DoorId(config.device.door), access_point=config.device.access_point)
    store = Store(Database(folder / "journal.db", identity, new_epoch=b"epoch-01"), max_events=10_000)
    uplink = open_https_uplink(url=files.url, certificate=files.certificate, key=files.key, ca=files.ca)
    listener = Listener()
    engine = SyncEngine(
        journal=StoreJournal(store, device),
        materials=MemoryMaterials(parse_pinned((config.state_folder / "root.cbor").read_bytes()).root),
        uplink=uplink,
        signer=P256Signer(key),
        signed_time=listener,
        surroundings=SystemSurroundings(),
        notices=listener,
    )
    running = asyncio.create_task(engine.run())
    try:
        yield store, engine
    finally:
        await end((running,))
        await uplink.aclose()
        await store.aclose()


async def write(store: Store, engine: SyncEngine, count: int, kind: EventKind = EventKind.DOOR_OPENED) -> None:
    now = Instant(wall_ms=1_800_000_000_000, monotonic_ms=1_000, clock=ClockState.TRUSTED)
    await asyncio.gather(*(store.append(Entry(draft=EventDraft(kind=kind, at=now))) for _ in range(count)))
    engine.wake()


async def durable(engine: SyncEngine) -> int:
    marks = (await engine.status()).marks
    return 0 if marks is None else marks.durable


async def all_durable(engine: SyncEngine, count: int) -> None:
    async with asyncio.timeout(30):
        while await durable(engine) != count:  # noqa: ASYNC110 - the engine offers its status only
            await asyncio.sleep(0.02)


async def held_back(engine: SyncEngine, *reasons: Reason) -> None:
    """Wait until the cloud has refused, and see that it is left alone for as long as it asks."""
    async with asyncio.timeout(30):
        while (status := (await engine.status()).push).last_error_reason not in reasons:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    assert status.retry_at_monotonic_ms is not None
    assert status.retry_at_monotonic_ms - status.as_of_monotonic_ms >= 1000 * QUARANTINE_RETRY_S


async def run(cloud: RunningCloud, *arguments: str | Path) -> Ran:
    options = ("--tenant", TENANT, "--state", str(cloud.state), "--json")
    return await asyncio.to_thread(run_program, *arguments, *options)


async def device_row(cloud: RunningCloud) -> dict[str, Any]:
    return (await run(cloud, "cloud", "devices")).record


async def fork(cloud: RunningCloud, config: EdgeConfig, folder: Path, copy: Path) -> None:
    """Copy the journal, let both write on, and see both held back."""
    await asyncio.to_thread(copy.mkdir)
    shutil.copyfile(folder / "journal.db", copy / "journal.db")

    async with synchronising(config, copy) as (store, engine):
        await write(store, engine, 3, EventKind.FIRE)
        await all_durable(engine, 8)
    async with synchronising(config, folder) as (store, engine):
        await write(store, engine, 4)
        await held_back(engine, Reason.CHAIN_BROKEN, Reason.JOURNAL_MISMATCH)
    row = await device_row(cloud)
    assert (row["quarantine"]["reason"], row["quarantine"]["epoch"]) == ("CHAIN_BROKEN", b"epoch-01".hex())
    async with synchronising(config, copy) as (store, engine):
        await write(store, engine, 1)
        await held_back(engine, Reason.QUARANTINED)


async def the_copy_alarms_again(cloud: RunningCloud, config: EdgeConfig, copy: Path) -> None:
    """Start the copy once more, and see what the operator can do about it."""
    async with synchronising(config, copy) as (_, engine):
        await held_back(engine, Reason.EPOCH_CLOSED)
    assert (await device_row(cloud))["quarantine"]["reason"] == "EPOCH_CLOSED"
    text = await asyncio.to_thread(run_program, "cloud", "devices", "--tenant", TENANT, "--state", cloud.state)
    assert "In quarantine: 1." in text.out
    assert f"{config.device.id}: in quarantine since " in text.out
    assert (await run(cloud, "cloud", "devices", "--status", "error")).record["id"] == config.device.id
    assert (await run(cloud, "cloud", "devices", "--status", "online")).out == ""
    again = await run(cloud, "cloud", "release", config.device.id, "--accept-epoch", b"epoch-01".hex())
    assert (again.code, "EPOCH_CLOSED" in again.complaint["message"]) == (4, True)
    assert (await run(cloud, "cloud", "release", config.device.id, "--accept-epoch", "short")).code == 2
    assert (await run(cloud, "cloud", "release", config.device.id)).record["accepted_epoch"] is None


async def test_a_copied_card_is_quarantined_and_the_door_goes_on_with_a_new_journal(
    cloud: RunningCloud, tmp_path: Path
):
    folder, copy = tmp_path / "door", tmp_path / "copy"
    desired = DesiredDoor(
        cloud_url=cloud.addresses.device_url,
        claim_code=await cloud.claim(TENANT),
        folder=folder,
        readers={"outside": "camera:0"},
        lock=f"simulated://{tmp_path}/twin",
    )
    config = load_config((await provision(desired)).config)
    async with synchronising(config, folder) as (store, engine):
        await write(store, engine, 5)
        await all_durable(engine, 5)
    await fork(cloud, config, folder, copy)

    begun = await asyncio.to_thread(run_program, "edge", "new-journal", "--config", folder / "edge.toml")
    assert begun.code == 0, begun.err
    kept = folder / f"journal.db.epoch-{b'epoch-01'.hex()}"
    assert f"kept in {kept}: 9 events, of which 4 had not reached the cloud." in begun.out
    order = begun.out.splitlines()[-1].split()
    assert order[:3] == ["doorward", "cloud", "release"]
    released = await asyncio.to_thread(run_program, *order[1:], "--state", cloud.state)
    assert released.code == 0, released.err

    async with synchronising(config, folder) as (store, engine):
        await write(store, engine, 6)
        await all_durable(engine, 6)
        row = await device_row(cloud)
        assert (row["epoch"], row["mark"], row["quarantine"]) == (store.epoch.hex(), 6, None)
    chain = await cloud.api.get(f"/api/v1/institutions/{TENANT}/devices/{config.device.id}/chain")
    assert (chain.json()["ok"], chain.json()["events"], [each["events"] for each in chain.json()["closed"]]) == (
        True,
        6,
        [8],
    )
    identity = Identity(device=DeviceId(config.device.id), door=DoorId("main-entrance"), access_point="entry")
    old = Database(kept, identity, new_epoch=bytes(8))
    assert len(old.events_after(0, 100)) == 9
    old.close()

    await the_copy_alarms_again(cloud, config, copy)
