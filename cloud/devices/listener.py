"""The device listener's certificate and its TLS context.

Invariant: at least TLS 1.2; a client certificate is optional (enrolment has none) but, if shown, must be our CA's.
Must not: decide who a device is; `guard.py` does, from the database.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.devices.authority import DeviceAuthority, read_identity
from cloud.errors import CloudError
from cloud.files import read_secret, write_file

ALWAYS_NAMED: Final = ("localhost", "127.0.0.1", "::1")
LOOK_S: Final = timedelta(hours=6).total_seconds()
_RENEW_BEFORE: Final = timedelta(days=30)
_LOG: Final = structlog.get_logger(__name__)


class ListenerCertificate:
    """A certificate file that is renewed in time, and the TLS context that serves it.

    Args:
        path: STATE/ca/listener.pem, key and certificate together.
        authority: signs it.
        names: further host names and IP addresses for it.
    """

    def __init__(self, path: Path, authority: DeviceAuthority, names: Sequence[str]) -> None:
        self._path = path
        self._authority = authority
        self._names = tuple(dict.fromkeys((*ALWAYS_NAMED, *names)))
        self.context: Final = _make_context(authority)

    async def run(self, *, now: Callable[[], datetime], every_s: float = LOOK_S) -> None:
        """Look every few hours whether it is due; runs until cancelled.

        What cannot be written is tried again at the next look; until it ends, the present certificate serves.
        """
        while True:
            await asyncio.sleep(every_s)
            try:
                if self.renew_if_due(now=now()):
                    _LOG.info("listener_certificate_renewed")
            except CloudError as error:
                _LOG.error(
                    "listener_certificate_not_renewed",
                    reason=error.reason.name,
                    detail=error.detail,
                    remedy="mend what the detail says; it is tried again every few hours",
                )

    def renew_if_due(self, *, now: datetime) -> bool:
        """Make a new certificate when there is none, it ends within 30 days, its names or its CA changed.

        New connections get it at once.

        Returns:
            whether there is a new one.

        Raises:
            CloudError: STATE_UNUSABLE.
        """
        pem = read_secret(self._path)
        due = pem is None or self._is_due(read_identity(pem, self._path).certificate, now)
        if due:
            write_file(self._path, self._authority.certify_listener(self._names, now=now).to_pem())
        self.context.load_cert_chain(self._path)
        return due

    def _is_due(self, certificate: x509.Certificate, now: datetime) -> bool:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        held = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
        foreign = not _is_signed_by(certificate, self._authority.certificate)
        return foreign or held != set(map(_plain, self._names)) or certificate.not_valid_after_utc - now < _RENEW_BEFORE


def _plain(name: str) -> str:
    """Write an IP address in its one canonical form; leave a host name."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the CA file is still the one that signed the listener's certificate."""
    extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    holder = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return extension.value.key_identifier == holder.value.digest


def _make_context(authority: DeviceAuthority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.certificate.public_bytes(Encoding.PEM).decode("ascii"))
    return context
