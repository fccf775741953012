"""Enrol and re-enrol devices: certificate requests in, certificates out (RFC 7030 §4.2).

Invariant: tenant, door and device id come from the claim or from the certificate in use, never from the request.
Must not: accept a key that the requester does not hold.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloud.database import ACQUIRE_S, Connection, Pool
from cloud.devices.authority import DeviceAuthority, fingerprint
from cloud.devices.claims import spend_claim, take_claim
from cloud.devices.guard import DeviceIdentity
from cloud.errors import CloudError, Reason
from wire.messages import CLAIM_SECRET_BYTES, EST_CLAIM_USER
from wire.names import DeviceId, DoorId

MAX_REQUEST_BYTES: Final = 16 * 1024
"""A P-256 request is about 400 bytes; EST clients may add attributes."""
_SUFFIX_CHARACTERS: Final = 8
_SUFFIX_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DEVICE_DOOR_CHARACTERS: Final = 22
"""22, a hyphen and 8 random ones: with a tenant of 32 characters and a "/" they fill a certificate's common name."""


@dataclass(frozen=True, slots=True)
class _Certified:
    """A new certificate as the devices table keeps it."""

    certificate: x509.Certificate
    public_key: ec.EllipticCurvePublicKey

    @property
    def columns(self) -> tuple[bytes, str, datetime, bytes]:
        """Fingerprint, serial, end, compressed public key."""
        return (
            fingerprint(self.certificate.public_bytes(Encoding.DER)),
            f"{self.certificate.serial_number:x}",
            self.certificate.not_valid_after_utc,
            self.public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        )


def read_request(body: bytes) -> ec.EllipticCurvePublicKey:
    """Give the P-256 key of a base64 PKCS#10 request whose self-signature holds.

    Raises:
        CloudError: REQUEST_UNREADABLE, REQUEST_KEY_UNSUPPORTED or REQUEST_SIGNATURE_INVALID.
    """
    try:
        request = x509.load_der_x509_csr(base64.b64decode(b"".join(body.split()), validate=True))
        key = request.public_key()
        valid = request.is_signature_valid
    except UnsupportedAlgorithm as error:
        raise _unsupported() from error
    except (binascii.Error, ValueError, TypeError) as error:
        detail = "Expected a PKCS#10 certificate request in base64 (RFC 7030 §4.2.1)."
        raise CloudError(Reason.REQUEST_UNREADABLE, detail) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unsupported()
    if not valid:
        detail = "The certificate request is not signed by the key that it names."
        raise CloudError(Reason.REQUEST_SIGNATURE_INVALID, detail)
    return key


def read_claim_secret(authorization: str | None) -> bytes:
    """Give the claim's secret from an HTTP Basic header.

    Raises:
        CloudError: CLAIM_REQUIRED without a usable header.
    """
    scheme, _, encoded = (authorization or "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
        secret = bytes.fromhex(password)
    except ValueError:
        user, secret = "", b""
    if scheme.lower() != "basic" or user != EST_CLAIM_USER or len(secret) != CLAIM_SECRET_BYTES:
        detail = f'Enrolment needs HTTP Basic with user "{EST_CLAIM_USER}" and the claim\'s secret in hexadecimal.'
        raise CloudError(Reason.CLAIM_REQUIRED, detail)
    return secret


async def enrol(
    pool: Pool, authority: DeviceAuthority, *, secret: bytes, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.Certificate:
    """Turn a claim into a new device with a certificate, all or nothing.

    Raises:
        CloudError: as `take_claim`.
    """
    async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
        claim = await take_claim(connection, secret, now=now)
        device = _new_device_id(claim.door)
        certificate = authority.certify_device(public_key, tenant=claim.tenant, device=device, now=now)
        await _insert(connection, (claim.tenant, device, claim.door, now), _Certified(certificate, public_key))
        await spend_claim(connection, claim, device=device, now=now)
    return certificate


async def re_enrol(
    pool: Pool,
    authority: DeviceAuthority,
    *,
    identity: DeviceIdentity,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
) -> x509.Certificate:
    """Give a device a new certificate; the one that it has just used stays good until the new one is seen.

    Raises:
        CloudError: DEVICE_REVOKED when it was revoked meanwhile.
    """
    certificate = authority.certify_device(public_key, tenant=identity.tenant, device=identity.device, now=now)
    updated = await pool.fetchval(
        "UPDATE devices SET certificate_fingerprint = $3, certificate_serial = $4, certificate_not_after = $5,"
        " public_key = $6, previous_fingerprint = $7"
        " WHERE tenant_id = $1 AND id = $2 AND status = 'active' RETURNING true",
        identity.tenant,
        identity.device,
        *_Certified(certificate, public_key).columns,
        identity.fingerprint,
    )
    if updated is None:
        raise CloudError(Reason.DEVICE_REVOKED, "This device has been revoked; enrol it again with a new claim code.")
    return certificate


async def _insert(connection: Connection, who: tuple[str, DeviceId, DoorId, datetime], certified: _Certified) -> None:
    await connection.execute(
        "INSERT INTO devices (tenant_id, id, door_id, enrolled_at,"
        " certificate_fingerprint, certificate_serial, certificate_not_after, public_key)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *who,
        *certified.columns,
    )


def _new_device_id(door: DoorId) -> DeviceId:
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_CHARACTERS))
    return DeviceId(f"{door[:_DEVICE_DOOR_CHARACTERS]}-{suffix}")


def _unsupported() -> CloudError:
    return CloudError(Reason.REQUEST_KEY_UNSUPPORTED, "The key of the certificate request must be P-256 (secp256r1).")
