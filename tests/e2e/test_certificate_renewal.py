"""A door renews its certificate before it ends, and nothing is lost when that fails."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edge.config import CloudConfig, load_config
from provisioning.errors import ProvisioningError, Reason
from provisioning.renew import Renewal, renew_certificate
from sync.https_uplink import open_https_uplink
from sync.surroundings import SystemSurroundings
from tests.support.commands import run_program
from tests.support.installer import door, provision
from tests.support.peer_cloud import PeerCloud
from tests.support.peer_listener import PeerListener, Reply, Request, listening
from wire.messages import EST_REENROL
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ALWAYS_DUE = timedelta(days=3_650)


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[PeerListener]:
    async with listening(PeerListener(PeerCloud(SystemSurroundings()), tmp_path / "cloud")) as made:
        yield made


@pytest.fixture
async def cloud(listener: PeerListener, tmp_path: Path) -> CloudConfig:
    """What a provisioned door knows of its cloud."""
    config = load_config((await provision(door(listener, tmp_path / "door"))).config)
    assert config.cloud is not None
    return config.cloud


async def renew(cloud: CloudConfig, *, before: timedelta = ALWAYS_DUE) -> Renewal:
    return await asyncio.to_thread(renew_certificate, cloud, before=before)


async def failure(cloud: CloudConfig) -> ProvisioningError:
    """Renew in vain; the certificate stays."""
    before = cloud.certificate.read_bytes()
    with pytest.raises(ProvisioningError) as caught:
        await renew(cloud)
    assert cloud.certificate.read_bytes() == before
    return caught.value


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def damage(path: Path) -> None:
    path.write_bytes(b"rust")


async def test_a_certificate_that_is_due_is_replaced_for_the_same_key(cloud: CloudConfig):
    old, key = serial(cloud.certificate), cloud.key.read_bytes()
    renewal = await renew(cloud)
    assert renewal.renewed
    assert renewal.until > datetime.now(UTC) + timedelta(days=89)
    assert serial(cloud.certificate) != old
    assert cloud.key.read_bytes() == key


async def test_the_new_certificate_is_accepted_by_the_cloud(cloud: CloudConfig):
    await renew(cloud)
    uplink = open_https_uplink(url=cloud.url, certificate=cloud.certificate, key=cloud.key, ca=cloud.ca)
    assert await uplink.changes(Versions(0, 0, {}), wait_s=0) == Versions(1, 1, {0: 1})
    await uplink.aclose()


@pytest.mark.parametrize(("days", "due"), [("89", False), ("90", True)])
async def test_the_command_renews_what_is_due_and_says_until_when(cloud: CloudConfig, days: str, *, due: bool):
    config = cloud.certificate.parent / "edge.toml"
    arguments = ("provision", "renew", "--config", config, "--before-days", days, "--json")
    ran = await asyncio.to_thread(run_program, *arguments)
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert answer["renewed"] is due
    assert datetime.fromisoformat(answer["until"]) > datetime.now(UTC) + timedelta(days=89)


async def test_the_command_says_what_to_do_when_the_cloud_is_away(cloud: CloudConfig, listener: PeerListener):
    async def broken(_request: Request) -> Reply:
        raise ConnectionResetError

    listener.overrides[EST_REENROL] = broken
    config = cloud.certificate.parent / "edge.toml"
    ran = await asyncio.to_thread(run_program, "provision", "renew", "--config", config, "--before-days", "90")
    assert ran.code == 3
    assert ran.err


async def test_a_door_without_a_cloud_has_nothing_to_renew(tmp_path: Path):
    config = tmp_path / "edge.toml"
    config.write_text(
        '[device]\nid = "a"\ntenant = "n"\nsite = "s"\ndoor = "d"\n[lock]\nurl = "simulated:///tmp/twin"\n'
    )
    ran = await asyncio.to_thread(run_program, "provision", "renew", "--config", config)
    assert ran.code == 2
    assert "provision door" in ran.err


@pytest.mark.parametrize(("days", "due"), [(89, False), (91, True)])
async def test_renewal_is_due_a_while_before_the_end(
    cloud: CloudConfig, listener: PeerListener, days: int, *, due: bool
):
    asked = len(listener.requests)
    assert (await renew(cloud, before=timedelta(days=days))).renewed is due
    assert (len(listener.requests) > asked) is due


async def test_a_device_that_the_cloud_no_longer_knows_has_to_be_enrolled_again(
    cloud: CloudConfig, listener: PeerListener
):
    listener.enrolled.clear()
    error = await failure(cloud)
    assert error.reason is Reason.NOT_ENROLLED
    assert "new claim code" in str(error)


async def test_a_certificate_for_another_key_is_not_taken(cloud: CloudConfig, listener: PeerListener):
    listener.certify_instead = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert (await failure(cloud)).reason is Reason.CERTIFICATE_WRONG


async def test_a_certificate_for_another_device_is_not_taken(cloud: CloudConfig, listener: PeerListener):
    listener.certified_as = "back-door-1111"
    error = await failure(cloud)
    assert error.reason is Reason.CERTIFICATE_WRONG
    assert "another device" in str(error)


async def test_a_cloud_that_breaks_off_is_asked_again_later(cloud: CloudConfig, listener: PeerListener):
    async def broken(_request: Request) -> Reply:
        raise ConnectionResetError

    listener.overrides[EST_REENROL] = broken
    assert (await failure(cloud)).reason is Reason.UNREACHABLE
    listener.overrides.clear()
    assert (await renew(cloud)).renewed


@pytest.mark.parametrize("name", ["key", "ca", "certificate"])
async def test_a_file_that_is_damaged_is_told(cloud: CloudConfig, name: str):
    damage(getattr(cloud, name))
    assert (await failure(cloud)).reason is Reason.KEY_UNUSABLE


async def test_a_key_that_is_missing_is_told(cloud: CloudConfig):
    cloud.key.unlink()
    assert (await failure(cloud)).reason is Reason.KEY_UNUSABLE


async def test_a_certificate_that_is_missing_is_told(cloud: CloudConfig):
    cloud.certificate.unlink()
    with pytest.raises(ProvisioningError) as caught:
        await renew(cloud)
    assert caught.value.reason is Reason.FOLDER_UNUSABLE
