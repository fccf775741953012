"""Vectors of the trust bundle, the trust file and the change of a root key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    ACKNOWLEDGEMENT,
    AT,
    COMMAND,
    DAY_S,
    DEVICE,
    NULL,
    PASS,
    POLICY,
    ROOT,
    STATUS,
    STRANGER,
    TENANT,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
    ed25519,
    header,
    mapping,
    num,
    octets,
    plain,
    refused,
    sign1,
    signed,
    text,
)
from wire.codec import MAX_TIME_S
from wire.errors import WireReason
from wire.names import ExternalAad, KeyPurpose, Tenant
from wire.trust import (
    MAX_BUNDLE_BYTES,
    MAX_KEYS,
    PinnedTrust,
    TrustBundle,
    TrustedKey,
    encode_pinned,
    seal_root_change,
    seal_trust,
)

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import PublicKey, Signer

KEY: Final = {"root": cose_key(ROOT.public_key).hex()}
STARTS: Final = AT - 30 * DAY_S
ENDS: Final = AT + 335 * DAY_S


def trusted(key: PublicKey, purpose: KeyPurpose, *, starts: int = STARTS, ends: int = ENDS) -> TrustedKey:
    """A key of the usual bundle."""
    return TrustedKey(key=key, purpose=purpose, not_before_s=starts, expires_at_s=ends)


USUAL: Final = TrustBundle(
    tenant=Tenant(TENANT),
    version=12,
    issued_at_s=STARTS,
    keys=(
        trusted(PASS.public_key, KeyPurpose.PASS),
        trusted(STATUS.public_key, KeyPurpose.STATUS),
        trusted(POLICY.public_key, KeyPurpose.POLICY),
        trusted(COMMAND.public_key, KeyPurpose.COMMAND),
        trusted(ACKNOWLEDGEMENT.public_key, KeyPurpose.ACKNOWLEDGEMENT),
        trusted(DEVICE.public_key, KeyPurpose.DEVICE_CA),
    ),
)


def _entry(
    key: PublicKey = PASS.public_key,
    *,
    kid: bytes | None = None,
    purpose: bytes | None = None,
    starts: bytes | None = None,
    ends: bytes | None = None,
) -> bytes:
    return array(kid or octets(key.key_id), cose_key(key), purpose or num(1), starts or num(STARTS), ends or num(ENDS))


def _claims(changes: Entries | None = None) -> bytes:
    entries = {1: text(TENANT), 2: num(12), 3: num(STARTS), 4: array(_entry())}
    return mapping(entries, changes)


def _bundle(changes: Entries | None = None, *, signer: Signer = ROOT, aad: ExternalAad = ExternalAad.TRUST) -> bytes:
    return sign1(header(ROOT), _claims(changes), signer, aad)


def trusts() -> dict[str, Json]:
    """trust.json."""
    return collection(
        "Trust bundles, read under context.root. With context.current, another bundle, the one that follows it.",
        "docs/spec/trust.md",
        [*_bundles_accepted(), *_bundle_faults(), *_key_faults(), *_advance_cases()],
    )


def _bundles_accepted() -> list[Case]:
    many = replace(
        USUAL,
        keys=tuple(trusted(ed25519(f"key {n}").public_key, KeyPurpose.PASS) for n in range(MAX_KEYS)),
    )
    found = {
        "usual": USUAL,
        "no keys": replace(USUAL, keys=()),
        "64 keys": many,
        "version 0": replace(USUAL, version=0),
    }
    return [accepted(name, seal_trust(bundle, ROOT), plain(bundle), **KEY) for name, bundle in found.items()]


def _bundle_faults() -> list[Case]:
    keys = [_entry(ed25519(f"key {n}").public_key) for n in range(MAX_KEYS + 1)]
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("no tenant", {1: None}, WireReason.MISSING_FIELD, "trust.tenant"),
        ("no version", {2: None}, WireReason.MISSING_FIELD, "trust.version"),
        ("no iat", {3: None}, WireReason.MISSING_FIELD, "trust.iat"),
        ("keys missing", {4: None}, WireReason.MISSING_FIELD, "trust.keys"),
        ("member added", {5: NULL}, WireReason.UNKNOWN_FIELD, "trust"),
        ("tenant in upper case", {1: text("North")}, WireReason.WRONG_ALPHABET, "trust.tenant"),
        ("version negative", {2: num(-1)}, WireReason.OUT_OF_RANGE, "trust.version"),
        ("version true", {2: TRUE}, WireReason.WRONG_TYPE, "trust.version"),
        ("keys as map", {4: mapping({})}, WireReason.WRONG_TYPE, "trust.keys"),
        ("65 keys", {4: array(*keys)}, WireReason.OUT_OF_RANGE, "trust.keys"),
        ("a key twice", {4: array(_entry(), _entry())}, WireReason.DUPLICATE_KEY, "trust.keys"),
        (
            "a key for two purposes",
            {4: array(_entry(), _entry(purpose=num(2)))},
            WireReason.DUPLICATE_KEY,
            "trust.keys",
        ),
    ]
    good = seal_trust(USUAL, ROOT)
    too_large = good + bytes(MAX_BUNDLE_BYTES + 1 - len(good))
    named = signed(_claims(), STRANGER, ExternalAad.TRUST)
    p256 = sign1(header(ROOT, alg=num(-9)), _claims(), ROOT, ExternalAad.TRUST)
    as_policy = _bundle(aad=ExternalAad.POLICY)
    return [
        *(refused(name, _bundle(changes), reason, field, **KEY) for name, changes, reason, field in faults),
        refused("one byte too large", too_large, WireReason.TOO_LARGE, "trust", **KEY),
        refused("signed by a stranger", _bundle(signer=STRANGER), WireReason.SIGNATURE_INVALID, "trust", **KEY),
        refused("signed by a stranger, and so named", named, WireReason.KEY_INVALID, "trust.kid", **KEY),
        refused("alg of another key", p256, WireReason.ALGORITHM_MISMATCH, "trust.alg", **KEY),
        refused("signed as a policy", as_policy, WireReason.SIGNATURE_INVALID, "trust", **KEY),
    ]


def _key_faults() -> list[Case]:
    here = "trust.keys"
    faults = [
        ("key as map", mapping({}), WireReason.WRONG_TYPE, here),
        ("key of four parts", array(*map(num, range(4))), WireReason.MISSING_FIELD, here),
        ("key of six parts", array(*map(num, range(6))), WireReason.OUT_OF_RANGE, here),
        ("kid of another key", _entry(kid=octets(STATUS.public_key.key_id)), WireReason.HASH_MISMATCH, f"{here}.kid"),
        ("kid of 3 bytes", _entry(kid=octets(PASS.public_key.key_id[:3])), WireReason.OUT_OF_RANGE, f"{here}.kid"),
        ("purpose 0", _entry(purpose=num(0)), WireReason.UNKNOWN_VALUE, f"{here}.purpose"),
        ("purpose 7", _entry(purpose=num(7)), WireReason.UNKNOWN_VALUE, f"{here}.purpose"),
        ("purpose true", _entry(purpose=TRUE), WireReason.WRONG_TYPE, f"{here}.purpose"),
        ("exp equal to nbf", _entry(ends=num(STARTS)), WireReason.OUT_OF_RANGE, f"{here}.exp"),
        ("exp beyond the latest moment", _entry(ends=num(MAX_TIME_S + 1)), WireReason.OUT_OF_RANGE, f"{here}.exp"),
        ("nbf null", _entry(starts=NULL), WireReason.WRONG_TYPE, f"{here}.nbf"),
    ]
    return [refused(name, _bundle({4: array(entry)}), reason, field, **KEY) for name, entry, reason, field in faults]


def _advance_cases() -> list[Case]:
    current: dict[str, Json] = {**KEY, "current": seal_trust(USUAL, ROOT).hex()}
    newer = replace(USUAL, version=13, issued_at_s=AT, keys=USUAL.keys[:2])
    refusals = [
        ("an older version", replace(USUAL, version=11), WireReason.ROLLBACK, "trust.version"),
        ("the same version with other keys", replace(newer, version=12), WireReason.ROLLBACK, "trust.version"),
        ("another tenant", replace(newer, tenant=Tenant("elsewhere")), WireReason.OUT_OF_RANGE, "trust.tenant"),
    ]
    return [
        accepted("a newer version", seal_trust(newer, ROOT), plain(newer), **current),
        accepted("the same bundle again", seal_trust(USUAL, ROOT), plain(USUAL), **current),
        *(
            refused(name, seal_trust(bundle, ROOT), reason, field, **current)
            for name, bundle, reason, field in refusals
        ),
    ]


def trust_files() -> dict[str, Json]:
    """trust-file.json."""
    bundle = seal_trust(USUAL, ROOT)
    good = encode_pinned(PinnedTrust(ROOT.public_key, bundle))
    other_root = encode_pinned(PinnedTrust(STRANGER.public_key, bundle))
    key = cose_key(ROOT.public_key)
    vectors = [
        accepted("usual", good, {"root": key.hex(), "bundle": plain(USUAL)}),
        refused("bundle of another root", other_root, WireReason.KEY_INVALID, "trust.kid"),
        refused("one part", array(key), WireReason.MISSING_FIELD, "pinned"),
        refused("three parts", array(key, octets(bundle), num(0)), WireReason.OUT_OF_RANGE, "pinned"),
        refused("bundle not wrapped", array(key, bundle), WireReason.WRONG_TYPE, "pinned.bundle"),
        refused("bundle empty", array(key, octets(b"")), WireReason.OUT_OF_RANGE, "pinned.bundle"),
        refused("root as bytes", array(octets(key), octets(bundle)), WireReason.WRONG_TYPE, "pinned.root"),
        refused("bundle alone", bundle, WireReason.WRONG_TYPE, "pinned"),
        refused("one byte after it", good + b"\x00", WireReason.NOT_CANONICAL, "pinned"),
    ]
    return collection("Trust files: the root key and the bundle that it signed.", "docs/spec/trust.md", vectors)


def root_changes() -> dict[str, Json]:
    """root-change.json."""
    new = ed25519("next root")
    aad = ExternalAad.ROOT_CHANGE
    old: dict[str, Json] = {"root": cose_key(ROOT.public_key).hex()}
    announced = cose_key(new.public_key)
    inner = signed(announced, ROOT, aad)
    faults = [
        (
            "not signed by the old root",
            signed(signed(announced, STRANGER, aad), new, aad),
            WireReason.KEY_INVALID,
            "root_change.old.kid",
        ),
        (
            "forged old root",
            signed(sign1(header(ROOT), announced, STRANGER, aad), new, aad),
            WireReason.SIGNATURE_INVALID,
            "root_change.old",
        ),
        ("not signed by the new root", signed(inner, STRANGER, aad), WireReason.KEY_INVALID, "root_change.new.kid"),
        ("forged new root", sign1(header(new), inner, STRANGER, aad), WireReason.SIGNATURE_INVALID, "root_change.new"),
        (
            "new root outside, old root inside, the wrong way round",
            signed(signed(announced, new, aad), ROOT, aad),
            WireReason.KEY_INVALID,
            "root_change.old.kid",
        ),
        ("only the inner part", inner, WireReason.WRONG_TYPE, "root_change"),
        (
            "signed as a trust bundle",
            signed(inner, new, ExternalAad.TRUST),
            WireReason.SIGNATURE_INVALID,
            "root_change.new",
        ),
        (
            "announces no key",
            signed(signed(text("key"), ROOT, aad), new, aad),
            WireReason.WRONG_TYPE,
            "root_change.key",
        ),
        ("empty", b"", WireReason.EMPTY, "root_change"),
    ]
    vectors = [
        accepted("usual", seal_root_change(new, ROOT), {"root": announced.hex()}, **old),
        accepted("to a P-256 root", seal_root_change(DEVICE, ROOT), {"root": cose_key(DEVICE.public_key).hex()}, **old),
        *(refused(name, data, reason, field, **old) for name, data, reason, field in faults),
    ]
    return collection("Changes of the root key, read under the old root.", "docs/spec/trust.md", vectors)
