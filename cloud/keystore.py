"""The tenants' signing keys as files: STATE/keys/<tenant>/<purpose>.pem.

Invariant: a key is made once; making it again gives the same key.
Must not: hand out private bytes, or be used by a door.
"""

from enum import Enum, unique
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cloud.errors import CloudError, Reason
from cloud.files import make_folder, read_secret, write_file
from wire.keys import Ed25519Signer
from wire.names import Tenant

_SUFFIX: Final = ".pem"


@unique
class KeyRole(Enum):
    """What a tenant's key signs. `ROOT` signs the trust bundle; the value is the file's name."""

    ROOT = "root"
    PASS = "pass"  # noqa: S105 - a file name
    STATUS = "status"
    POLICY = "policy"
    COMMAND = "command"
    ACKNOWLEDGEMENT = "acknowledgement"


class KeyStore:
    """Ed25519 keys in a private folder, read once and kept.

    Args:
        folder: STATE/keys.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signers: dict[tuple[Tenant, KeyRole], Ed25519Signer] = {}

    def make(self, tenant: Tenant) -> None:
        """Make the tenant's keys that are missing.

        Raises:
            CloudError: STATE_UNUSABLE.
        """
        make_folder(self._folder)
        make_folder(self._folder / tenant)
        for role in KeyRole:
            path = self._path(tenant, role)
            if not path.exists():
                key = Ed25519PrivateKey.generate()
                pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                write_file(path, pem)

    def signer(self, tenant: Tenant, role: KeyRole) -> Ed25519Signer:
        """Give the tenant's signer for a role.

        Raises:
            CloudError: STATE_UNUSABLE when the file is missing, unreadable, readable by others or no Ed25519 key.
        """
        known = self._signers.get((tenant, role))
        if known is None:
            known = self._signers[tenant, role] = _load(self._path(tenant, role))
        return known

    def _path(self, tenant: Tenant, role: KeyRole) -> Path:
        return self._folder / tenant / f"{role.value}{_SUFFIX}"


def _load(path: Path) -> Ed25519Signer:
    pem = read_secret(path)
    if pem is None:
        raise CloudError(Reason.STATE_UNUSABLE, f"The key {path} is missing; restore it from the backup of the state.")
    try:
        key = load_pem_private_key(pem, password=None)
    except ValueError as error:
        raise CloudError(Reason.STATE_UNUSABLE, f"{path} is not a key; restore it from the backup.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CloudError(Reason.STATE_UNUSABLE, f"{path} is not an Ed25519 key; restore it from the backup.")
    return Ed25519Signer(key.private_bytes_raw())
