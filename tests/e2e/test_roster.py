"""A credential is enrolled in the cloud, known to the door with or without a network, and gone once it is removed."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud.settings import CloudSettings
from edge.config import EdgeConfig, load_config
from edge.core.tap import Input, RosterReplaced
from edge.core.verify import Place
from edge.database import Database, Identity
from edge.materials import Materials, read_root
from edge.store import Store
from edge.synchronise import CommandInlet, HeldMaterials, StoreJournal
from provisioning.plan import DesiredDoor
from sync.engine import SyncEngine
from sync.https_uplink import open_https_uplink
from sync.surroundings import SystemSurroundings
from tests.support.clouds import LOOPBACK, RunningCloud, reachable_folder, running_cloud
from tests.support.installer import provision
from tests.support.sync_bench import Listener
from tests.support.waiting import until
from wire.keys import P256Signer
from wire.names import DeviceId, DoorId, EventKind
from wire.roster import IdentifierForm, RosterEntry, identifier_key, pin_verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TENANT = "oakfield"
CREDENTIALS = f"/api/v1/institutions/{TENANT}/sites/campus/credentials"


@pytest.fixture
async def cloud() -> AsyncIterator[RunningCloud]:
    folder = reachable_folder()
    settings = CloudSettings(state=folder, api=LOOPBACK, devices=LOOPBACK, shutdown_s=2)
    async with running_cloud(settings) as running:
        await running.make_door(TENANT)
        yield running
    shutil.rmtree(folder)


class Door:
    """The parts of a provisioned door that bring its documents down and keep them."""

    def __init__(self, config: EdgeConfig) -> None:
        device = config.device
        self.config = config
        self.told: list[Input] = []
        identity = Identity(device=DeviceId(device.id), door=DoorId(device.door), access_point=device.access_point)
        self.store = Store(Database(config.state_folder / "journal.db", identity, new_epoch=bytes(8)), max_events=1_000)
        place = Place(tenant=device.tenant, site=device.site, door=device.door)
        root = read_root(config.state_folder)
        self.materials = Materials(self.store, place, root, self.told.append, lambda: None)
        assert config.cloud is not None
        self.key = config.cloud.key
        self.uplink = open_https_uplink(
            url=config.cloud.url, certificate=config.cloud.certificate, key=config.cloud.key, ca=config.cloud.ca
        )

    def engine(self) -> SyncEngine:
        """Synchronisation with the cloud, as the daemon puts it together."""
        key = load_pem_private_key(self.key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return SyncEngine(
            journal=StoreJournal(self.store, DeviceId(self.config.device.id)),
            materials=HeldMaterials(self.materials, CommandInlet(self.told_of, 0)),
            uplink=self.uplink,
            signer=P256Signer(key),
            signed_time=Listener(),
            surroundings=SystemSurroundings(),
            notices=Listener(),
        )

    async def told_of(self, command: bytes) -> None:
        """Nobody orders anything here."""
        pytest.fail(f"a command came: {command.hex()}")

    async def aclose(self) -> None:
        """Stop, as a door without power and network would."""
        await self.uplink.aclose()
        await self.store.aclose()

    def find(self, text: str) -> RosterEntry | None:
        """What the door knows of a barcode."""
        roster = self.materials.held.roster
        if roster is None:
            return None
        return roster.find(identifier_key(roster.pepper, IdentifierForm.BARCODE, text.encode()))


@pytest.mark.e2e
@pytest.mark.slow
async def test_a_card_is_enrolled_and_removed_and_known_offline(cloud: RunningCloud, tmp_path: Path):
    done = await provision(
        DesiredDoor(
            cloud_url=cloud.addresses.device_url,
            claim_code=await cloud.claim(TENANT),
            folder=tmp_path / "door",
            readers={"outside": "camera:0"},
            lock=f"simulated://{tmp_path}/twin",
        )
    )
    config = load_config(done.config)
    door = Door(config)
    assert await door.materials.load(config.state_folder) == []
    running = asyncio.create_task(door.engine().run())
    try:
        items = [{"identifier": str(number), "form": "barcode", "accessLevels": [1]} for number in range(50)]
        put = await cloud.api.put(CREDENTIALS, json={"credentials": [*items, {**items[0], "identifier": "x" * 65}]})
        assert put.json()["counts"] == {"added": 50, "refused": 1}
        await until(lambda: door.find("7") is not None)
        found = door.find("7")
        assert found is not None
        assert (found.roster_id.hex(), found.access_levels) == (put.json()["rows"][7]["holder"], (1,))

        changed = {"credentials": [{**items[8], "accessLevels": [2, 3], "pin": "2468"}]}
        assert (await cloud.api.put(CREDENTIALS, json=changed)).json()["counts"] == {"replaced": 1}
        gone = {"credentials": [{"identifier": "7", "form": "barcode"}]}
        assert (await cloud.api.post(f"{CREDENTIALS}/remove", json=gone)).json()["counts"] == {"removed": 1}
        await until(lambda: door.find("7") is None)
        await until(lambda: (entry := door.find("8")) is not None and entry.pin is not None)
        entry = door.find("8")
        assert entry is not None
        assert entry.pin is not None
        assert entry.pin.pin == pin_verifier("2468", entry.pin.salt)
    finally:
        running.cancel()
    kinds = [each.kind for each in door.told if isinstance(each, RosterReplaced)]
    assert set(kinds) == {EventKind.ROSTER_UPDATED}
    assert await door.store.roster_deltas() != []
    held = door.materials.held.roster
    await door.aclose()

    again = Door(config)
    assert await again.materials.load(config.state_folder) == []
    assert again.materials.held.roster == held
    assert (again.find("7"), again.find("8")) == (None, entry)
    await again.aclose()
