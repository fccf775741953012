"""The trust bundle: which keys a tenant's door believes, signed by the tenant's offline root (docs/spec/trust.md).

Invariant: a door never goes back to a lower version, and each key has one purpose.
Must not: decide whether a key is valid now; that needs a clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wire.codec import MAX_TIME_S, Fields, Value, array, decode, encode, member, octets, uint
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import KEY_ID_BYTES, PublicKey, Signer, parse_key
from wire.names import ExternalAad, KeyId, KeyPurpose, Tenant
from wire.passes import MAX_TENANT_CHARACTERS, slug

MAX_BUNDLE_BYTES: Final = 16 * 1024
MAX_KEYS: Final = 64
MAX_PINNED_BYTES: Final = MAX_BUNDLE_BYTES + 256

_TENANT, _VERSION, _IAT, _KEYS = 1, 2, 3, 4
_KEY_PARTS: Final = 5
_PURPOSES: Final = {int(purpose): purpose for purpose in KeyPurpose}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """One key of a bundle; valid from `not_before_s` until before `expires_at_s` (Unix seconds)."""

    key: PublicKey
    purpose: KeyPurpose
    not_before_s: int
    expires_at_s: int

    @property
    def key_id(self) -> KeyId:
        """The key's id."""
        return self.key.key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """The keys of a tenant at one version."""

    tenant: Tenant
    version: int
    issued_at_s: int
    keys: tuple[TrustedKey, ...]

    def find(self, key_id: KeyId, purpose: KeyPurpose) -> TrustedKey | None:
        """Give the key with this id and purpose, None when there is none."""
        for item in self.keys:
            if item.key_id == key_id and item.purpose is purpose:
                return item
        return None

    def of(self, purpose: KeyPurpose) -> Iterable[TrustedKey]:
        """Give the keys of one purpose, in the bundle's order."""
        return (item for item in self.keys if item.purpose is purpose)


def seal_trust(bundle: TrustBundle, root: Signer) -> bytes:
    """Sign a bundle with the tenant's root key and check that it reads back.

    Raises:
        WireError: when the bundle breaks a rule of the format.
    """
    keys: list[Value] = [
        [bytes(item.key_id), item.key.to_cose(), int(item.purpose), item.not_before_s, item.expires_at_s]
        for item in bundle.keys
    ]
    claims: dict[int | str, Value] = {
        _TENANT: str(bundle.tenant),
        _VERSION: bundle.version,
        _IAT: bundle.issued_at_s,
        _KEYS: keys,
    }
    payload = encode(claims, field="trust")
    _parse(payload)
    return seal(payload, root, ExternalAad.TRUST)


def open_trust(data: bytes, root: PublicKey) -> TrustBundle:
    """Verify and read a bundle under a pinned root key.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the root did not sign it, or a fault of form.
    """
    envelope = parse_envelope(data, field="trust", max_bytes=MAX_BUNDLE_BYTES)
    check_signed_by(envelope, root, ExternalAad.TRUST, "trust")
    return _parse(envelope.payload)


def _parse(payload: bytes) -> TrustBundle:
    fields = Fields(decode(payload, field="trust", max_bytes=MAX_BUNDLE_BYTES), "trust")
    tenant = slug(fields.text(_TENANT, "tenant", MAX_TENANT_CHARACTERS), "trust.tenant")
    version = fields.uint(_VERSION, "version")
    issued = fields.time(_IAT, "iat")
    keys = tuple(_parse_trusted(item) for item in fields.array(_KEYS, "keys", MAX_KEYS))
    fields.close()
    if len({item.key_id for item in keys}) != len(keys):
        raise WireError(WireReason.DUPLICATE_KEY, "trust.keys")
    return TrustBundle(tenant=Tenant(tenant), version=version, issued_at_s=issued, keys=keys)


def _parse_trusted(value: Value) -> TrustedKey:
    parts = array(value, "trust.keys", _KEY_PARTS)
    if len(parts) != _KEY_PARTS:
        raise WireError(WireReason.MISSING_FIELD, "trust.keys")
    key = parse_key(parts[1], "trust.keys.key")
    if octets(parts[0], "trust.keys.kid", KEY_ID_BYTES, KEY_ID_BYTES) != key.key_id:
        raise WireError(WireReason.HASH_MISMATCH, "trust.keys.kid")
    purpose = member(parts[2], "trust.keys.purpose", _PURPOSES)
    starts, ends = (uint(parts[place], f"trust.keys.{name}", MAX_TIME_S) for place, name in ((3, "nbf"), (4, "exp")))
    if starts >= ends:
        raise WireError(WireReason.OUT_OF_RANGE, "trust.keys.exp")
    return TrustedKey(key=key, purpose=purpose, not_before_s=starts, expires_at_s=ends)


def advance_trust(current: TrustBundle | None, data: bytes, root: PublicKey) -> TrustBundle:
    """Give the bundle that follows `current`, or `current` when the bytes hold the same version.

    Raises:
        WireError: ROLLBACK for a lower version, OUT_OF_RANGE for another tenant, or as `open_trust`.
    """
    bundle = open_trust(data, root)
    if current is None:
        return bundle
    if bundle.tenant != current.tenant:
        raise WireError(WireReason.OUT_OF_RANGE, "trust.tenant")
    if bundle.version < current.version or (bundle.version == current.version and bundle != current):
        raise WireError(WireReason.ROLLBACK, "trust.version")
    return bundle


@dataclass(frozen=True, slots=True)
class PinnedTrust:
    """A root key and the bundle it signed: what a door is given at provisioning and a verifier takes as a file."""

    root: PublicKey
    bundle_bytes: bytes

    def open(self) -> TrustBundle:
        """Verify and read the bundle."""
        return open_trust(self.bundle_bytes, self.root)


def encode_pinned(pinned: PinnedTrust) -> bytes:
    """Write the trust file: [COSE_Key, bundle]."""
    return encode([pinned.root.to_cose(), pinned.bundle_bytes], field="pinned")


def parse_pinned(data: bytes) -> PinnedTrust:
    """Read a trust file; the bundle's signature is checked by `open`.

    Raises:
        WireError: for anything else.
    """
    parts = array(decode(data, field="pinned", max_bytes=MAX_PINNED_BYTES), "pinned", 2)
    if len(parts) != 2:  # noqa: PLR2004 - key and bundle
        raise WireError(WireReason.MISSING_FIELD, "pinned")
    return PinnedTrust(parse_key(parts[0], "pinned.root"), octets(parts[1], "pinned.bundle", 1, MAX_BUNDLE_BYTES))


def seal_root_change(new_root: Signer, old_root: Signer) -> bytes:
    """Announce a new root key, signed by the old one and then by the new one."""
    inner = seal(encode(new_root.public_key.to_cose()), old_root, ExternalAad.ROOT_CHANGE)
    return seal(inner, new_root, ExternalAad.ROOT_CHANGE)


def open_root_change(data: bytes, old_root: PublicKey) -> PublicKey:
    """Give the new root key once both roots are shown to have signed the change.

    Raises:
        WireError: SIGNATURE_INVALID or KEY_INVALID when either did not.
    """
    outer = parse_envelope(data, field="root_change", max_bytes=1024)
    inner = parse_envelope(outer.payload, field="root_change", max_bytes=512)
    check_signed_by(inner, old_root, ExternalAad.ROOT_CHANGE, "root_change.old")
    new_root = parse_key(decode(inner.payload, field="root_change", max_bytes=256), "root_change.key")
    check_signed_by(outer, new_root, ExternalAad.ROOT_CHANGE, "root_change.new")
    return new_root
