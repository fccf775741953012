"""What an installer hears, over real TLS, when claim code, cloud, clock, line or folder is not right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from provisioning.errors import ProvisioningError, Reason
from sync.surroundings import SystemSurroundings
from tests.support.installer import door, failure, provision
from tests.support.peer_cloud import PeerCloud, signer
from tests.support.peer_listener import PeerListener, Reply, Request, listening, problem
from wire.messages import (
    DEVICE_BOOTSTRAP,
    DEVICE_CHANGES,
    DEVICE_POLICY,
    DEVICE_STATUS,
    DEVICE_TRUST,
    EST_CACERTS,
    EST_ENROL,
)
from wire.names import DoorId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[PeerListener]:
    async with listening(PeerListener(PeerCloud(SystemSurroundings()), tmp_path / "cloud")) as made:
        yield made


# --- claim codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["", "ABCD", "U" * 32, "A" * 33, "A" * 500])
async def test_a_code_that_is_none(listener: PeerListener, tmp_path: Path, code: str):
    error = await failure(door(listener, tmp_path / "door", code))
    assert (error.reason, error.reason.exit_code) == (Reason.CLAIM_MALFORMED, 2)
    assert listener.requests == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [("unknown", Reason.CLAIM_UNKNOWN), ("expired", Reason.CLAIM_EXPIRED), ("used", Reason.CLAIM_USED)],
)
async def test_a_code_that_the_cloud_refuses(listener: PeerListener, tmp_path: Path, state: str, reason: Reason):
    error = await failure(door(listener, tmp_path / "door", listener.claim(state)))
    assert (error.reason, error.reason.exit_code) == (reason, 4)
    assert "new claim code" in str(error)


async def test_a_code_of_another_cloud(listener: PeerListener, tmp_path: Path):
    error = await failure(door(listener, tmp_path / "door", listener.claim(fingerprint=bytes(10))))
    assert (error.reason, error.reason.exit_code) == (Reason.FINGERPRINT_WRONG, 1)
    assert listener.requests == [f"GET {EST_CACERTS}"]


# --- who is at the other end -------------------------------------------------------------------------------


async def test_nobody_at_the_address(listener: PeerListener, tmp_path: Path):
    desired = replace(door(listener, tmp_path / "door"), cloud_url="https://127.0.0.1:1")
    error = await failure(desired)
    assert (error.reason, error.reason.exit_code) == (Reason.UNREACHABLE, 3)


@pytest.mark.parametrize(
    "url", ["", "cloud.example", "http://cloud.example", "https://", "https://u:p@h", "https://h/x", "https://h:x"]
)
async def test_an_address_that_is_none(listener: PeerListener, tmp_path: Path, url: str):
    assert (await failure(replace(door(listener, tmp_path / "door"), cloud_url=url))).reason is Reason.ADDRESS_INVALID


@pytest.mark.parametrize("broker", ["", "mqtt://broker.example", "https://broker.example", "mqtts://", "mqtts://u:p@h"])
async def test_a_broker_that_is_no_address_is_refused_before_anything_is_done(
    listener: PeerListener, tmp_path: Path, broker: str
):
    error = await failure(replace(door(listener, tmp_path / "door"), broker=broker))
    assert (error.reason, listener.requests) == (Reason.ADDRESS_INVALID, [])
    assert "--broker none" in error.remedy


@pytest.mark.parametrize(
    ("broker", "reason"),
    [
        ("mqtt://broker.example", Reason.ADDRESS_INVALID),
        ("", Reason.ADDRESS_INVALID),
        (8883, Reason.ANSWER_UNREADABLE),
        (["mqtts://broker.example"], Reason.ANSWER_UNREADABLE),
    ],
)
async def test_a_cloud_that_names_no_address_as_its_broker(
    listener: PeerListener, tmp_path: Path, broker: object, reason: Reason
):
    listener.more["broker"] = broker
    assert (await failure(door(listener, tmp_path / "door"))).reason is reason


async def test_somebody_between_who_passes_the_true_ca_on(listener: PeerListener, tmp_path: Path):
    claim = listener.claim()
    thief = PeerListener(PeerCloud(), tmp_path / "thief")
    true_answer = await listener.answer(Request("GET", EST_CACERTS, {}, {}, b"", None, ""))

    async def pass_on(_request: Request) -> Reply:
        return true_answer

    thief.overrides[EST_CACERTS] = pass_on
    async with listening(thief):
        error = await failure(door(thief, tmp_path / "door", claim))
    assert error.reason is Reason.TLS_REFUSED
    assert thief.requests == [f"GET {EST_CACERTS}"]


async def test_a_certificate_for_another_name(tmp_path: Path):
    async with listening(PeerListener(PeerCloud(), tmp_path / "cloud", names=("cloud.example",))) as listener:
        error = await failure(door(listener, tmp_path / "door"))
    assert error.reason is Reason.TLS_REFUSED
    assert "not for the address" in str(error)


@pytest.mark.parametrize("days", [-365, 365 * 30], ids=["behind", "ahead"])
async def test_a_clock_that_is_years_off(listener: PeerListener, tmp_path: Path, days: int):
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(days=days)

    error = await failure(door(listener, tmp_path / "door"), now=now)
    assert (error.reason, error.reason.exit_code) == (Reason.CLOCK_WRONG, 1)
    assert "timedatectl" in str(error)
    assert listener.requests == [f"GET {EST_CACERTS}"]


async def test_a_listener_whose_certificate_has_expired(tmp_path: Path):
    begun = datetime.now(UTC) - timedelta(days=400)
    async with listening(PeerListener(PeerCloud(), tmp_path / "cloud", now=begun)) as listener:
        error = await failure(door(listener, tmp_path / "door"))
    assert error.reason is Reason.CLOCK_WRONG


# --- what comes back ---------------------------------------------------------------------------------------

ANSWERS = [
    (EST_CACERTS, Reply(b"<html>"), Reason.ANSWER_UNREADABLE),
    (EST_CACERTS, Reply(b""), Reason.ANSWER_UNREADABLE),
    (EST_CACERTS, Reply(b"MIIB"), Reason.ANSWER_UNREADABLE),
    (EST_CACERTS, Reply(bytes(40_000)), Reason.ANSWER_UNREADABLE),
    (EST_CACERTS, Reply(b"x", headers={"content-encoding": "gzip"}), Reason.ANSWER_UNREADABLE),
    (EST_CACERTS, Reply(b"", 302, {"location": "https://127.0.0.1:1/"}), Reason.REFUSED),
    (EST_ENROL, problem(503, "DATABASE_UNAVAILABLE"), Reason.BUSY),
    (EST_ENROL, problem(429, "TOO_MANY_ATTEMPTS"), Reason.BUSY),
    (EST_ENROL, problem(400, "REQUEST_UNREADABLE"), Reason.REFUSED),
    (EST_ENROL, Reply(b"\xff" * 20_000, 500), Reason.ANSWER_UNREADABLE),
    (DEVICE_BOOTSTRAP, problem(403, "DEVICE_REVOKED"), Reason.NOT_ENROLLED),
    (DEVICE_BOOTSTRAP, Reply(b"[]"), Reason.ANSWER_UNREADABLE),
    (DEVICE_BOOTSTRAP, Reply(b'{"tenant": "UPPER"}'), Reason.ANSWER_UNREADABLE),
    (DEVICE_CHANGES, Reply(b"{}"), Reason.ANSWER_UNREADABLE),
    (DEVICE_CHANGES, Reply(b'{"policy": 1, "status": {"x": 1}}'), Reason.ANSWER_UNREADABLE),
    (DEVICE_TRUST, Reply(b"\xd2\x84nonsense"), Reason.DOCUMENT_REFUSED),
    (DEVICE_POLICY, Reply(b"\xd2\x84nonsense"), Reason.DOCUMENT_REFUSED),
    (f"{DEVICE_STATUS}/0", Reply(b"\xd2\x84nonsense"), Reason.DOCUMENT_REFUSED),
]


@pytest.mark.parametrize(("path", "reply", "reason"), ANSWERS)
async def test_an_answer_that_cannot_be_used(
    listener: PeerListener, tmp_path: Path, path: str, reply: Reply, reason: Reason
):
    async def answer(_request: Request) -> Reply:
        return reply

    listener.overrides[path] = answer
    error = await failure(door(listener, tmp_path / "door"))
    assert error.reason is reason
    assert error.remedy


async def test_a_certificate_for_another_key(listener: PeerListener, tmp_path: Path):
    listener.certify_instead = ec.generate_private_key(ec.SECP256R1()).public_key()
    error = await failure(door(listener, tmp_path / "door"))
    assert error.reason is Reason.CERTIFICATE_WRONG
    assert not (tmp_path / "door" / "device.crt").exists()


async def test_a_description_of_another_device(listener: PeerListener, tmp_path: Path):
    listener.device = "back-door-1111"
    assert (await failure(door(listener, tmp_path / "door"))).reason is Reason.DOCUMENT_REFUSED


def _foreign_root(cloud: PeerCloud) -> None:
    cloud.trust_signer = signer(66)


def _foreign_list(cloud: PeerCloud) -> None:
    cloud.status_key = signer(66)


def _foreign_policy(cloud: PeerCloud) -> None:
    cloud.policy_key = signer(66)


def _other_tenants_bundle(cloud: PeerCloud) -> None:
    cloud.trust = replace(cloud.trust, tenant=Tenant("other"))


def _other_doors_policy(cloud: PeerCloud) -> None:
    cloud.policy = replace(cloud.policy, door=DoorId("back-door"))


def _other_tenants_list(cloud: PeerCloud) -> None:
    cloud.statuses[0] = replace(cloud.statuses[0], tenant="other")


def _expired_keys(cloud: PeerCloud) -> None:
    keys = tuple(replace(key, not_before_s=1, expires_at_s=2) for key in cloud.trust.keys)
    cloud.trust = replace(cloud.trust, keys=keys)


@pytest.mark.parametrize(
    "lie",
    [
        _foreign_root,
        _foreign_list,
        _foreign_policy,
        _other_tenants_bundle,
        _other_doors_policy,
        _other_tenants_list,
        _expired_keys,
    ],
)
async def test_a_document_that_does_not_verify(
    listener: PeerListener, tmp_path: Path, lie: Callable[[PeerCloud], None]
):
    lie(listener.cloud)
    assert (await failure(door(listener, tmp_path / "door"))).reason is Reason.DOCUMENT_REFUSED


# --- this machine ------------------------------------------------------------------------------------------


async def test_a_folder_that_is_a_file(listener: PeerListener, tmp_path: Path):
    (tmp_path / "door").write_text("")
    with pytest.raises(ProvisioningError) as caught:
        await provision(door(listener, tmp_path / "door"))
    assert (caught.value.reason, caught.value.reason.exit_code) == (Reason.FOLDER_UNUSABLE, 2)
    assert listener.requests == []


async def test_a_folder_on_a_file_system_that_cannot_be_written(listener: PeerListener, tmp_path: Path):
    desired = door(listener, tmp_path / "door")
    desired = replace(desired, folder=desired.folder.__class__("/proc/doorward"))
    with pytest.raises(ProvisioningError) as caught:
        await provision(desired)
    assert caught.value.reason is Reason.FOLDER_UNUSABLE


@pytest.mark.parametrize(
    "change",
    [
        {"lock": "relay:///dev/x"},
        {"readers": {"a": "serial:"}},
        {"inputs": ("relay:///dev/x",)},
        {"inputs": ("gpio:///dev/gpiochip0?fire=5", "modbus+tcp://10.0.0.7?bell=0")},
        {"inputs": ("gpio:///dev/gpiochip0?fire=5", "modbus+tcp://10.0.0.7?fire=0")},
    ],
)
async def test_device_addresses_that_no_adapter_understands_or_that_contradict_each_other(
    listener: PeerListener, tmp_path: Path, change: dict[str, object]
):
    error = await failure(replace(door(listener, tmp_path / "door"), **change))  # type: ignore[arg-type]
    assert (error.reason, error.reason.exit_code) == (Reason.DEVICE_ADDRESS_INVALID, 2)
    assert listener.requests == []


async def test_a_reader_name_that_is_none_is_found_before_the_configuration_takes_its_place(
    listener: PeerListener, tmp_path: Path
):
    desired = replace(door(listener, tmp_path / "door"), readers={"Front Door": "camera:0"})
    error = await failure(desired)
    assert error.reason is Reason.CONFIG_REFUSED
    assert "reader" in str(error)


async def test_a_key_that_others_may_read(listener: PeerListener, tmp_path: Path):
    folder = tmp_path / "door"
    folder.mkdir()
    (folder / "device.key").write_bytes(b"key")
    (folder / "device.key").chmod(0o640)
    error = await failure(door(listener, folder))
    assert error.reason is Reason.KEY_UNUSABLE
    assert f"rm {folder / 'device.key'}" in str(error)


def _p384() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", _p384()])
async def test_a_key_file_that_is_no_p256_key(listener: PeerListener, tmp_path: Path, content: bytes):
    folder = tmp_path / "door"
    folder.mkdir()
    (folder / "device.key").write_bytes(content)
    (folder / "device.key").chmod(0o600)
    assert (await failure(door(listener, folder))).reason is Reason.KEY_UNUSABLE
