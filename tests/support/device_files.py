"""The files by which a device shows who it is, for tests that connect with TLS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from wire.keys import P256Signer

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tests.support.peer_listener import PeerListener


@dataclass(frozen=True, slots=True)
class DeviceFiles:
    """A device's identity on disk."""

    key: Path
    certificate: Path
    ca: Path
    signer: P256Signer


def enrolled_files(listener: PeerListener, folder: Path, *, now: datetime | None = None) -> DeviceFiles:
    """Make a device that the listener's cloud knows, its certificate beginning at `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    files = DeviceFiles(folder / "device.key", folder / "device.crt", listener.ca_file, P256Signer(key))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files.key.chmod(0o600)
    files.certificate.write_bytes(listener.certify(key.public_key(), now=now))
    return files
