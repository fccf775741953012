"""Real clouds and real doors for tests: a running service, and a device that enrols at it."""

from __future__ import annotations

import asyncio
import atexit
import base64
import hashlib
import shutil
import ssl
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import NameOID

from cloud.server import Addresses, serve
from cloud.settings import Address, CloudSettings
from tests.support.waiting import DEADLINE_S
from wire.messages import EST_CACERTS, EST_CLAIM_USER, EST_ENROL, decode_claim_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = Address("127.0.0.1", 0)


def reachable_folder() -> Path:
    """Make a fresh folder that PostgreSQL's user can reach: pytest's own are closed to others when root runs it."""
    folder = Path(tempfile.mkdtemp(prefix="doorward-test-"))
    folder.chmod(0o711)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True, slots=True)
class RunningCloud:
    """A service that answers, and what an operator knows of it."""

    state: Path
    addresses: Addresses
    token: str
    api: httpx.AsyncClient

    async def make_door(self, tenant: str, door: str = "main-entrance", site: str = "campus") -> None:
        """Make an institution with one door."""
        made = await self.api.post("/api/v1/institutions", json={"id": tenant, "name": tenant, "timezone": "UTC"})
        assert made.status_code == 201, made.text
        made = await self.api.post(f"/api/v1/institutions/{tenant}/doors", json={"id": door, "site": site})
        assert made.status_code == 201, made.text

    async def claim(self, tenant: str, door: str = "main-entrance") -> str:
        """Make a claim code."""
        made = await self.api.post(f"/api/v1/institutions/{tenant}/doors/{door}/claims")
        assert made.status_code == 201, made.text
        code: str = made.json()["claimCode"]
        return code

    async def enrolled(self, tenant: str) -> Device:
        """Make an institution, a door, and a device that controls it."""
        await self.make_door(tenant)
        return await enrol(self.addresses.device_url, await self.claim(tenant))


@dataclass(frozen=True, slots=True)
class Device:
    """A door's controller: a key, a certificate, and the CA that it trusts."""

    url: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    ca: x509.Certificate

    @property
    def name(self) -> str:
        """The device id, from the certificate."""
        name = str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        return name.rpartition("/")[2]

    def client(self) -> httpx.AsyncClient:
        """Talk with the client certificate."""
        return httpx.AsyncClient(base_url=self.url, verify=self.context(), timeout=DEADLINE_S)

    def context(self) -> ssl.SSLContext:
        """Make a TLS context that shows the client certificate."""
        context = trusting(self.ca)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.write(self.certificate.public_bytes(Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)
        return context


@asynccontextmanager
async def running_cloud(settings: CloudSettings) -> AsyncIterator[RunningCloud]:
    """Serve until the block ends, then stop cleanly."""
    answers: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    service = asyncio.create_task(serve(settings, ready=answers.set_result, progress=lambda _: None, stop=stop))
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait((service, answers), return_when=asyncio.FIRST_COMPLETED)
    if service.done():
        await service
    addresses = answers.result()
    token = (settings.state / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(base_url=addresses.api_url, headers=headers, timeout=DEADLINE_S) as api:
            yield RunningCloud(settings.state, addresses, token, api)
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await service


def trusting(ca: x509.Certificate) -> ssl.SSLContext:
    """Make a client's TLS context that believes this CA alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca.public_bytes(Encoding.PEM).decode())
    return context


def certificate_request(key: ec.EllipticCurvePrivateKey, name: str = "whatever") -> bytes:
    """Write a signed certificate request as EST wants it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    return base64.encodebytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def certificate_in(body: bytes) -> x509.Certificate:
    """Read the one certificate of an EST answer."""
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))
    return certificate


def claim_headers(code: str) -> dict[str, str]:
    """Show a claim code as EST's HTTP Basic."""
    secret, _ = decode_claim_code(code)
    credentials = base64.b64encode(f"{EST_CLAIM_USER}:{secret.hex()}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


async def fetch_ca(url: str, code: str) -> x509.Certificate:
    """Fetch the CA without trust and recognise it by the claim code (RFC 7030 §4.1.1)."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    async with httpx.AsyncClient(base_url=url, verify=blind, timeout=DEADLINE_S) as client:
        answer = await client.get(EST_CACERTS)
    ca = certificate_in(answer.content)
    _, fingerprint = decode_claim_code(code)
    assert hashlib.sha256(ca.public_bytes(Encoding.DER)).digest().startswith(fingerprint)
    return ca


async def enrol(url: str, code: str) -> Device:
    """Enrol a new device with a claim code."""
    ca = await fetch_ca(url, code)
    key = ec.generate_private_key(ec.SECP256R1())
    async with httpx.AsyncClient(base_url=url, verify=trusting(ca), timeout=DEADLINE_S) as client:
        answer = await client.post(EST_ENROL, content=certificate_request(key), headers=claim_headers(code))
    assert answer.status_code == 200, answer.text
    return Device(url=url, key=key, certificate=certificate_in(answer.content), ca=ca)
