"""Enrolment end to end over real TLS: claims, certificate requests, certificates."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.clouds import (
    RunningCloud,
    certificate_in,
    certificate_request,
    claim_headers,
    enrol,
    fetch_ca,
    trusting,
)
from tests.support.waiting import DEADLINE_S
from wire.codec import decode
from wire.keys import Algorithm, parse_key
from wire.messages import DEVICE_BOOTSTRAP, EST_CACERTS, EST_ENROL, EST_REENROL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_addresses = count(2)
_KEY = ec.generate_private_key(ec.SECP256R1())


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(name="cloud")
def _cloud(shared_cloud: RunningCloud) -> RunningCloud:
    return shared_cloud


@pytest_asyncio.fixture(name="door", loop_scope="module")
async def _door(cloud: RunningCloud) -> AsyncIterator[httpx.AsyncClient]:
    """A device that trusts the CA but has no certificate, at an address of its own (failures count by address)."""
    if (await cloud.api.get("/api/v1/institutions/claiming/doors")).status_code == 404:
        await cloud.make_door("claiming")
    context = trusting(await fetch_ca(cloud.addresses.device_url, await cloud.claim("claiming")))
    transport = httpx.AsyncHTTPTransport(verify=context, local_address=f"127.0.0.{next(_addresses)}")
    async with httpx.AsyncClient(
        base_url=cloud.addresses.device_url, transport=transport, timeout=DEADLINE_S
    ) as client:
        yield client


async def test_a_claim_becomes_a_certificate_that_names_the_device_as_the_claim_says(cloud: RunningCloud):
    device = await cloud.enrolled("north-school")
    certificate = device.certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    certificate.verify_directly_issued_by(device.ca)
    assert certificate.public_key() == device.key.public_key()
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"urn:doorward:north-school:{device.name}"]
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert device.name.startswith("main-entrance-")
    lifetime = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=89) < lifetime <= timedelta(days=90)


async def test_a_device_learns_where_it_stands_and_which_root_to_pin(cloud: RunningCloud):
    device = await cloud.enrolled("south-school")
    async with device.client() as client:
        answer = (await client.get(DEVICE_BOOTSTRAP)).json()
    root = parse_key(decode(bytes.fromhex(answer.pop("root_key")), field="root", max_bytes=128), "root")
    assert root.algorithm is Algorithm.ED25519
    assert answer == {
        "broker": None,
        "tenant": "south-school",
        "site": "campus",
        "door": "main-entrance",
        "access_point": "entry",
        "device": device.name,
        "timezone": "UTC",
    }


async def test_operators_see_the_device_and_its_certificate(cloud: RunningCloud):
    device = await cloud.enrolled("east-school")
    (listed,) = (await cloud.api.get("/api/v1/institutions/east-school/devices")).json()["data"]
    assert listed["id"] == device.name
    assert listed["status"] == "offline"
    assert listed["certificate"]["fingerprint"] == device.certificate.fingerprint(hashes.SHA256()).hex()
    assert listed["certificate"]["serial"] == f"{device.certificate.serial_number:x}"
    assert listed["mark"] == 0


async def test_two_devices_of_one_door_have_different_names(cloud: RunningCloud):
    first = await cloud.enrolled("west-school")
    second = await enrol(cloud.addresses.device_url, await cloud.claim("west-school"))
    assert first.name != second.name


async def test_a_claim_is_used_once(cloud: RunningCloud, door: httpx.AsyncClient):
    headers = claim_headers(await cloud.claim("claiming"))
    first = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=headers)
    second = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=headers)
    assert (first.status_code, second.status_code) == (200, 401)
    assert second.json()["reason"] == "CLAIM_USED"


async def test_two_that_use_one_claim_at_once_get_one_certificate(cloud: RunningCloud, door: httpx.AsyncClient):
    headers = claim_headers(await cloud.claim("claiming"))
    requests = (door.post(EST_ENROL, content=certificate_request(_KEY), headers=headers) for _ in range(4))
    answers = await asyncio.gather(*requests)
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_a_wrong_code_is_refused(cloud: RunningCloud, door: httpx.AsyncClient):
    code = await cloud.claim("claiming")
    wrong = ("0" if code[0] != "0" else "1") + code[1:]
    answer = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=claim_headers(wrong))
    assert answer.status_code == 401
    assert answer.json()["reason"] == "CLAIM_UNKNOWN"
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_an_expired_code_is_refused(cloud: RunningCloud, door: httpx.AsyncClient, database_url: str):
    headers = claim_headers(await cloud.claim("claiming"))
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE claims SET expires_at = now() WHERE used_at IS NULL")
    await connection.close()
    answer = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["reason"] == "CLAIM_EXPIRED"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer 00112233445566778899",
        "Basic !!!",
        "Basic " + base64.b64encode(b"admin:00112233445566778899").decode(),
        "Basic " + base64.b64encode(b"claim:0011").decode(),
        "Basic " + base64.b64encode(b"claim:\xff\xfe").decode(),
        "Basic " + base64.b64encode(b"claim:zz112233445566778899").decode(),
    ],
)
async def test_enrolment_without_a_readable_claim_is_refused(door: httpx.AsyncClient, authorization: str):
    headers = {"Authorization": authorization}
    answer = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["reason"] == "CLAIM_REQUIRED"


def _altered(request: bytes) -> bytes:
    der = bytearray(base64.b64decode(request))
    position = der.index(b"whatever")
    der[position] ^= 1
    return base64.b64encode(der)


def _request_of_other_key(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "door")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return base64.b64encode(builder.sign(key, algorithm).public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "REQUEST_UNREADABLE"),
        (b"not base64!", "REQUEST_UNREADABLE"),
        (base64.b64encode(b"not a request"), "REQUEST_UNREADABLE"),
        (base64.b64encode(bytes(12_000)), "REQUEST_UNREADABLE"),
        (_altered(certificate_request(_KEY)), "REQUEST_SIGNATURE_INVALID"),
        (_request_of_other_key(ec.generate_private_key(ec.SECP384R1())), "REQUEST_KEY_UNSUPPORTED"),
        (_request_of_other_key(ed25519.Ed25519PrivateKey.generate()), "REQUEST_KEY_UNSUPPORTED"),
    ],
    ids=["empty", "no-base64", "no-request", "zeros", "altered", "other-curve", "ed25519"],
)
async def test_an_unusable_request_is_refused_and_the_claim_stays_good(
    cloud: RunningCloud, door: httpx.AsyncClient, body: bytes, reason: str
):
    headers = claim_headers(await cloud.claim("claiming"))
    refused = await door.post(EST_ENROL, content=body, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["reason"] == reason
    accepted = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=headers)
    assert accepted.status_code == 200


async def test_an_oversize_request_is_refused(cloud: RunningCloud, door: httpx.AsyncClient):
    headers = claim_headers(await cloud.claim("claiming"))
    answer = await door.post(EST_ENROL, content=b"A" * (16 * 1024 + 1), headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_sixth_attempt_within_a_minute_must_wait(cloud: RunningCloud, door: httpx.AsyncClient):
    wrong = claim_headers("0000-0000-0000-0000-0000-0000-0000-0000")
    for _ in range(5):
        assert (await door.post(EST_ENROL, content=certificate_request(_KEY), headers=wrong)).status_code == 401
    right = claim_headers(await cloud.claim("claiming"))
    answer = await door.post(EST_ENROL, content=certificate_request(_KEY), headers=right)
    assert answer.status_code == 429
    assert answer.json()["reason"] == "TOO_MANY_ATTEMPTS"
    assert 1 <= int(answer.headers["retry-after"]) <= 61


async def test_a_ca_answer_is_one_base64_certificate_that_anyone_may_fetch(door: httpx.AsyncClient):
    answer = await door.get(EST_CACERTS)
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.headers["content-transfer-encoding"] == "base64"
    constraints = certificate_in(answer.content).extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca


async def test_a_renewed_certificate_replaces_the_old_one_once_it_is_used(cloud: RunningCloud):
    old = await cloud.enrolled("renewing")
    key = ec.generate_private_key(ec.SECP256R1())
    async with old.client() as client:
        answer = await client.post(EST_REENROL, content=certificate_request(key))
        assert answer.status_code == 200
        assert (await client.get(DEVICE_BOOTSTRAP)).status_code == 200, "the answer may have been lost"
    certificate = certificate_in(answer.content)
    new = type(old)(url=old.url, key=key, certificate=certificate, ca=old.ca)
    assert new.name == old.name
    async with new.client() as client:
        assert (await client.get(DEVICE_BOOTSTRAP)).status_code == 200


async def test_a_renewal_needs_a_usable_request(cloud: RunningCloud):
    device = await cloud.enrolled("careless")
    async with device.client() as client:
        answer = await client.post(EST_REENROL, content=b"nonsense")
    assert answer.json()["reason"] == "REQUEST_UNREADABLE"
