"""Vectors of the pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    DAY_S,
    FALSE,
    HALF_ONE,
    HOLDER,
    HOLDER_ED,
    NULL,
    PASS,
    STRANGER,
    TENANT,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
    header,
    mapping,
    num,
    octets,
    pairs,
    plain,
    refused,
    sign1,
    signed,
    text,
)
from wire.codec import MAX_TIME_S
from wire.envelope import parse_envelope
from wire.errors import WireReason
from wire.names import ExternalAad, PassFlags, PassKind, Tenant
from wire.passes import MAX_ACCESS_LEVELS, MAX_LIFETIME_S, MAX_PASS_BYTES, Pass, make_pass_id, seal_pass

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json

ISSUER: Final = {"issuer_key": cose_key(PASS.public_key).hex()}
USUAL: Final = Pass(
    issuer=Tenant(TENANT),
    pass_id=make_pass_id(0, 77),
    issued_at_s=AT - 3600,
    not_before_s=None,
    expires_at_s=AT - 3600 + 7 * DAY_S,
    holder_key=HOLDER.public_key,
    kind=PassKind.STANDARD,
    flags=PassFlags.NONE,
    access_levels=(1, 7, 300, 4000),
)
"""The pass that the pages show."""
PRINTED: Final = replace(
    USUAL,
    pass_id=make_pass_id(0, 78),
    expires_at_s=AT + 8 * 3600,
    holder_key=None,
    kind=PassKind.VISITOR,
    access_levels=(7,),
)
LARGEST: Final = Pass(
    issuer=Tenant("a" * 32),
    pass_id=make_pass_id(0xFFFF, 0xFFFF_FFFF),
    issued_at_s=MAX_TIME_S - MAX_LIFETIME_S - 1,
    not_before_s=MAX_TIME_S - MAX_LIFETIME_S,
    expires_at_s=MAX_TIME_S,
    holder_key=HOLDER.public_key,
    kind=PassKind.EMERGENCY,
    flags=PassFlags.EXTENDED_RELEASE,
    access_levels=tuple(range(0xFFFF - MAX_ACCESS_LEVELS + 1, 0x10000)),
)
SMALLEST: Final = Pass(
    issuer=Tenant("a"),
    pass_id=make_pass_id(0, 0),
    issued_at_s=0,
    not_before_s=None,
    expires_at_s=1,
    holder_key=None,
    kind=PassKind.STANDARD,
    flags=PassFlags.NONE,
    access_levels=(),
)

_CNF: Final = mapping({1: cose_key(HOLDER.public_key)})
_LEVELS: Final = (num(1), num(7), num(300), num(4000))


def scope(kind: bytes | None = None, flags: bytes | None = None, levels: bytes | None = None, *more: bytes) -> bytes:
    """The scope claim of the usual pass, with parts replaced."""
    return octets(array(kind or num(0), flags or num(0), levels or array(*_LEVELS), *more))


def raw_claims() -> dict[int, bytes]:
    """The claims of the usual pass as encoded items."""
    return {
        1: text(TENANT),
        4: num(USUAL.expires_at_s),
        6: num(USUAL.issued_at_s),
        7: octets(USUAL.pass_id),
        8: _CNF,
        9: scope(),
    }


def raw_pass(changes: Entries) -> bytes:
    """The usual pass with some claims replaced, added or left out, truly signed."""
    return signed(mapping(raw_claims(), changes), PASS, ExternalAad.PASS)


def passes() -> dict[str, Json]:
    """pass.json."""
    return collection(
        "Passes that stand alone. With context.issuer_key the issuer's signature is checked too.",
        "docs/spec/pass.md",
        [*_valid(), *_claim_faults(), *_scope_faults(), *_time_cases(), *_form_faults(), *_signature_faults()],
    )


def _valid() -> list[Case]:
    found = {
        "usual": USUAL,
        "printed": PRINTED,
        "largest": LARGEST,
        "smallest": SMALLEST,
        "Ed25519 holder": replace(USUAL, holder_key=HOLDER_ED.public_key),
        "with nbf": replace(USUAL, not_before_s=AT),
        "with nbf equal to iat": replace(USUAL, not_before_s=USUAL.issued_at_s),
        "no access levels": replace(USUAL, access_levels=()),
        "16 access levels": replace(USUAL, access_levels=tuple(range(16))),
        **{f"kind {kind.name.lower()}": replace(USUAL, kind=kind) for kind in PassKind},
        "extended release": replace(USUAL, flags=PassFlags.EXTENDED_RELEASE),
    }
    return [accepted(name, seal_pass(claims, PASS), plain(claims), **ISSUER) for name, claims in found.items()]


def _claim_faults() -> list[Case]:
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("no iss", {1: None}, WireReason.MISSING_FIELD, "pass.iss"),
        ("no exp", {4: None}, WireReason.MISSING_FIELD, "pass.exp"),
        ("no iat", {6: None}, WireReason.MISSING_FIELD, "pass.iat"),
        ("no cti", {7: None}, WireReason.MISSING_FIELD, "pass.cti"),
        ("no scope", {9: None}, WireReason.MISSING_FIELD, "pass.scope"),
        ("sub added", {2: text("somebody")}, WireReason.UNKNOWN_FIELD, "pass"),
        ("iss empty", {1: text("")}, WireReason.OUT_OF_RANGE, "pass.iss"),
        ("iss of 33 characters", {1: text("a" * 33)}, WireReason.OUT_OF_RANGE, "pass.iss"),
        ("iss in upper case", {1: text("North")}, WireReason.WRONG_ALPHABET, "pass.iss"),
        ("iss with a Cyrillic letter", {1: text("n\u043erth")}, WireReason.WRONG_ALPHABET, "pass.iss"),
        ("iss with a line end", {1: text("north\n")}, WireReason.WRONG_ALPHABET, "pass.iss"),
        ("iss as bytes", {1: octets(b"north")}, WireReason.WRONG_TYPE, "pass.iss"),
        ("exp as text", {4: text("1")}, WireReason.WRONG_TYPE, "pass.exp"),
        ("exp as float", {4: HALF_ONE}, WireReason.FORBIDDEN_TYPE, "pass.claims"),
        ("exp true", {4: TRUE}, WireReason.WRONG_TYPE, "pass.exp"),
        ("exp null", {4: NULL}, WireReason.WRONG_TYPE, "pass.exp"),
        ("iat negative", {6: num(-1)}, WireReason.OUT_OF_RANGE, "pass.iat"),
        ("nbf null", {5: NULL}, WireReason.WRONG_TYPE, "pass.nbf"),
        ("exp beyond the year 9983", {4: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "pass.exp"),
        ("nbf beyond the year 9983", {5: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "pass.nbf"),
        ("iat beyond the year 9983", {6: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, "pass.iat"),
        ("exp of 2^63", {4: num(2**63)}, WireReason.OUT_OF_RANGE, "pass.claims"),
        ("cti of 5 bytes", {7: octets(bytes(5))}, WireReason.OUT_OF_RANGE, "pass.cti"),
        ("cti of 7 bytes", {7: octets(bytes(7))}, WireReason.OUT_OF_RANGE, "pass.cti"),
        ("cti as number", {7: num(77)}, WireReason.WRONG_TYPE, "pass.cti"),
        ("cnf not a map", {8: num(1)}, WireReason.WRONG_TYPE, "pass.cnf"),
        ("cnf empty", {8: mapping({})}, WireReason.MISSING_FIELD, "pass.cnf.key"),
        ("cnf with a key id", {8: mapping({3: octets(b"abcd")})}, WireReason.MISSING_FIELD, "pass.cnf.key"),
        (
            "cnf with key and key id",
            {8: mapping({1: cose_key(HOLDER.public_key), 3: octets(b"abcd")})},
            WireReason.UNKNOWN_FIELD,
            "pass.cnf",
        ),
        (
            "cnf with a symmetric key",
            {8: mapping({1: mapping({1: num(4)})})},
            WireReason.MISSING_FIELD,
            "pass.cnf.key.crv",
        ),
    ]
    return [refused(name, raw_pass(changes), reason, field, **ISSUER) for name, changes, reason, field in faults]


def _scope_faults() -> list[Case]:
    levels = "pass.scope.levels"
    faults = [
        ("scope as array", array(num(0), num(0), array()), WireReason.WRONG_TYPE, "pass.scope"),
        ("scope empty", octets(b""), WireReason.OUT_OF_RANGE, "pass.scope"),
        (
            "scope with bytes after it",
            octets(array(num(0), num(0), array()) + b"\x00"),
            WireReason.NOT_CANONICAL,
            "pass.scope",
        ),
        ("scope of two parts", octets(array(num(0), num(0))), WireReason.MISSING_FIELD, "pass.scope"),
        ("scope of four parts", scope(None, None, None, num(0)), WireReason.OUT_OF_RANGE, "pass.scope"),
        ("scope as text", octets(text("all")), WireReason.WRONG_TYPE, "pass.scope"),
        ("unknown kind", scope(num(5)), WireReason.UNKNOWN_VALUE, "pass.scope.kind"),
        ("kind negative", scope(num(-1)), WireReason.UNKNOWN_VALUE, "pass.scope.kind"),
        ("kind false", scope(FALSE), WireReason.WRONG_TYPE, "pass.scope.kind"),
        ("unknown flag", scope(None, num(2)), WireReason.UNKNOWN_VALUE, "pass.scope.flags"),
        ("flags true", scope(None, TRUE), WireReason.WRONG_TYPE, "pass.scope.flags"),
        ("levels not an array", scope(None, None, num(7)), WireReason.WRONG_TYPE, levels),
        ("17 levels", scope(None, None, array(*map(num, range(17)))), WireReason.OUT_OF_RANGE, levels),
        ("level of 65536", scope(None, None, array(num(0x10000))), WireReason.OUT_OF_RANGE, levels),
        ("level as text", scope(None, None, array(text("7"))), WireReason.WRONG_TYPE, levels),
        ("levels descending", scope(None, None, array(num(7), num(1))), WireReason.NOT_CANONICAL, levels),
        ("level twice", scope(None, None, array(num(7), num(7))), WireReason.NOT_CANONICAL, levels),
        (
            "level in more bytes than needed",
            scope(None, None, array(num(7, extra_bytes=1))),
            WireReason.NOT_CANONICAL,
            "pass.scope",
        ),
    ]
    return [refused(name, raw_pass({9: value}), reason, field, **ISSUER) for name, value, reason, field in faults]


def _time_cases() -> list[Case]:
    month = replace(USUAL, expires_at_s=USUAL.issued_at_s + MAX_LIFETIME_S)
    later = replace(month, not_before_s=AT, expires_at_s=AT + MAX_LIFETIME_S)
    second = replace(USUAL, expires_at_s=USUAL.issued_at_s + 1)
    issued, start, end = num(AT), num(AT - 1), num(AT + MAX_LIFETIME_S + 1)
    faults: list[tuple[str, Entries]] = [
        ("longer than 31 days", {6: issued, 4: end}),
        ("longer than 31 days from nbf", {6: start, 5: issued, 4: end}),
        ("exp equal to iat", {6: issued, 4: issued}),
        ("exp equal to nbf", {5: issued, 4: issued}),
        ("nbf before iat", {6: issued, 5: start}),
    ]
    return [
        *(
            accepted(name, seal_pass(claims, PASS), plain(claims), **ISSUER)
            for name, claims in (("31 days", month), ("31 days from nbf", later), ("one second", second))
        ),
        *(refused(name, raw_pass(changes), WireReason.OUT_OF_RANGE, "pass.exp", **ISSUER) for name, changes in faults),
    ]


def _form_faults() -> list[Case]:
    good = seal_pass(USUAL, PASS)
    claims = raw_claims()
    ordered = [(num(key), value) for key, value in sorted(claims.items())]
    shuffled = signed(pairs(*reversed(ordered)), PASS, ExternalAad.PASS)
    doubled = signed(pairs(*ordered[:1], *ordered), PASS, ExternalAad.PASS)
    indefinite = signed(b"\xbf" + mapping(claims)[1:] + b"\xff", PASS, ExternalAad.PASS)
    extra = mapping({1: num(-19), 4: octets(PASS.public_key.key_id), 2: array(num(1))})
    return [
        refused("empty", b"", WireReason.EMPTY, "pass"),
        refused("cut by one byte", good[:-1], WireReason.NOT_CBOR, "pass"),
        refused("one byte after it", good + b"\x00", WireReason.NOT_CANONICAL, "pass"),
        refused("257 bytes", good + bytes(MAX_PASS_BYTES + 1 - len(good)), WireReason.TOO_LARGE, "pass"),
        refused("without tag", good[1:], WireReason.WRONG_TYPE, "pass"),
        refused("CWT tag around it", b"\xd8\x3d" + good, WireReason.WRONG_TYPE, "pass"),
        refused("claims out of order", shuffled, WireReason.NOT_CANONICAL, "pass.claims"),
        refused("iss twice", doubled, WireReason.DUPLICATE_KEY, "pass.claims"),
        refused("claims of indefinite length", indefinite, WireReason.NOT_CANONICAL, "pass.claims"),
        refused("claims not a map", signed(array(), PASS, ExternalAad.PASS), WireReason.WRONG_TYPE, "pass"),
        refused(
            "exp in nine bytes",
            raw_pass({4: num(USUAL.expires_at_s, extra_bytes=8)}),
            WireReason.NOT_CANONICAL,
            "pass.claims",
        ),
        refused(
            "critical header", sign1(extra, mapping(claims), PASS, ExternalAad.PASS), WireReason.UNKNOWN_FIELD, "pass"
        ),
    ]


def _signature_faults() -> list[Case]:
    good = seal_pass(USUAL, PASS)
    payload = parse_envelope(good, field="pass", max_bytes=MAX_PASS_BYTES).payload
    stolen = sign1(header(PASS), payload, STRANGER, ExternalAad.PASS)
    es256 = sign1(header(HOLDER, kid=octets(PASS.public_key.key_id)), payload, HOLDER, ExternalAad.PASS)
    eddsa = sign1(header(PASS, alg=num(-8)), payload, PASS, ExternalAad.PASS)
    flipped = good[:-1] + bytes((good[-1] ^ 1,))
    other = {"issuer_key": cose_key(STRANGER.public_key).hex()}
    p256 = {"issuer_key": cose_key(HOLDER.public_key).hex()}
    return [
        refused("another issuer's signature under this key id", stolen, WireReason.SIGNATURE_INVALID, "pass", **ISSUER),
        refused("checked with another issuer's key", good, WireReason.SIGNATURE_INVALID, "pass", **other),
        refused("checked with a P-256 key", good, WireReason.ALGORITHM_MISMATCH, "pass.alg", **p256),
        refused("last bit of the signature flipped", flipped, WireReason.SIGNATURE_INVALID, "pass", **ISSUER),
        refused(
            "signed as a command",
            signed(payload, PASS, ExternalAad.COMMAND),
            WireReason.SIGNATURE_INVALID,
            "pass",
            **ISSUER,
        ),
        refused("signed by a P-256 issuer", es256, WireReason.UNKNOWN_ALGORITHM, "pass.alg", **ISSUER),
        refused("alg EdDSA (-8), which names no curve", eddsa, WireReason.UNKNOWN_ALGORITHM, "pass.alg", **ISSUER),
    ]
