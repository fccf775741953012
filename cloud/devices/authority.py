"""The device CA: it signs the doors' certificates and the device listener's.

Invariant: its key never leaves STATE/ca, and what a certificate says comes from our database, never from a request.
Must not: be trusted for anything but device identity. Source: RFC 5280, RFC 7030 §4.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.broker.names import cloud_name
from cloud.errors import CloudError, Reason
from cloud.files import PUBLIC_FILE, make_folder, read_secret, write_file
from wire.messages import CA_FINGERPRINT_BYTES
from wire.names import DeviceId, Tenant

DEVICE_LIFETIME: Final = timedelta(days=90)
LISTENER_LIFETIME: Final = timedelta(days=180)
_MAX_COMMON_NAME: Final = 64
"""RFC 5280, ub-common-name."""
_CA_LIFETIME: Final = timedelta(days=20 * 365)
_BACKDATE: Final = timedelta(hours=1)
"""A door's clock may be behind ours when it first checks a certificate."""
_CURVE: Final = ec.SECP256R1()
_CA_FILE: Final = "device-ca.pem"
_RESTORE: Final = "Restore it from the backup."


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def to_pem(self) -> bytes:
        """Write both in one file's content, so that they can be replaced together."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.certificate.public_bytes(Encoding.PEM)


class DeviceAuthority:
    """Signs certificates.

    Args:
        identity: the CA's key and certificate.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.certificate: Final = identity.certificate
        self.der: Final = identity.certificate.public_bytes(Encoding.DER)
        self.fingerprint: Final = hashlib.sha256(self.der).digest()[:CA_FINGERPRINT_BYTES]
        """The part of a claim code by which a door recognises this CA."""

    def certify_device(
        self, public_key: ec.EllipticCurvePublicKey, *, tenant: Tenant, device: DeviceId, now: datetime
    ) -> x509.Certificate:
        """Certify a door's key for 90 days.

        The common name is what a broker knows the door by. A device id is unique only within its tenant, so both are
        in it (docs/adr/0008-mqtt-identity.md); the few names that do not fit stay with HTTPS.
        """
        name = f"{tenant}/{device}"
        uri = x509.UniformResourceIdentifier(f"urn:doorward:{tenant}:{device}")
        builder = _leaf(name if len(name) <= _MAX_COMMON_NAME else str(device), [uri], ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._sign(builder, public_key, now=now, lifetime=DEVICE_LIFETIME)

    def certify_listener(self, names: Sequence[str], *, now: datetime) -> Identity:
        """Make a fresh key and certificate for the device listener."""
        key = ec.generate_private_key(_CURVE)
        builder = _leaf(names[0], [_general_name(name) for name in names], ExtendedKeyUsageOID.SERVER_AUTH)
        certificate = self._sign(builder, key.public_key(), now=now, lifetime=LISTENER_LIFETIME)
        return Identity(key, certificate)

    def certify_service(self, name: str = cloud_name(0), *, now: datetime) -> Identity:
        """Make a fresh key and certificate for one of the cloud's own programs as a client of its broker.

        Args:
            name: who it is there (cloud/broker/names.py).
            now: when the certificate begins.
        """
        key = ec.generate_private_key(_CURVE)
        uri = x509.UniformResourceIdentifier(f"urn:doorward:service:{name.removeprefix('_')}")
        builder = _leaf(name, [uri], ExtendedKeyUsageOID.CLIENT_AUTH)
        return Identity(key, self._sign(builder, key.public_key(), now=now, lifetime=LISTENER_LIFETIME))

    def _sign(
        self,
        builder: x509.CertificateBuilder,
        public_key: ec.EllipticCurvePublicKey,
        *,
        now: datetime,
        lifetime: timedelta,
    ) -> x509.Certificate:
        issuer_key_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id)
        return (
            _dated(builder, now=now, lifetime=lifetime)
            .public_key(public_key)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._identity.key, hashes.SHA256())
        )


def open_authority(folder: Path, *, now: datetime) -> DeviceAuthority:
    """Load the CA from STATE/ca, making it at the first start.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    make_folder(folder)
    found = load_authority(folder)
    if found is not None:
        return found
    identity = _make_ca(now)
    write_file(folder / _CA_FILE, identity.to_pem())
    write_file(folder / "ca.crt", identity.certificate.public_bytes(Encoding.PEM), mode=PUBLIC_FILE)
    return DeviceAuthority(identity)


def load_authority(folder: Path) -> DeviceAuthority | None:
    """Load the CA from STATE/ca; None when there is none yet.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    path = folder / _CA_FILE
    pem = read_secret(path)
    return None if pem is None else DeviceAuthority(read_identity(pem, path))


def read_identity(pem: bytes, path: Path) -> Identity:
    """Read what `Identity.to_pem` wrote.

    Raises:
        CloudError: STATE_UNUSABLE, naming the file.
    """
    try:
        key = load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CloudError(Reason.STATE_UNUSABLE, f"{path} is damaged.", remedy=_RESTORE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CloudError(Reason.STATE_UNUSABLE, f"{path}: key and certificate do not match.", remedy=_RESTORE)
    return Identity(key, certificate)


def certificates_only(certificates: Sequence[x509.Certificate]) -> bytes:
    """Wrap certificates as the PKCS#7 "certs-only" message of EST, DER (RFC 7030 §4.1.3)."""
    return pkcs7.serialize_certificates(list(certificates), Encoding.DER)


def fingerprint(certificate_der: bytes) -> bytes:
    """SHA-256 of a certificate, by which a device is looked up; 32 bytes."""
    return hashlib.sha256(certificate_der).digest()


def _make_ca(now: datetime) -> Identity:
    key = ec.generate_private_key(_CURVE)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Doorward device CA")])
    usage = _usage(signs_certificates=True)
    certificate = (
        _dated(x509.CertificateBuilder(), now=now, lifetime=_CA_LIFETIME)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(key, certificate)


def _dated(builder: x509.CertificateBuilder, *, now: datetime, lifetime: timedelta) -> x509.CertificateBuilder:
    dated = builder.not_valid_before(now - _BACKDATE).not_valid_after(now + lifetime)
    return dated.serial_number(x509.random_serial_number())


def _leaf(common_name: str, names: list[x509.GeneralName], purpose: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
