"""The pass: what an issuer signs for days (docs/spec/pass.md).

Invariant: a parsed pass is canonical, bounded and internally consistent; whether it is *valid* is for the verifier.
Must not: carry a name or a number of a person; the pass id is a pseudonym.
"""

from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, array, decode, encode, member, uint
from wire.envelope import (
    HEADER_ALGORITHM,
    HEADER_KEY_ID,
    Envelope,
    parse_envelope,
    parse_key_header,
    seal_with,
)
from wire.errors import WireError, WireReason
from wire.keys import Algorithm, PublicKey, Signer, parse_key
from wire.names import ExternalAad, KeyId, PassFlags, PassId, PassKind, Tenant

MAX_PASS_BYTES: Final = 256
"""The longest that this grammar makes is 255 bytes; the rest bounds the work on anything else."""
MAX_LIFETIME_S: Final = 31 * 86_400
"""Longest validity that parses; issuing defaults to 7 days so that revocation lists stay the exception."""
MAX_ACCESS_LEVELS: Final = 16
MAX_ACCESS_LEVEL: Final = 0xFFFF
MAX_SCOPE_BYTES: Final = 4 + 3 * MAX_ACCESS_LEVELS
"""Two array heads, kind, flags, and three bytes a level."""
MAX_TENANT_CHARACTERS: Final = 32
PASS_ID_BYTES: Final = 6
MAX_STATUS_LIST: Final = 0xFFFF
MAX_STATUS_INDEX: Final = 0xFFFF_FFFF

_ISS, _EXP, _NBF, _IAT, _CTI, _CNF, _SCOPE = 1, 4, 5, 6, 7, 8, 9
_CNF_COSE_KEY: Final = 1
_SCOPE_PARTS: Final = 3
_SLUG: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
PASS_KINDS: Final = {int(kind): kind for kind in PassKind}
PASS_FLAGS: Final = {int(flags): flags for flags in (PassFlags.NONE, PassFlags.EXTENDED_RELEASE)}
"""Every combination of known bits."""


def make_pass_id(status_list: int, index: int) -> PassId:
    """Join a status list number (u16) and an index in it (u32).

    Raises:
        WireError: OUT_OF_RANGE when one of them is larger.
    """
    uint(status_list, "pass_id.list", MAX_STATUS_LIST)
    uint(index, "pass_id.index", MAX_STATUS_INDEX)
    return PassId(status_list.to_bytes(2, "big") + index.to_bytes(4, "big"))


def split_pass_id(pass_id: PassId) -> tuple[int, int]:
    """Give (status list, index)."""
    return int.from_bytes(pass_id[:2], "big"), int.from_bytes(pass_id[2:], "big")


def slug(value: str, field: str, maximum: int = MAX_TENANT_CHARACTERS) -> str:
    """Check a slug: 1 to `maximum` of [a-z0-9-].

    Raises:
        WireError: WRONG_ALPHABET or OUT_OF_RANGE.
    """
    if not 1 <= len(value) <= maximum:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    if not _SLUG.issuperset(value):
        raise WireError(WireReason.WRONG_ALPHABET, field)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The claims of a pass.

    Attributes:
        issuer: the tenant's slug.
        pass_id: 6 bytes, pseudonymous; also the place in the revocation list.
        issued_at_s, not_before_s, expires_at_s: Unix seconds; `expires_at_s` is the first second it no longer holds.
        holder_key: the key that signs presentations; None for a printed pass.
        access_levels: ascending, at most 16.
    """

    issuer: Tenant
    pass_id: PassId
    issued_at_s: int
    not_before_s: int | None
    expires_at_s: int
    holder_key: PublicKey | None
    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]

    @property
    def starts_at_s(self) -> int:
        """First second of validity."""
        return self.issued_at_s if self.not_before_s is None else self.not_before_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPass:
    """A pass as read, its signature not yet checked.

    Attributes:
        unverified: the claims; true only once the issuer's signature is checked.
        key_id: the issuer key that is said to have signed.
    """

    unverified: Pass
    key_id: KeyId
    algorithm: Algorithm
    envelope: Envelope

    def verify_issuer(self, key: PublicKey) -> Pass:
        """Give the claims once `key` is shown to have signed them.

        Raises:
            WireError: ALGORITHM_MISMATCH or SIGNATURE_INVALID.
        """
        if key.algorithm is not self.algorithm:
            raise WireError(WireReason.ALGORITHM_MISMATCH, "pass.alg")
        self.envelope.verify(key, ExternalAad.PASS, "pass")
        return self.unverified


def parse_pass(data: bytes) -> SignedPass:
    """Parse a pass.

    Raises:
        WireError: for anything but one canonical pass of at most 256 bytes.
    """
    envelope = parse_envelope(data, field="pass", max_bytes=MAX_PASS_BYTES)
    found, key_id = parse_key_header(envelope.protected, "pass")
    if found is not Algorithm.ED25519:
        raise WireError(WireReason.UNKNOWN_ALGORITHM, "pass.alg")
    claims = _parse_claims(decode(envelope.payload, field="pass.claims", max_bytes=MAX_PASS_BYTES))
    return SignedPass(unverified=claims, key_id=key_id, algorithm=found, envelope=envelope)


def _parse_claims(value: Value) -> Pass:
    fields = Fields(value, "pass")
    issuer = slug(fields.text(_ISS, "iss", MAX_TENANT_CHARACTERS), "pass.iss")
    expires = fields.time(_EXP, "exp")
    not_before = fields.time(_NBF, "nbf") if fields.has(_NBF) else None
    issued = fields.time(_IAT, "iat")
    pass_id = fields.octets(_CTI, "cti", PASS_ID_BYTES, PASS_ID_BYTES)
    holder = _parse_holder(fields.value(_CNF, "cnf")) if fields.has(_CNF) else None
    kind, flags, levels = _parse_scope(fields.octets(_SCOPE, "scope", 1, MAX_SCOPE_BYTES))
    fields.close()
    claims = Pass(
        issuer=Tenant(issuer),
        pass_id=PassId(pass_id),
        issued_at_s=issued,
        not_before_s=not_before,
        expires_at_s=expires,
        holder_key=holder,
        kind=kind,
        flags=flags,
        access_levels=levels,
    )
    check_claims(claims)
    return claims


def check_claims(claims: Pass) -> None:
    """Refuse claims whose values do not go together.

    Raises:
        WireError: NOT_CANONICAL for access levels that do not ascend, OUT_OF_RANGE for times.
    """
    levels = [*claims.access_levels]
    if levels != sorted(set(levels)):
        raise WireError(WireReason.NOT_CANONICAL, "pass.scope.levels")
    if not claims.issued_at_s <= claims.starts_at_s < claims.expires_at_s:
        raise WireError(WireReason.OUT_OF_RANGE, "pass.exp")
    if claims.expires_at_s - claims.starts_at_s > MAX_LIFETIME_S:
        raise WireError(WireReason.OUT_OF_RANGE, "pass.exp")


def _parse_holder(value: Value) -> PublicKey:
    fields = Fields(value, "pass.cnf")
    key = parse_key(fields.value(_CNF_COSE_KEY, "key"), "pass.cnf.key")
    fields.close()
    return key


def _parse_scope(data: bytes) -> tuple[PassKind, PassFlags, tuple[int, ...]]:
    parts = array(decode(data, field="pass.scope", max_bytes=MAX_SCOPE_BYTES), "pass.scope", _SCOPE_PARTS)
    if len(parts) != _SCOPE_PARTS:
        raise WireError(WireReason.MISSING_FIELD, "pass.scope")
    kind, flags, levels = parts
    return (
        member(kind, "pass.scope.kind", PASS_KINDS),
        member(flags, "pass.scope.flags", PASS_FLAGS),
        _parse_levels(levels),
    )


def _parse_levels(value: Value) -> tuple[int, ...]:
    field = "pass.scope.levels"
    return tuple([uint(item, field, MAX_ACCESS_LEVEL) for item in array(value, field, MAX_ACCESS_LEVELS)])


def seal_pass(claims: Pass, signer: Signer) -> bytes:
    """Sign a pass and read it back, so that nothing is issued that a door would refuse to parse.

    Raises:
        WireError: when the claims break a rule of the format.
    """
    entries: dict[int | str, Value] = {
        _ISS: str(claims.issuer),
        _EXP: claims.expires_at_s,
        _IAT: claims.issued_at_s,
        _CTI: bytes(claims.pass_id),
        _SCOPE: encode([int(claims.kind), int(claims.flags), list(claims.access_levels)]),
    }
    if claims.not_before_s is not None:
        entries[_NBF] = claims.not_before_s
    if claims.holder_key is not None:
        entries[_CNF] = {_CNF_COSE_KEY: claims.holder_key.to_cose()}
    key = signer.public_key
    header: dict[int | str, Value] = {HEADER_ALGORITHM: int(key.algorithm), HEADER_KEY_ID: bytes(key.key_id)}
    data = seal_with(header, encode(entries, field="pass"), signer, ExternalAad.PASS)
    parse_pass(data)
    return data
