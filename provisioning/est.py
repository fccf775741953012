"""Enrolment over secure transport, the door's half (RFC 7030): recognise the CA, ask for a certificate, check it.

Invariant: pure; an authority is believed only when its fingerprint is the claim code's, a certificate only when it
is for our key, by that authority, for a door.
Must not: open connections or files.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.errors import ProvisioningError, Reason
from wire.errors import WireError, WireReason
from wire.messages import CA_FINGERPRINT_BYTES, EST_CLAIM_USER, decode_claim_code

MAX_CERTIFICATES_BYTES: Final = 32 * 1024
_MAX_CERTIFICATES: Final = 8


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim code, read.

    Attributes:
        secret: proves the right to enrol; never shown.
        fingerprint: the start of SHA-256 over the CA certificate's DER.
    """

    secret: bytes
    fingerprint: bytes

    def __repr__(self) -> str:
        """Show that there is one, not which."""
        return "Claim(…)"

    @property
    def authorization(self) -> str:
        """The HTTP Basic header that shows the secret (docs/spec/sync.md)."""
        return "Basic " + base64.b64encode(f"{EST_CLAIM_USER}:{self.secret.hex()}".encode()).decode()


def read_claim(code: str) -> Claim:
    """Read a claim code as typed.

    Raises:
        ProvisioningError: CLAIM_MALFORMED.
    """
    try:
        return Claim(*decode_claim_code(code))
    except WireError as error:
        fault = {
            WireReason.WRONG_ALPHABET: "has a character that claim codes do not use",
            WireReason.OUT_OF_RANGE: "does not have 32 letters and digits",
            WireReason.TOO_LARGE: "is far too long",
        }.get(error.reason, "is none")
        raise ProvisioningError(
            Reason.CLAIM_MALFORMED,
            what=f"the claim code {fault}",
            remedy="copy it from the cloud again: eight groups of four, joined by hyphens",
        ) from error


def read_certificates(body: bytes) -> list[x509.Certificate]:
    """Read the certificates of an EST answer: base64 of PKCS#7 certs-only (RFC 7030 §4.1.3).

    Raises:
        ProvisioningError: ANSWER_UNREADABLE.
    """
    try:
        found = pkcs7.load_der_pkcs7_certificates(base64.b64decode(b"".join(body.split()), validate=True))
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise unreadable("no certificates") from error
    if not 1 <= len(found) <= _MAX_CERTIFICATES:
        raise unreadable(f"{len(found)} certificates")
    return found


def unreadable(what: str) -> ProvisioningError:
    """Make the error for an answer that is not what the protocol says."""
    return ProvisioningError(
        Reason.ANSWER_UNREADABLE,
        what=f"the server answered with {what}",
        remedy="check that the address is the cloud's listener for doors, and that no proxy answers in its place",
    )


def recognise(certificates: list[x509.Certificate], claim: Claim) -> x509.Certificate:
    """Give the authority whose fingerprint is the claim code's.

    Raises:
        ProvisioningError: FINGERPRINT_WRONG.
    """
    for certificate in certificates:
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        if hmac.compare_digest(digest[:CA_FINGERPRINT_BYTES], claim.fingerprint):
            return certificate
    raise ProvisioningError(
        Reason.FINGERPRINT_WRONG,
        what="the server is not the cloud that made this claim code, or the code was mistyped",
        remedy="compare address and code with the cloud's; if both are right, somebody stands between: stop here",
    )


def check_time(certificate: x509.Certificate, now: datetime) -> None:
    """See that this machine's clock fits a certificate that is known to be right.

    Raises:
        ProvisioningError: CLOCK_WRONG.
    """
    if certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return
    raise ProvisioningError(
        Reason.CLOCK_WRONG,
        what=(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, but the cloud's certificates hold from"
            f" {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
        ),
        remedy='set the clock (sudo timedatectl set-time "2026-01-31 12:00", or reach a time server) and run again',
    )


def make_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a certificate request in base64 DER (RFC 7030 §4.2.1); who we are comes from the claim, not from here."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "doorward device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.encodebytes(request.public_bytes(Encoding.DER))


@dataclass(frozen=True, slots=True)
class CertifiedAs:
    """Who a device certificate says we are."""

    tenant: str
    device: str


def check_certificate(
    certificate: x509.Certificate, *, key: ec.EllipticCurvePrivateKey, ca: x509.Certificate
) -> CertifiedAs:
    """Check a device certificate and give whom it names.

    Raises:
        ProvisioningError: CERTIFICATE_WRONG.
    """
    if certificate.public_key() != key.public_key():
        raise _wrong("it is for another key")
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise _wrong("the cloud's authority did not sign it") from error
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise _wrong("it does not say whom it is for") from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise _wrong("it is not for a door")
    return _named(names)


def _named(names: x509.SubjectAlternativeName) -> CertifiedAs:
    """Read the URI urn:doorward:<tenant>:<device>."""
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        parts = uri.split(":")
        if parts[:2] == ["urn", "doorward"] and len(parts) == 4:  # noqa: PLR2004 - urn, doorward, tenant, device
            return CertifiedAs(tenant=parts[2], device=parts[3])
    raise _wrong("it names no device")


def _wrong(why: str) -> ProvisioningError:
    return ProvisioningError(
        Reason.CERTIFICATE_WRONG,
        what=f"the certificate that the cloud made cannot be used: {why}",
        remedy="report this to the cloud's operator, and ask for a new claim code",
    )
