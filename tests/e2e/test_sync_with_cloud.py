"""A door is provisioned by the real cloud, syncs with it, loses it, and renews its certificate: all in one life."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud.settings import CloudSettings
from edge.config import EdgeConfig, load_config
from provisioning.errors import Reason
from provisioning.plan import DesiredDoor
from provisioning.renew import renew_certificate
from sync.engine import SyncEngine
from sync.https_uplink import HttpsUplink, open_https_uplink
from sync.surroundings import SystemSurroundings
from tests.support.clouds import LOOPBACK, RunningCloud, reachable_folder, running_cloud
from tests.support.door_journal import MemoryJournal
from tests.support.door_materials import MemoryMaterials
from tests.support.installer import failure, provision
from tests.support.sync_bench import Listener
from tests.support.waiting import until
from wire.keys import P256Signer
from wire.names import DeviceId
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TENANT = "oakfield"


@pytest.fixture
async def cloud() -> AsyncIterator[RunningCloud]:
    folder = reachable_folder()
    settings = CloudSettings(state=folder, api=LOOPBACK, devices=LOOPBACK, shutdown_s=2)
    async with running_cloud(settings) as running:
        await running.make_door(TENANT)
        yield running
    shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Door:
    """A provisioned door with its synchronisation."""

    config: EdgeConfig
    journal: MemoryJournal
    materials: MemoryMaterials
    listener: Listener
    uplink: HttpsUplink
    engine: SyncEngine


def opened(config: EdgeConfig) -> Door:
    """Put a door's synchronisation together, as its daemon does."""
    assert config.cloud is not None
    files = config.cloud
    key = load_pem_private_key(files.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    journal = MemoryJournal(device=DeviceId(config.device.id))
    materials = MemoryMaterials(parse_pinned((config.state_folder / "root.cbor").read_bytes()).root)
    listener = Listener()
    uplink = open_https_uplink(url=files.url, certificate=files.certificate, key=files.key, ca=files.ca)
    engine = SyncEngine(
        journal=journal,
        materials=materials,
        uplink=uplink,
        signer=P256Signer(key),
        signed_time=listener,
        surroundings=SystemSurroundings(),
        notices=listener,
    )
    return Door(config, journal, materials, listener, uplink, engine)


async def chain(cloud: RunningCloud, device: str) -> dict[str, object]:
    """Have the cloud check a journal."""
    answer = await cloud.api.get(f"/api/v1/institutions/{TENANT}/devices/{device}/chain")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


@pytest.mark.e2e
@pytest.mark.slow
async def test_one_door_and_the_real_cloud(cloud: RunningCloud, tmp_path: Path):
    desired = DesiredDoor(
        cloud_url=cloud.addresses.device_url,
        claim_code=await cloud.claim(TENANT),
        folder=tmp_path / "door",
        readers={"outside": "camera:0"},
        lock=f"simulated://{tmp_path}/twin",
    )
    done = await provision(desired)
    assert (done.identity.tenant, done.identity.door, done.identity.site) == (TENANT, "main-entrance", "campus")
    # The same command again goes on with what is there; on another machine the code is worth nothing any more.
    assert (await provision(desired)).identity == done.identity
    assert (await failure(replace(desired, folder=tmp_path / "other"))).reason is Reason.CLAIM_USED

    door = opened(load_config(done.config))
    door.journal.write(1_200)
    running = asyncio.create_task(door.engine.run())
    try:
        await until(lambda: door.journal.durable == 1_200)
        await until(lambda: door.materials.versions().trust == done.trust_version)
        found = await chain(cloud, door.config.device.id)
        assert (found["ok"], found["events"]) == (True, 1_200)
        assert door.listener.times

        policy = {"accessLevels": [{"id": 1, "schedules": [0]}]}
        put = await cloud.api.put(f"/api/v1/institutions/{TENANT}/doors/main-entrance/policy", json=policy)
        assert put.status_code == 200, put.text
        await until(lambda: door.materials.versions().policy == put.json()["version"])

        body = {"kind": "visitor", "accessLevels": [1], "lifetimeS": 3_600}
        made = await cloud.api.post(f"/api/v1/institutions/{TENANT}/passes", json=body)
        assert made.status_code == 201, made.text
        revoked = await cloud.api.post(f"/api/v1/institutions/{TENANT}/passes/{made.json()['passId']}/revoke")
        assert revoked.is_success, revoked.text
        await until(lambda: any(any(status.bits) for status in door.materials.statuses.values()))

        assert door.config.cloud is not None
        renewal = await asyncio.to_thread(renew_certificate, door.config.cloud, before=timedelta(days=365))
        assert renewal.renewed
        door.journal.write(1)
        door.engine.wake()
        await until(lambda: door.journal.durable == 1_201)
        status = await door.engine.status()
        assert status.connected
        assert status.pending == 0
    finally:
        running.cancel()
        await door.uplink.aclose()
