"""Renew the device certificate before it ends: same key, over the old certificate (RFC 7030 §4.2.2).

Invariant: the old certificate stays in place until the new one was checked; both are valid for a while.
Must not: change the key: the journal's batches are signed with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edge.config import CloudConfig
from provisioning.cloud_line import CloudLine, Question, identified
from provisioning.enrolment import load_key
from provisioning.errors import ProvisioningError, Reason
from provisioning.est import MAX_CERTIFICATES_BYTES, check_certificate, check_time, make_request, read_certificates
from provisioning.folder import read_secret, unusable, write_file
from wire.messages import EST_REENROL

RENEW_BEFORE: Final = timedelta(days=30)
"""A third of 90 days: a door that is offline for a month still renews in time."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What came of it.

    Attributes:
        renewed: False when it was not due yet.
        until: end of the certificate that is in place now.
    """

    renewed: bool
    until: datetime


def renew_certificate(
    cloud: CloudConfig, *, before: timedelta = RENEW_BEFORE, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Renewal:
    """Renew a door's certificate if it ends within `before`.

    Args:
        cloud: of the door's configuration.
        before: how long before the end it is due.
        now: the wall clock.

    Raises:
        ProvisioningError: with what to do next; the old certificate is still in place.
    """
    ca, old = _read(cloud.ca), _read(cloud.certificate)
    if old.not_valid_after_utc - now() > before:
        return Renewal(renewed=False, until=old.not_valid_after_utc)
    key = _key(cloud.key)
    question = Question(
        path=EST_REENROL,
        method="POST",
        max_bytes=MAX_CERTIFICATES_BYTES,
        headers={"content-type": "application/pkcs10"},
        content=make_request(key),
    )
    with CloudLine(cloud.url, identified(ca, certificate=cloud.certificate, key=cloud.key)) as line:
        new = read_certificates(line.ask(question).body)[0]
    if check_certificate(new, key=key, ca=ca) != check_certificate(old, key=key, ca=ca):
        raise ProvisioningError(
            Reason.CERTIFICATE_WRONG,
            what="the cloud renewed the certificate of another device",
            remedy="report this to the cloud's operator; the old certificate stays in place",
        )
    check_time(new, now())
    try:
        write_file(cloud.certificate, new.public_bytes(Encoding.PEM))
    except OSError as error:
        raise unusable(cloud.certificate, error) from error
    return Renewal(renewed=True, until=new.not_valid_after_utc)


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise unusable(path, error) from error
    except ValueError as error:
        raise _unreadable(path) from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    pem = read_secret(path)
    if pem is None:
        raise _unreadable(path)
    return load_key(pem, path)


def _unreadable(path: Path) -> ProvisioningError:
    return ProvisioningError(
        Reason.KEY_UNUSABLE,
        what=f"{path} is missing or damaged",
        remedy="enrol the door again with a new claim code (doorward provision door)",
    )
