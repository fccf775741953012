"""What a new door is given to decide by: who it is, whom it trusts, who is revoked, who may pass.

Invariant: pure; every document is verified before it is kept, under keys that lead to the root pinned here.
Must not: open connections or files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from provisioning.cloud_line import json_object
from provisioning.errors import ProvisioningError, Reason
from provisioning.est import CertifiedAs, unreadable
from wire.codec import MAX_UINT, decode
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError, WireReason
from wire.event import MAX_NAME_CHARACTERS
from wire.keys import PublicKey, parse_key
from wire.names import KeyId, KeyPurpose
from wire.passes import slug
from wire.policy import MAX_POLICY_BYTES, PolicyBundle, open_policy
from wire.status_list import MAX_LIST_ID, StatusList, open_status_list, status_key_id
from wire.trust import TrustBundle, open_trust

MAX_BOOTSTRAP_BYTES: Final = 4 * 1024
MAX_VERSIONS_BYTES: Final = 64 * 1024
MAX_STATUS_LISTS: Final = 256
_MAX_KEY_BYTES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorIdentity:
    """Where this device is and whom it believes.

    Attributes:
        broker: what the cloud names as the address of its broker, unchecked; None when it has none.
    """

    tenant: str
    site: str
    door: str
    access_point: str
    device: str
    root: PublicKey
    broker: str | None = None


def read_identity(body: bytes, certified: CertifiedAs) -> DoorIdentity:
    """Read the bootstrap document.

    Raises:
        ProvisioningError: ANSWER_UNREADABLE, or DOCUMENT_REFUSED when it contradicts the certificate.
    """
    found = json_object(body)
    try:
        names = {name: _slug(found, name) for name in ("tenant", "site", "door", "access_point", "device")}
        root = parse_key(decode(_hex(found, "root_key"), field="root_key", max_bytes=_MAX_KEY_BYTES), "root_key")
    except WireError as error:
        raise unreadable(f"no description of a door ({error})") from error
    if (names["tenant"], names["device"]) != (certified.tenant, certified.device):
        raise _refused("the description of this door", "it is about another device")
    return DoorIdentity(**names, root=root, broker=_broker(found.get("broker")))


def _broker(value: object) -> str | None:
    """Read the address of the broker; clouds from before it name none."""
    if value is None or isinstance(value, str):
        return value
    raise unreadable("no description of a door (its broker is no text)")


def _slug(found: Mapping[str, object], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise WireError(WireReason.MISSING_FIELD, name)
    return slug(value, name, MAX_NAME_CHARACTERS)


def _hex(found: Mapping[str, object], name: str) -> bytes:
    try:
        return bytes.fromhex(str(found.get(name, "")))
    except ValueError as error:
        raise WireError(WireReason.WRONG_ALPHABET, name) from error


def read_versions(body: bytes) -> tuple[int, tuple[int, ...]]:
    """Read which policy version (0 for none) and which status lists there are.

    Raises:
        ProvisioningError: ANSWER_UNREADABLE.
    """
    found = json_object(body)
    policy, status = found.get("policy"), found.get("status")
    if type(policy) is not int or not 0 <= policy <= MAX_UINT or not isinstance(status, dict):
        raise unreadable("no list of versions")
    lists = [str(name) for name in status]
    if len(lists) > MAX_STATUS_LISTS or not all(
        name.isascii() and name.isdigit() and len(name) <= len(str(MAX_LIST_ID)) for name in lists
    ):
        raise unreadable("no list of versions")
    return policy, tuple(sorted(int(name) for name in lists))


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies documents for one door at one instant.

    Attributes:
        identity: the door.
        now: signing keys must be valid then.
    """

    identity: DoorIdentity
    now: datetime

    def trust(self, data: bytes) -> TrustBundle:
        """Verify a trust bundle under the pinned root.

        Raises:
            ProvisioningError: DOCUMENT_REFUSED.
        """
        try:
            bundle = open_trust(data, self.identity.root)
        except WireError as error:
            raise _refused("the trust bundle", str(error)) from error
        if bundle.tenant != self.identity.tenant:
            raise _refused("the trust bundle", f"it belongs to {bundle.tenant}")
        return bundle

    def status(self, data: bytes, number: int, trust: TrustBundle) -> StatusList:
        """Verify a status list.

        Raises:
            ProvisioningError: DOCUMENT_REFUSED.
        """
        name = f"revocation list {number}"
        try:
            status = open_status_list(data, self._key(trust, status_key_id(data), KeyPurpose.STATUS))
        except WireError as error:
            raise _refused(name, str(error)) from error
        if (status.tenant, status.list_id) != (self.identity.tenant, number):
            raise _refused(name, f"it is list {status.list_id} of {status.tenant}")
        return status

    def policy(self, data: bytes, trust: TrustBundle) -> PolicyBundle:
        """Verify a policy bundle.

        Raises:
            ProvisioningError: DOCUMENT_REFUSED.
        """
        try:
            header = parse_envelope(data, field="policy", max_bytes=MAX_POLICY_BYTES).protected
            bundle = open_policy(data, self._key(trust, parse_key_header(header, "policy")[1], KeyPurpose.POLICY))
        except WireError as error:
            raise _refused("the policy", str(error)) from error
        if (bundle.tenant, bundle.door) != (self.identity.tenant, self.identity.door):
            raise _refused("the policy", f"it is for {bundle.door} of {bundle.tenant}")
        return bundle

    def _key(self, trust: TrustBundle, key_id: KeyId, purpose: KeyPurpose) -> PublicKey:
        found = trust.find(key_id, purpose)
        if found is None or not found.not_before_s <= self.now.timestamp() < found.expires_at_s:
            raise WireError(WireReason.KEY_INVALID, "kid")
        return found.key


def _refused(name: str, why: str) -> ProvisioningError:
    return ProvisioningError(
        Reason.DOCUMENT_REFUSED,
        what=f"{name} that the cloud sent was refused: {why}",
        remedy="compare this machine's clock (timedatectl); if it is right, ask the cloud's operator",
    )
