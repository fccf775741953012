"""Where private keys are: one port, and the folder that is its first implementation.

Invariant: a private key leaves its store only as signatures.
Must not: decide which key signs; `keyring.py` does.
"""

from enum import Enum, unique
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from cloud.errors import CloudError, Reason
from cloud.files import make_folder, read_secret, write_file
from wire.keys import Ed25519Signer, PublicKey, Signer
from wire.names import KeyId, KeyPurpose, Tenant


@unique
class KeyRole(Enum):
    """What a tenant's key signs. `ROOT` signs the trust bundle, which lists the keys of the other roles."""

    ROOT = "root"
    PASS = "pass"  # noqa: S105 - the word, not a password
    STATUS = "status"
    POLICY = "policy"
    COMMAND = "command"
    ACKNOWLEDGEMENT = "acknowledgement"


ONLINE_ROLES: Final = {
    KeyRole.PASS: KeyPurpose.PASS,
    KeyRole.STATUS: KeyPurpose.STATUS,
    KeyRole.POLICY: KeyPurpose.POLICY,
    KeyRole.COMMAND: KeyPurpose.COMMAND,
    KeyRole.ACKNOWLEDGEMENT: KeyPurpose.ACKNOWLEDGEMENT,
}
"""The roles that the running service signs with, and what the trust bundle calls them."""


class KeyStore(Protocol):
    """A place that holds private keys: a folder, a PKCS#11 token, a key management service."""

    def make(self, tenant: Tenant, role: KeyRole) -> PublicKey:
        """Make a key and keep it durably.

        Raises:
            CloudError: KEY_UNUSABLE or STATE_UNUSABLE.
        """
        ...

    def signer(self, tenant: Tenant, role: KeyRole, key_id: KeyId) -> Signer:
        """Give the signer of a key that was made here.

        Raises:
            CloudError: ROOT_OFFLINE when a root key is not here, KEY_UNUSABLE for any other.
        """
        ...


class FileKeyStore:
    """Ed25519 keys as PKCS#8 in STATE/keys/<tenant>/<role>-<key id>.pem, readable by the owner only.

    Args:
        folder: STATE/keys.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signers: dict[tuple[Tenant, KeyRole, KeyId], Ed25519Signer] = {}

    def make(self, tenant: Tenant, role: KeyRole) -> PublicKey:
        """Make a key and keep it durably."""
        make_folder(self._folder)
        make_folder(self._folder / tenant)
        key = Ed25519PrivateKey.generate()
        public = Ed25519Signer(key.private_bytes_raw()).public_key
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_file(self._path(tenant, role, public.key_id), pem)
        return public

    def signer(self, tenant: Tenant, role: KeyRole, key_id: KeyId) -> Ed25519Signer:
        """Give the signer of a key; online keys are read once, a root key each time, so that it can be taken away."""
        name = (tenant, role, key_id)
        known = self._signers.get(name)
        if known is None:
            known = _load(self._path(tenant, role, key_id), role, key_id)
            if role is not KeyRole.ROOT:
                self._signers[name] = known
        return known

    def _path(self, tenant: Tenant, role: KeyRole, key_id: KeyId) -> Path:
        return self._folder / tenant / f"{role.value}-{key_id.hex()}.pem"


def _load(path: Path, role: KeyRole, key_id: KeyId) -> Ed25519Signer:
    pem = read_secret(path)
    if pem is None:
        raise _missing(path, role)
    try:
        key = load_pem_private_key(pem, password=None)
    except ValueError as error:
        detail = f"{path} is no readable private key; restore it from the backup of the state folder."
        raise CloudError(Reason.KEY_UNUSABLE, detail) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CloudError(Reason.KEY_UNUSABLE, f"{path} is not an Ed25519 key; restore it from the backup.")
    signer = Ed25519Signer(key.private_bytes_raw())
    if signer.public_key.key_id != key_id:
        raise CloudError(Reason.KEY_UNUSABLE, f"{path} holds another key; restore it from the backup.")
    return signer


def _missing(path: Path, role: KeyRole) -> CloudError:
    if role is KeyRole.ROOT:
        detail = (
            f"The root key is offline. Bring {path} back, repeat this, and take it away again; "
            "until then doors keep the keys they trust and everything else goes on."
        )
        return CloudError(Reason.ROOT_OFFLINE, detail)
    return CloudError(
        Reason.KEY_UNUSABLE, f"The key {path} is missing; restore it from the backup of the state folder."
    )
