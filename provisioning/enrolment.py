"""The steps that make a device: its folder, the cloud's CA, a key, a certificate.

Invariant: the secret of the claim is shown only to a server whose certificate the recognised CA signed.
Must not: replace a key that is there.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from provisioning.apply import Once
from provisioning.cloud_line import CloudLine, Question, identified, trusting, without_trust
from provisioning.errors import ProvisioningError, Reason
from provisioning.est import (
    MAX_CERTIFICATES_BYTES,
    CertifiedAs,
    Claim,
    check_certificate,
    check_time,
    make_request,
    read_certificates,
    recognise,
    unreadable,
)
from provisioning.folder import SECRET_MODE, is_answered, prepare_folder, read_secret, unusable, write_file
from provisioning.plan import CA_FILE, CERTIFICATE_FILE, KEY_FILE, SOCKET_FILE, DesiredDoor
from wire.messages import EST_CACERTS, EST_ENROL

_CURVE: Final = ec.SECP256R1()


class Enrolment:
    """Makes this machine a device that the cloud knows.

    Args:
        desired: the door that is wanted.
        url: the cloud's, checked.
        claim: the right to enrol.
        now: the wall clock.
    """

    def __init__(self, desired: DesiredDoor, *, url: str, claim: Claim, now: Callable[[], datetime]) -> None:
        self._desired = desired
        self._url = url
        self._claim = claim
        self._now = now
        self._ca: Once[x509.Certificate] = Once("the device CA")
        self._key: Once[ec.EllipticCurvePrivateKey] = Once("the device key")
        self.certified: Once[CertifiedAs] = Once("the device certificate")

    @property
    def _folder(self) -> Path:
        return self._desired.folder

    def line(self) -> CloudLine:
        """Open a line as this device."""
        context = identified(self._ca.get(), certificate=self._folder / CERTIFICATE_FILE, key=self._folder / KEY_FILE)
        return CloudLine(self._url, context)

    def prepare(self) -> str:
        """Make the folder, and see that no daemon works in it."""
        prepare_folder(self._folder)
        address = self._desired.socket or self._folder / SOCKET_FILE
        if is_answered(address):
            raise ProvisioningError(
                Reason.FOLDER_IN_USE,
                what=f"a daemon is running from {self._folder}",
                remedy="stop it (sudo systemctl stop doorward-edge) and run the command again",
            )
        return "only its owner may read it"

    def fetch_authority(self) -> str:
        """Fetch the CA without trust, recognise it by the claim code, and trust it alone from here on."""
        with CloudLine(self._url, without_trust()) as line:
            answer = line.ask(Question(path=EST_CACERTS, max_bytes=MAX_CERTIFICATES_BYTES))
        ca = self._ca.put(recognise(read_certificates(answer.body), self._claim))
        check_time(ca, self._now())
        self._write(CA_FILE, ca.public_bytes(Encoding.PEM))
        return "it is the CA that the claim code names"

    def make_key(self) -> str:
        """Make a P-256 key, or take the one that is there."""
        path = self._folder / KEY_FILE
        pem = read_secret(path)
        if pem is not None:
            self._key.put(load_key(pem, path))
            return "kept from an earlier run"
        key = self._key.put(ec.generate_private_key(_CURVE))
        self._write(KEY_FILE, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=SECRET_MODE)
        return "P-256, only its owner may read it"

    def enrol(self) -> str:
        """Exchange the claim for a certificate; a claim that this very device has used is no obstacle."""
        key, ca = self._key.get(), self._ca.get()
        question = Question(
            path=EST_ENROL,
            method="POST",
            max_bytes=MAX_CERTIFICATES_BYTES,
            headers={"authorization": self._claim.authorization, "content-type": "application/pkcs10"},
            content=make_request(key),
        )
        try:
            with CloudLine(self._url, trusting(ca)) as line:
                found = read_certificates(line.ask(question).body)
        except ProvisioningError as error:
            if error.reason is not Reason.CLAIM_USED:
                raise
            self.certified.put(self._certified_before(error))
            return "the certificate from an earlier run still holds"
        if len(found) != 1:
            raise unreadable(f"{len(found)} certificates instead of this door's")
        certified = self.certified.put(check_certificate(found[0], key=key, ca=ca))
        check_time(found[0], self._now())
        self._write(CERTIFICATE_FILE, found[0].public_bytes(Encoding.PEM))
        return f"device {certified.device}, until {found[0].not_valid_after_utc:%Y-%m-%d}"

    def _certified_before(self, used: ProvisioningError) -> CertifiedAs:
        """Read the certificate of an earlier run, if it is for this key, by this CA, and in force.

        Raises:
            ProvisioningError: `used`, when there is none.
        """
        try:
            pem = (self._folder / CERTIFICATE_FILE).read_bytes()
            certificate = x509.load_pem_x509_certificate(pem)
            certified = check_certificate(certificate, key=self._key.get(), ca=self._ca.get())
        except (OSError, ValueError, ProvisioningError):
            raise used from None
        if not certificate.not_valid_before_utc <= self._now() < certificate.not_valid_after_utc:
            raise used
        return certified

    def _write(self, name: str, data: bytes, **mode: int) -> None:
        try:
            write_file(self._folder / name, data, **mode)
        except OSError as error:
            raise unusable(self._folder / name, error) from error


def load_key(pem: bytes, path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a device key.

    Raises:
        ProvisioningError: KEY_UNUSABLE when it is no P-256 key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _no_key(path)
    return key


def _no_key(path: Path) -> ProvisioningError:
    return ProvisioningError(
        Reason.KEY_UNUSABLE,
        what=f"{path} is not a P-256 key",
        remedy=f"remove it (rm {path}) and run the command again",
    )
