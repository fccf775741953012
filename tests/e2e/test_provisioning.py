"""A door is provisioned over real TLS: by the real cloud, and by a peer that breaks off where a test says."""

from __future__ import annotations

import asyncio
import shutil
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edge.config import USUAL_SOCKETS, ClockConfig, load_config
from provisioning.apply import Progress, Stage
from provisioning.enrol import DryRun, Provisioned, provision_door
from provisioning.errors import Reason
from sync.surroundings import SystemSurroundings
from tests.support.clouds import reachable_folder
from tests.support.door_journal import DEVICE, DOOR
from tests.support.installer import door, failure, provision
from tests.support.peer_cloud import PeerCloud
from tests.support.peer_listener import PeerListener, Reply, Request, listening
from wire.messages import (
    DEVICE_BOOTSTRAP,
    DEVICE_CHANGES,
    DEVICE_POLICY,
    DEVICE_STATUS,
    DEVICE_TRUST,
    EST_CACERTS,
    EST_ENROL,
)
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILES = {
    "ca.crt",
    "device.crt",
    "device.key",
    "edge.toml",
    "policy.cose",
    "root.cbor",
    "status-0.cose",
    "trust.cose",
}


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[PeerListener]:
    async with listening(PeerListener(PeerCloud(SystemSurroundings()), tmp_path / "cloud")) as made:
        yield made


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- as it should be ---------------------------------------------------------------------------------------


async def test_a_claim_code_becomes_a_folder_that_the_daemon_starts_from(listener: PeerListener, tmp_path: Path):
    folder = tmp_path / "door"
    done = await provision(door(listener, folder))
    assert names(folder) == FILES
    config = load_config(done.config)
    assert (config.device.id, config.device.door, config.device.tenant) == (DEVICE, DOOR, "oakfield")
    assert config.cloud is not None
    assert config.cloud.url == listener.url
    assert (done.trust_version, done.policy_version, done.status_lists) == (1, 1, (0,))


@pytest.mark.parametrize(
    ("told", "wanted", "broker"),
    [
        ({}, None, None),  # a cloud from before there were brokers
        ({"broker": None}, None, None),
        ({"broker": "mqtts://broker.example:8883"}, None, "mqtts://broker.example:8883"),
        ({"broker": "mqtts://broker.example:8883/"}, None, "mqtts://broker.example:8883"),
        ({"broker": "mqtts://broker.example:8883"}, "none", None),
        ({"broker": "mqtts://broker.example:8883"}, "mqtts://10.0.0.7", "mqtts://10.0.0.7"),
        ({}, "mqtts://10.0.0.7:1883", "mqtts://10.0.0.7:1883"),
        ({"broker": "nonsense"}, "none", None),  # the way round a cloud that is set up wrongly
    ],
)
async def test_the_broker_is_the_installers_else_the_clouds(
    listener: PeerListener, tmp_path: Path, told: dict[str, object], wanted: str | None, broker: str | None
):
    listener.more |= told
    done = await provision(replace(door(listener, tmp_path / "door"), broker=wanted))
    config = load_config(done.config)
    assert config.cloud is not None
    assert (done.broker, config.cloud.broker) == (broker, broker)


async def test_the_key_is_made_here_and_only_its_owner_may_read_it(listener: PeerListener, tmp_path: Path):
    folder = tmp_path / "door"
    await provision(door(listener, folder))
    key = load_pem_private_key((folder / "device.key").read_bytes(), password=None)
    certificate = x509.load_pem_x509_certificate((folder / "device.crt").read_bytes())
    assert key.public_key() == certificate.public_key()
    assert (folder / "device.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_the_pinned_trust_file_opens_under_its_own_root(listener: PeerListener, tmp_path: Path):
    await provision(door(listener, tmp_path / "door"))
    pinned = parse_pinned((tmp_path / "door" / "root.cbor").read_bytes())
    assert pinned.root == listener.cloud.root.public_key
    assert pinned.open() == listener.cloud.trust


async def test_every_list_that_the_cloud_names_is_fetched(listener: PeerListener, tmp_path: Path):
    listener.cloud.add_list(3)
    done = await provision(door(listener, tmp_path / "door"))
    assert done.status_lists == (0, 3)
    assert (tmp_path / "door" / "status-3.cose").exists()


async def test_the_secret_is_shown_once_and_to_the_recognised_cloud_only(listener: PeerListener, tmp_path: Path):
    shown: list[str] = []

    async def watch(request: Request) -> Reply:
        if "authorization" in request.headers:
            shown.append(request.path)
        del listener.overrides[request.path]
        return await listener.answer(request)

    for path in (EST_CACERTS, EST_ENROL, DEVICE_BOOTSTRAP, DEVICE_TRUST, DEVICE_CHANGES, DEVICE_POLICY):
        listener.overrides[path] = watch
    await provision(door(listener, tmp_path / "door"))
    assert shown == [EST_ENROL]


async def test_each_step_is_told_when_it_begins_and_when_it_is_done(listener: PeerListener, tmp_path: Path):
    told: list[Progress] = []
    await asyncio.to_thread(provision_door, door(listener, tmp_path / "door"), progress=told.append)
    assert [each.step.number for each in told] == [number for number in range(1, 10) for _ in range(2)]
    assert [each.stage for each in told] == [Stage.STARTED, Stage.DONE] * 9
    assert all(each.outcome for each in told if each.stage is Stage.DONE)


async def test_a_dry_run_tells_the_steps_and_touches_nothing(listener: PeerListener, tmp_path: Path):
    told: list[Progress] = []
    desired = door(listener, tmp_path / "door")
    done = provision_door(desired, dry_run=True, progress=told.append)
    assert isinstance(done, DryRun)
    assert [each.stage for each in told] == [Stage.PLANNED] * len(done.steps)
    assert listener.requests == []
    assert not (tmp_path / "door").exists()


async def test_a_twins_clock_comes_into_the_configuration(listener: PeerListener, tmp_path: Path):
    desired = replace(door(listener, tmp_path / "door"), clock=ClockConfig(offset_file=tmp_path / "offset"))
    done = await provision(desired)
    assert load_config(done.config).clock.offset_file == tmp_path / "offset"


async def test_inputs_at_several_addresses_come_into_the_configuration(listener: PeerListener, tmp_path: Path):
    urls = ("gpio:///dev/gpiochip0?contact=5&rex=6", "modbus+tcp://10.0.0.7?fire=0")
    done = await provision(replace(door(listener, tmp_path / "door"), inputs=urls))
    assert tuple(each.url for each in load_config(done.config).inputs) == urls


async def test_a_door_without_a_policy_is_told_what_is_missing(listener: PeerListener, tmp_path: Path):
    async def none_yet(_request: Request) -> Reply:
        return Reply(b'{"trust": 1, "policy": 0, "status": {"0": 1}}')

    listener.overrides[DEVICE_CHANGES] = none_yet
    done = await provision(door(listener, tmp_path / "door"))
    assert done.policy_version == 0
    assert any("policy" in step for step in done.next_steps)
    assert not (tmp_path / "door" / "policy.cose").exists()


async def test_the_next_steps_name_the_socket_where_the_door_is_asked(listener: PeerListener, tmp_path: Path):
    done = await provision(door(listener, tmp_path / "door"))
    assert done.next_steps[-1].endswith(f"doorward diag watch --socket {tmp_path}/door/diag.sock")


async def test_the_next_steps_name_no_socket_that_is_found_anyway(listener: PeerListener, tmp_path: Path):
    done = await provision(replace(door(listener, tmp_path / "door"), socket=USUAL_SOCKETS[0]))
    assert done.next_steps[-1].endswith("doorward diag watch")


async def test_a_first_policy_that_admits_nobody_is_none_and_the_installer_is_told(
    listener: PeerListener, tmp_path: Path
):
    listener.cloud.policy = replace(listener.cloud.policy, levels={})
    told: list[Progress] = []
    done = await asyncio.to_thread(provision_door, door(listener, tmp_path / "door"), progress=told.append)
    assert isinstance(done, Provisioned)
    assert done.policy_version == 0
    assert any("admits nobody" in each.outcome for each in told)
    assert any("policy" in step for step in done.next_steps)
    assert not (tmp_path / "door" / "policy.cose").exists()


@pytest.mark.parametrize(("ahead_s", "told"), [(0, False), (19, False), (3_600, True), (-3_600, True)])
async def test_a_clock_that_is_off_is_told(listener: PeerListener, tmp_path: Path, ahead_s: int, *, told: bool):
    # One moment for both clocks: a header has whole seconds, and a 20th could begin on its way.
    moment = datetime.now(UTC).replace(microsecond=0)

    def now() -> datetime:
        return moment + timedelta(seconds=ahead_s)

    async def dated(request: Request) -> Reply:
        del listener.overrides[DEVICE_BOOTSTRAP]
        reply = await listener.answer(request)
        return Reply(reply.body, headers={"date": format_datetime(moment, usegmt=True)})

    listener.overrides[DEVICE_BOOTSTRAP] = dated
    listener.now -= timedelta(hours=2)
    done = await provision(door(listener, tmp_path / "door"), now=now)
    assert any("Set the clock" in step for step in done.next_steps) is told


# --- again -------------------------------------------------------------------------------------------------


async def test_the_same_command_again_keeps_key_and_certificate(listener: PeerListener, tmp_path: Path):
    desired = door(listener, tmp_path / "door")
    await provision(desired)
    before = [(tmp_path / "door" / name).read_bytes() for name in ("device.key", "device.crt", "edge.toml")]
    await provision(desired)
    assert before == [(tmp_path / "door" / name).read_bytes() for name in ("device.key", "device.crt", "edge.toml")]


@pytest.mark.parametrize("path", [DEVICE_BOOTSTRAP, DEVICE_TRUST, DEVICE_CHANGES, f"{DEVICE_STATUS}/0", DEVICE_POLICY])
async def test_a_run_that_stopped_half_way_goes_on(listener: PeerListener, tmp_path: Path, path: str):
    async def broken(_request: Request) -> Reply:
        raise ConnectionResetError

    desired = door(listener, tmp_path / "door")
    listener.overrides[path] = broken
    assert (await failure(desired)).reason is Reason.UNREACHABLE
    listener.overrides.clear()
    await provision(desired)
    assert names(tmp_path / "door") == FILES


async def test_a_certificate_that_was_lost_on_the_way_needs_a_new_claim(listener: PeerListener, tmp_path: Path):
    folder = tmp_path / "door"

    async def lost(request: Request) -> Reply:
        del listener.overrides[EST_ENROL]
        await listener.answer(request)
        raise ConnectionResetError

    desired = door(listener, folder)
    listener.overrides[EST_ENROL] = lost
    assert (await failure(desired)).reason is Reason.UNREACHABLE
    key = (folder / "device.key").read_bytes()
    error = await failure(desired)
    assert error.reason is Reason.CLAIM_USED
    assert "new claim code" in str(error)
    await provision(door(listener, folder, listener.claim(number=2)))
    assert (folder / "device.key").read_bytes() == key


async def test_a_certificate_that_has_expired_does_not_go_on(listener: PeerListener, tmp_path: Path):
    desired = door(listener, tmp_path / "door")
    await provision(desired)
    (tmp_path / "door" / "edge.toml").unlink()

    def later() -> datetime:
        return datetime.now(UTC) + timedelta(days=91)

    assert (await failure(desired, now=later)).reason is Reason.CLAIM_USED


async def test_a_new_claim_makes_a_new_device_and_keeps_the_old_journal_aside(listener: PeerListener, tmp_path: Path):
    folder = tmp_path / "door"
    await provision(door(listener, folder))
    (folder / "journal.db").write_bytes(b"events")
    (folder / "journal.db-wal").write_bytes(b"more")
    config = folder / "edge.toml"
    config.write_text(config.read_text().replace(f'id = "{DEVICE}"', 'id = "another-device"'))
    await provision(door(listener, folder, listener.claim(number=2)))
    assert not (folder / "journal.db").exists()
    assert (folder / "journal.db.before-1").read_bytes() == b"events"
    assert (folder / "journal.db.before-1-wal").read_bytes() == b"more"


async def test_the_journal_of_the_same_device_stays(listener: PeerListener, tmp_path: Path):
    desired = door(listener, tmp_path / "door")
    await provision(desired)
    (tmp_path / "door" / "journal.db").write_bytes(b"events")
    await provision(desired)
    assert (tmp_path / "door" / "journal.db").read_bytes() == b"events"


async def test_a_running_daemon_is_not_disturbed(listener: PeerListener):
    folder = reachable_folder()
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(folder / "diag.sock"))
        daemon.listen()
        error = await failure(door(listener, folder))
    shutil.rmtree(folder)
    assert error.reason is Reason.FOLDER_IN_USE
    assert listener.requests == []
