"""Twin doors for load: really enrolled, with journals and signed batches made before the clock starts.

Invariant: what is sent is what a door would send: its own key, one chain, batches in order.
Must not: be fast by leaving anything out.
"""

import asyncio
import base64
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

from wire.batch import EPOCH_BYTES, seal_batch
from wire.event import CHAIN_START, Event, chain_hash, encode_event
from wire.keys import P256Signer
from wire.messages import DEVICE_EVENTS, EST_CACERTS, EST_CLAIM_USER, EST_ENROL, MEDIA_COSE, decode_claim_code
from wire.names import Assurance, ClockState, DeviceId, DoorId, EventKind, Step, Tenant

BENCH: Final = Tenant("bench")
_ENROLLING = 4
_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class TwinDoor:
    """A door that has enrolled."""

    device: DeviceId
    door: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    ca: x509.Certificate

    def tls(self) -> ssl.SSLContext:
        """Make the context of its connections."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.ca.public_bytes(Encoding.PEM).decode())
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.write(self.certificate.public_bytes(Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def files(self, folder: Path) -> tuple[Path, Path, Path]:
        """Write certificate, key and CA into a folder of their own; gives the three paths."""
        folder.mkdir(mode=0o700)
        certificate, key, ca = (folder / name for name in ("certificate.pem", "key.pem", "ca.pem"))
        certificate.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        ca.write_bytes(self.ca.public_bytes(Encoding.PEM))
        return certificate, key, ca

    def batches(self, *, count: int, size: int, now_ms: int) -> Iterator[bytes]:
        """Give signed batches of one journal, in order."""
        signer, epoch, prev, seq = P256Signer(self.key), secrets.token_bytes(EPOCH_BYTES), CHAIN_START, 0
        for _ in range(count):
            events = []
            for _ in range(size):
                seq += 1
                events.append(self._event(seq, prev, now_ms))
                prev = chain_hash(events[-1])
            first = seq - size + 1
            yield seal_batch(device=self.device, epoch=epoch, first=first, events=events, signer=signer)

    def _event(self, seq: int, prev: bytes, now_ms: int) -> bytes:
        """Make an event with every field that a granted tap fills."""
        event = Event(
            device=self.device,
            boot=1,
            seq=seq,
            wall_ms=now_ms + seq,
            monotonic_ms=100_000 + seq,
            clock=ClockState.TRUSTED,
            door=DoorId(self.door),
            access_point="entry",
            kind=EventKind.ACCESS_GRANTED,
            step=Step.GRANT,
            granted=True,
            credential=secrets.token_bytes(6),
            assurance=Assurance.ROTATING,
            reader="qr-1",
            rule="level-7",
            policy_version=17,
            trust_version=2,
            status_sequence=881,
            status_age_s=40,
            elapsed_us=2_345,
            prev=prev,
        )
        return encode_event(event)


def request(batch: bytes) -> bytes:
    """Give the whole HTTP request that carries a batch."""
    head = f"POST {DEVICE_EVENTS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(batch)}\r\n"
    return f"{head}content-type: {MEDIA_COSE}\r\n\r\n".encode() + batch


async def enrol_doors(*, api_url: str, device_url: str, token: str, count: int) -> list[TwinDoor]:
    """Make an institution with so many doors, and enrol a device at each."""
    turn = asyncio.Semaphore(_ENROLLING)
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=api_url, headers=headers, timeout=_DEADLINE_S) as api:
        await _post(api, "/api/v1/institutions", {"id": BENCH, "name": "Bench", "timezone": "UTC"})

        async def one(number: int) -> TwinDoor:
            async with turn:
                return await _enrol(api, device_url, f"door-{number:03d}")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(count)]
    return [task.result() for task in tasks]


async def _enrol(api: httpx.AsyncClient, device_url: str, door: str) -> TwinDoor:
    await _post(api, f"/api/v1/institutions/{BENCH}/doors", {"id": door, "site": "campus"})
    claim = await _post(api, f"/api/v1/institutions/{BENCH}/doors/{door}/claims", None)
    secret, _ = decode_claim_code(claim["claimCode"])
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    async with httpx.AsyncClient(base_url=device_url, verify=blind, timeout=_DEADLINE_S) as client:
        ca = _certificate((await client.get(EST_CACERTS)).raise_for_status())
        answer = await client.post(
            EST_ENROL,
            content=base64.encodebytes(csr.public_bytes(Encoding.DER)),
            auth=(EST_CLAIM_USER, secret.hex()),
        )
    certificate = _certificate(answer.raise_for_status())
    name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    return TwinDoor(DeviceId(str(name).rpartition("/")[2]), door, key, certificate, ca)


async def _post(api: httpx.AsyncClient, path: str, body: object) -> dict[str, str]:
    answer = (await api.post(path, json=body)).raise_for_status()
    found: dict[str, str] = answer.json()
    return found


def _certificate(answer: httpx.Response) -> x509.Certificate:
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))
    return certificate
