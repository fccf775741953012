"""A cloud is backed up, lives on, is lost and restored: doors send again what the backup lacks, and nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud.settings import CloudSettings
from doorward.errors import ExitCode
from edge.config import EdgeConfig, load_config
from provisioning.plan import DesiredDoor
from sync.engine import SyncEngine
from sync.https_uplink import open_https_uplink
from sync.surroundings import SystemSurroundings
from sync.tasks import end
from tests.support.clouds import LOOPBACK, RunningCloud, reachable_folder, running_cloud
from tests.support.commands import PROGRAM, Ran, run_program
from tests.support.door_journal import MemoryJournal
from tests.support.door_materials import MemoryMaterials
from tests.support.installer import provision
from tests.support.sync_bench import Listener
from tests.support.waiting import DEADLINE_S, until
from wire.keys import P256Signer
from wire.names import DeviceId
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TENANT = "oakfield"


@pytest.fixture(name="state")
def _state() -> Iterator[Path]:
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(name="place")
def _place() -> Iterator[Path]:
    """Where backups and restored clouds lie."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


def settings(state: Path) -> CloudSettings:
    return CloudSettings(state=state, api=LOOPBACK, devices=LOOPBACK, shutdown_s=2)


async def program(*arguments: str | Path) -> Ran:
    return await asyncio.to_thread(run_program, *arguments, "--json", environment={"DATABASE_URL": ""})


async def make_backup(state: Path, place: Path) -> Path:
    ran = await program("cloud", "backup", "--state", state, "--to", place / "backups")
    assert ran.code == 0, ran.err
    return place / "backups" / str(ran.record["folder"]).rpartition("/")[2]


@asynccontextmanager
async def synchronising(
    config: EdgeConfig, journal: MemoryJournal, cloud: RunningCloud, materials: MemoryMaterials | None = None
) -> AsyncIterator[SyncEngine]:
    """Let a door synchronise its journal, which forgets whatever it may."""
    assert config.cloud is not None
    files = config.cloud
    key = load_pem_private_key(await asyncio.to_thread(files.key.read_bytes), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    root = parse_pinned(await asyncio.to_thread((config.state_folder / "root.cbor").read_bytes)).root
    uplink = open_https_uplink(
        url=cloud.addresses.device_url, certificate=files.certificate, key=files.key, ca=files.ca
    )
    listener = Listener()
    engine = SyncEngine(
        journal=journal,
        materials=materials or MemoryMaterials(root),
        uplink=uplink,
        signer=P256Signer(key),
        signed_time=listener,
        surroundings=SystemSurroundings(),
        notices=listener,
    )
    running = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        await end((running,))
        await uplink.aclose()


async def stored(cloud: RunningCloud) -> list[int]:
    """Give the numbers of all stored events, in the order in which they are listed."""
    found: list[int] = []
    after = ""
    while True:
        answer = (await cloud.api.get(f"/api/v1/institutions/{TENANT}/events?limit=100{after}")).json()
        found += [event["seq"] for event in answer["data"]]
        if answer["next"] is None or not answer["data"]:
            return found
        after = f"&after={answer['next']}"


async def write(journal: MemoryJournal, engine: SyncEngine, count: int) -> None:
    journal.write(count)
    engine.wake()
    await until(lambda: journal.durable == len(journal.history))


async def test_a_restored_cloud_gets_from_its_doors_what_the_backup_lacks(state: Path, place: Path, tmp_path: Path):
    async with running_cloud(settings(state)) as cloud:
        await cloud.make_door(TENANT)
        desired = DesiredDoor(
            cloud_url=cloud.addresses.device_url,
            claim_code=await cloud.claim(TENANT),
            folder=tmp_path / "door",
            readers={"outside": "camera:0"},
            lock=f"simulated://{tmp_path}/twin",
        )
        config = load_config((await provision(desired)).config)
        journal = MemoryJournal(device=DeviceId(config.device.id))
        async with synchronising(config, journal, cloud) as engine:
            await write(journal, engine, 30)
            assert journal.deleted == 0
            backup = await make_backup(state, place)  # while it serves
            await write(journal, engine, 1)
            assert journal.deleted == 30
            await write(journal, engine, 40)
    token = (state / "operator.token").read_text()

    ran = await program("cloud", "restore", "--from", backup, "--state", place / "restored")
    assert ran.code == 0, ran.err
    assert (place / "restored" / "operator.token").read_text() == token
    assert ran.record["begun_at"].endswith("Z")
    async with running_cloud(settings(place / "restored")) as cloud:
        assert await stored(cloud) == list(range(1, 31))
        async with synchronising(config, journal, cloud) as engine:
            await write(journal, engine, 2)
        assert sorted(await stored(cloud)) == list(range(1, 74))
        place_of = f"/api/v1/institutions/{TENANT}/devices"
        (device,) = (await cloud.api.get(place_of)).json()["data"]
        assert (device["mark"], device["backedUp"], device["quarantine"]) == (73, 30, None)
        assert (await cloud.api.get(f"{place_of}/{device['id']}/chain")).json()["ok"]


async def test_doors_take_what_a_restored_cloud_signs_though_they_had_seen_newer(
    state: Path, place: Path, tmp_path: Path
):
    async with running_cloud(settings(state)) as cloud:
        await cloud.make_door(TENANT)
        desired = DesiredDoor(
            cloud_url=cloud.addresses.device_url,
            claim_code=await cloud.claim(TENANT),
            folder=tmp_path / "door",
            readers={"outside": "camera:0"},
            lock=f"simulated://{tmp_path}/twin",
        )
        config = load_config((await provision(desired)).config)
        root = parse_pinned(await asyncio.to_thread((config.state_folder / "root.cbor").read_bytes)).root
        journal, materials = MemoryJournal(device=DeviceId(config.device.id)), MemoryMaterials(root)
        await order(cloud, 1)
        backup = await make_backup(state, place)
        await order(cloud, 2)
        await order(cloud, 3)
        await revoke_one(cloud)
        async with synchronising(config, journal, cloud, materials):
            await until(lambda: materials.versions().policy == 3 and revoked(materials) == 1)
            seen = materials.versions()

    order_to_restore = ("cloud", "restore", "--from", backup, "--state", place / "restored")
    zone = {"DATABASE_URL": "", "TZ": "Asia/Tokyo"}
    ran = await asyncio.to_thread(run_program, *order_to_restore, environment=zone)
    assert ran.code == 0, ran.err
    assert re.search(r"^The cloud is as it was at [-0-9]+ [:0-9]+ JST\.$", ran.out, re.MULTILINE)
    async with running_cloud(settings(place / "restored")) as cloud:
        await revoke_one(cloud)
        await revoke_one(cloud)
        async with synchronising(config, journal, cloud, materials):
            await until(lambda: revoked(materials) == 2)
            await until(lambda: materials.versions().policy > seen.policy and materials.versions().trust > seen.trust)
            version = await order(cloud, 4)
            await until(lambda: materials.versions().policy == version)


async def order(cloud: RunningCloud, levels: int) -> int:
    """Give the door other rules; gives their version."""
    policy = {"accessLevels": [{"id": 1 + number, "schedules": [0]} for number in range(levels)]}
    put = await cloud.api.put(f"/api/v1/institutions/{TENANT}/doors/main-entrance/policy", json=policy)
    assert put.status_code == 200, put.text
    version: int = put.json()["version"]
    return version


async def revoke_one(cloud: RunningCloud) -> None:
    """Issue a pass and revoke it."""
    body = {"kind": "visitor", "accessLevels": [1], "lifetimeS": 3_600}
    made = await cloud.api.post(f"/api/v1/institutions/{TENANT}/passes", json=body)
    assert made.status_code == 201, made.text
    gone = await cloud.api.post(f"/api/v1/institutions/{TENANT}/passes/{made.json()['passId']}/revoke")
    assert gone.is_success, gone.text


def revoked(materials: MemoryMaterials) -> int:
    """Count what the door's lists revoke."""
    return sum(bits.bit_count() for status in materials.statuses.values() for bits in status.bits)


async def test_a_backup_is_its_owners_alone_and_holds_all_keys(state: Path, place: Path):
    async with running_cloud(settings(state)) as cloud:
        await cloud.make_door(TENANT)
    folder = await make_backup(state, place)  # nobody serves
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    keys = {str(path.relative_to(state)) for path in (state / "keys").rglob("*.pem")}
    assert len(keys) == 6
    assert names == {"database.dump", "backup.json", "operator.token", "ca/ca.crt", "ca/device-ca.pem"} | keys | {
        "ca/listener.pem"
    }
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert modes == {True: 0o700, False: 0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert list((place / "backups").iterdir()) == [folder]


async def test_a_damaged_backup_is_refused_before_anything_is_made(state: Path, place: Path):
    async with running_cloud(settings(state)) as cloud:
        await cloud.make_door(TENANT)
    folder = await make_backup(state, place)
    new = place / "new"
    for name in ("database.dump", "operator.token", "ca/device-ca.pem"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1])
        ran = await program("cloud", "restore", "--from", folder, "--state", new)
        assert (ran.code, name in ran.complaint["message"], new.exists()) == (1, True, False)
        (folder / name).write_bytes(whole)
    manifest = json.loads((folder / "backup.json").read_text())
    manifest["files"]["../../escape"] = manifest["files"]["operator.token"]
    (folder / "backup.json").write_text(json.dumps(manifest))
    ran = await program("cloud", "restore", "--from", folder, "--state", new)
    assert (ran.code, "no part of a backup" in ran.complaint["message"]) == (1, True)
    ran = await program("cloud", "restore", "--from", place, "--state", new)
    assert (ran.code, "backup.json" in ran.complaint["message"]) == (2, True)


async def test_nothing_is_restored_over_something(state: Path, place: Path):
    async with running_cloud(settings(state)):
        pass
    folder = await make_backup(state, place)
    ran = await program("cloud", "restore", "--from", folder, "--state", state)
    assert (ran.code, "new folder" in ran.complaint["remedy"]) == (2, True)
    assert (state / "operator.token").exists()
    ran = await asyncio.to_thread(
        run_program, "cloud", "restore", "--from", folder, "--state", place / "n", environment={"DATABASE_URL": "x"}
    )
    assert (ran.code, "DATABASE_URL" in ran.err) == (2, True)


async def test_a_backup_that_fails_lets_no_door_forget_and_leaves_nothing(state: Path, place: Path):
    async with running_cloud(settings(state)) as cloud:
        device = await cloud.enrolled(TENANT)
        assert device.name
        blocked = place / "backups"
        blocked.write_text("a file where the folder should be")
        ran = await program("cloud", "backup", "--state", state, "--to", blocked)
        assert ran.code == 2, ran.out
        told = json.loads(ran.err.splitlines()[-1])  # after what was logged
        assert str(blocked) in told["message"]
        assert told["remedy"].startswith("choose another folder")
        blocked.unlink()
        (state / "keys" / TENANT / "broken.pem").symlink_to("/proc/self/mem")  # a file that cannot be read
        ran = await program("cloud", "backup", "--state", state, "--to", blocked)
        assert ran.code != 0, ran.out
        assert list(blocked.iterdir()) == []


async def terminated(seen: Callable[[], bool], *arguments: str | Path, database_url: str = "") -> int:
    """Run the program, send it SIGTERM when something is seen, and give its exit code."""
    running = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, env={**os.environ, "DATABASE_URL": database_url}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until(seen)
        running.terminate()
        async with asyncio.timeout(DEADLINE_S):
            return await running.wait()
    finally:
        if running.returncode is None:
            running.kill()


async def test_a_restoration_that_is_told_to_stop_leaves_nothing(state: Path, place: Path):
    async with running_cloud(settings(state)):
        pass
    folder = await make_backup(state, place)
    new = place / "new"
    code = await terminated((new / "pg").exists, "cloud", "restore", "--from", folder, "--state", new)
    assert (code, new.exists()) == (ExitCode.INTERRUPTED, False)


async def test_a_backup_that_is_told_to_stop_cleans_up_as_after_ctrl_c(place: Path):
    (place / "operator.token").touch()
    connected, gone = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        url = f"postgresql://doorward@127.0.0.1:{server.sockets[0].getsockname()[1]}/doorward"
        backup = ("cloud", "backup", "--state", place, "--to", place / "backups")
        assert await terminated(connected.is_set, *backup, database_url=url) == ExitCode.INTERRUPTED
        await gone.wait()


async def test_what_is_no_cloud_is_not_backed_up(place: Path):
    ran = await program("cloud", "backup", "--state", place, "--to", place / "backups")
    assert (ran.code, "state folder" in ran.complaint["message"]) == (2, True)
    assert not (place / "backups").exists()
