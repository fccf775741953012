"""Vectors of the rotating presentation and of what else a code may hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    DOOR,
    FALSE,
    HOLDER,
    HOLDER_ED,
    NULL,
    PASS,
    SITE,
    STRANGER,
    THIEF,
    TRUE,
    accepted,
    array,
    collection,
    cose_key,
    mapping,
    num,
    octets,
    pairs,
    plain,
    refused,
    sign1,
    text,
)
from tests.vectors.parts.passes import LARGEST, PRINTED, SMALLEST, USUAL, raw_pass
from wire.codec import MAX_TIME_S
from wire.errors import WireReason
from wire.names import ExternalAad
from wire.passes import seal_pass
from wire.presentation import MAX_PRESENTATION_BYTES, parse_presented, seal_presentation
from wire.text import MAX_TEXT_BYTES, to_text

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Entries, Json
    from wire.keys import Signer
    from wire.passes import Pass

NONCE: Final = bytes(range(16))
ISSUER: Final = {"issuer_key": cose_key(PASS.public_key).hex()}
USUAL_PASS: Final = seal_pass(USUAL, PASS)
SIGNED_AT: Final = AT - 5


def header(pass_bytes: bytes = USUAL_PASS, **changes: bytes | None) -> bytes:
    """The protected header around a pass, with `alg`, `kcwt` or `typ` replaced, or left out by None."""
    entries: dict[str, bytes | None] = {"alg": num(-9), "kcwt": pass_bytes, "typ": num(294), **changes}
    return mapping({1: entries["alg"], 13: entries["kcwt"], 16: entries["typ"], 4: entries.get("kid")})


def payload(changes: Entries | None = None) -> bytes:
    """The usual payload, with claims replaced, added or left out."""
    return mapping({3: text(SITE), 6: num(SIGNED_AT)}, changes)


def raw(protected: bytes | None = None, body: bytes | None = None, signer: Signer = HOLDER) -> bytes:
    """A presentation over any header and payload, truly signed."""
    return sign1(protected or header(), body or payload(), signer, ExternalAad.PRESENTATION)


def _seal(
    claims: Pass, signer: Signer, *, at: int = SIGNED_AT, audience: str = SITE, nonce: bytes | None = None
) -> bytes:
    return seal_presentation(seal_pass(claims, PASS), signer, issued_at_s=at, audience=audience, nonce=nonce)


def _expect(
    data: bytes,
    claims: Pass,
    *,
    algorithm: str = "esp256",
    at: int = SIGNED_AT,
    audience: str = SITE,
    nonce: bytes | None = None,
) -> Json:
    read = parse_presented(data)
    expect: dict[str, Json] = {
        "pass": plain(claims),
        "algorithm": algorithm,
        "issued_at_s": at,
        "audience": audience,
        "nonce": plain(nonce),
        "replay_key": plain(getattr(read, "replay_key", None)),
    }
    return expect | ({"text": to_text(data).decode("ascii")} if len(data) <= MAX_TEXT_BYTES else {})


def presentations() -> dict[str, Json]:
    """presentation.json."""
    return collection(
        "What a code holds. With context.issuer_key the issuer's and the holder's signature are checked too.",
        "docs/spec/presentation.md",
        [*_valid(), *_header_faults(), *_payload_faults(), *_form_faults(), *_signature_faults()],
    )


def _valid() -> list[Case]:
    found: list[tuple[str, Pass, Signer, int, str, bytes | None]] = [
        ("usual", USUAL, HOLDER, SIGNED_AT, SITE, None),
        ("Ed25519 holder", replace(USUAL, holder_key=HOLDER_ED.public_key), HOLDER_ED, SIGNED_AT, SITE, None),
        ("bound to a nonce", USUAL, HOLDER, SIGNED_AT, f"{SITE}/{DOOR}", NONCE),
        ("pass with nbf", replace(USUAL, not_before_s=AT), HOLDER, SIGNED_AT, SITE, None),
        ("no access levels", replace(USUAL, access_levels=()), HOLDER, SIGNED_AT, SITE, None),
        ("16 access levels", replace(USUAL, access_levels=tuple(range(500, 516))), HOLDER, SIGNED_AT, SITE, None),
        ("audience of one character", USUAL, HOLDER, SIGNED_AT, "a", None),
        ("audience of 23 characters", USUAL, HOLDER, SIGNED_AT, "a" * 23, None),
        ("audience of 24 characters", USUAL, HOLDER, SIGNED_AT, "a" * 24, None),
        ("audience of 32 characters", USUAL, HOLDER, SIGNED_AT, "a" * 32, None),
        ("iat of 0", USUAL, HOLDER, 0, SITE, None),
        ("iat of 65535", USUAL, HOLDER, 0xFFFF, SITE, None),
        ("iat of 65536", USUAL, HOLDER, 0x10000, SITE, None),
        ("iat of 2^32 - 1", USUAL, HOLDER, 0xFFFF_FFFF, SITE, None),
        ("iat of 2^32", USUAL, HOLDER, 0x1_0000_0000, SITE, None),
        ("iat at the latest moment", USUAL, HOLDER, MAX_TIME_S, SITE, None),
        ("largest without nonce", LARGEST, HOLDER, MAX_TIME_S, "s" * 32, None),
        ("largest of all, too long for a code", LARGEST, HOLDER, MAX_TIME_S, "s" * 32 + "/" + "d" * 32, NONCE),
    ]
    rotating = []
    for name, claims, signer, at, audience, nonce in found:
        data = _seal(claims, signer, at=at, audience=audience, nonce=nonce)
        algorithm = signer.public_key.algorithm.name.lower()
        expect = _expect(data, claims, algorithm=algorithm, at=at, audience=audience, nonce=nonce)
        rotating.append(accepted(name, data, expect, **ISSUER))
    return [
        *rotating,
        accepted("printed pass", seal_pass(PRINTED, PASS), {"pass": plain(PRINTED)}, **ISSUER),
        accepted("smallest printed pass", seal_pass(SMALLEST, PASS), {"pass": plain(SMALLEST)}, **ISSUER),
    ]


def _header_faults() -> list[Case]:
    here = "presentation"
    faults = [
        ("no alg", header(alg=None), WireReason.MISSING_FIELD, f"{here}.alg"),
        ("alg ES256 (-7), which names no curve", header(alg=num(-7)), WireReason.UNKNOWN_ALGORITHM, f"{here}.alg"),
        ("alg as text", header(alg=text("ES256")), WireReason.UNKNOWN_ALGORITHM, f"{here}.alg"),
        ("alg none", header(alg=num(0)), WireReason.UNKNOWN_ALGORITHM, f"{here}.alg"),
        ("no typ", header(typ=None), WireReason.MISSING_FIELD, f"{here}.typ"),
        ("typ 293", header(typ=num(293)), WireReason.UNKNOWN_VALUE, f"{here}.typ"),
        ("typ as text", header(typ=text("application/kb+cwt")), WireReason.UNKNOWN_VALUE, f"{here}.typ"),
        ("kid added", header(kid=octets(bytes(4))), WireReason.UNKNOWN_FIELD, here),
        ("kcwt as bytes", header(octets(USUAL_PASS)), WireReason.WRONG_TYPE, "pass"),
        ("kcwt without tag", header(USUAL_PASS[1:]), WireReason.WRONG_TYPE, "pass"),
        ("kcwt null", header(NULL), WireReason.WRONG_TYPE, "pass"),
        ("kcwt without holder key", header(seal_pass(PRINTED, PASS)), WireReason.MISSING_FIELD, "pass.cnf"),
        (
            "kcwt with an unknown kind",
            header(raw_pass({9: octets(array(num(9), num(0), array()))})),
            WireReason.UNKNOWN_VALUE,
            "pass.scope.kind",
        ),
        ("header an array", array(num(-9)), WireReason.WRONG_TYPE, "pass"),
        (
            "header with keys out of order",
            pairs((num(13), USUAL_PASS), (num(1), num(-9)), (num(16), num(294))),
            WireReason.NOT_CANONICAL,
            f"{here}.protected",
        ),
        (
            "alg twice",
            pairs((num(1), num(-9)), (num(1), num(-9)), (num(13), USUAL_PASS), (num(16), num(294))),
            WireReason.DUPLICATE_KEY,
            f"{here}.protected",
        ),
        ("a presentation inside a presentation", header(raw()), WireReason.TOO_LARGE, "pass"),
    ]
    return [refused(name, raw(protected), reason, field, **ISSUER) for name, protected, reason, field in faults]


def _payload_faults() -> list[Case]:
    here = "presentation"
    bound: Entries = {39: octets(NONCE)}
    faults: list[tuple[str, Entries, WireReason, str]] = [
        ("no iat", {6: None}, WireReason.MISSING_FIELD, f"{here}.iat"),
        ("no aud", {3: None}, WireReason.MISSING_FIELD, f"{here}.aud"),
        ("exp added", {4: num(AT)}, WireReason.UNKNOWN_FIELD, here),
        ("iat as text", {6: text("now")}, WireReason.WRONG_TYPE, f"{here}.iat"),
        ("iat false", {6: FALSE}, WireReason.WRONG_TYPE, f"{here}.iat"),
        ("iat negative", {6: num(-1)}, WireReason.OUT_OF_RANGE, f"{here}.iat"),
        ("iat beyond the latest moment", {6: num(MAX_TIME_S + 1)}, WireReason.OUT_OF_RANGE, f"{here}.iat"),
        ("iat of 2^63", {6: num(2**63)}, WireReason.OUT_OF_RANGE, here),
        ("iat in nine bytes", {6: num(SIGNED_AT, extra_bytes=8)}, WireReason.NOT_CANONICAL, here),
        ("aud empty", {3: text("")}, WireReason.OUT_OF_RANGE, f"{here}.aud"),
        ("aud of 33 characters", {3: text("a" * 33)}, WireReason.OUT_OF_RANGE, f"{here}.aud"),
        (
            "aud of 66 characters",
            {3: text("a" * 33 + "/" + "b" * 32), **bound},
            WireReason.OUT_OF_RANGE,
            f"{here}.aud",
        ),
        ("aud in upper case", {3: text("Library")}, WireReason.WRONG_ALPHABET, f"{here}.aud"),
        ("aud as array", {3: array(text(SITE))}, WireReason.WRONG_TYPE, f"{here}.aud"),
        ("aud with a door but no nonce", {3: text(f"{SITE}/{DOOR}")}, WireReason.UNKNOWN_VALUE, f"{here}.aud"),
        ("aud without door but with a nonce", bound, WireReason.UNKNOWN_VALUE, f"{here}.aud"),
        ("aud of three parts", {3: text("a/b/c"), **bound}, WireReason.UNKNOWN_VALUE, f"{here}.aud"),
        ("aud with an empty door", {3: text("a/"), **bound}, WireReason.OUT_OF_RANGE, f"{here}.aud"),
        ("nonce of 15 bytes", {3: text("a/b"), 39: octets(bytes(15))}, WireReason.OUT_OF_RANGE, f"{here}.cnonce"),
        ("nonce of 17 bytes", {3: text("a/b"), 39: octets(bytes(17))}, WireReason.OUT_OF_RANGE, f"{here}.cnonce"),
        ("nonce true", {3: text("a/b"), 39: TRUE}, WireReason.WRONG_TYPE, f"{here}.cnonce"),
        ("payload beyond 128 bytes", {50: octets(bytes(128))}, WireReason.TOO_LARGE, here),
    ]
    return [
        *(
            refused(name, raw(body=payload(changes)), reason, field, **ISSUER)
            for name, changes, reason, field in faults
        ),
        refused("payload an array", raw(body=array()), WireReason.WRONG_TYPE, here, **ISSUER),
    ]


def _form_faults() -> list[Case]:
    here = "presentation"
    good = raw()
    return [
        refused("empty", b"", WireReason.EMPTY, here),
        refused("cut by one byte", good[:-1], WireReason.NOT_CBOR, here),
        refused("one byte after it", good + b"\x00", WireReason.NOT_CANONICAL, here),
        refused("448 bytes of nothing", bytes(MAX_PRESENTATION_BYTES), WireReason.WRONG_TYPE, here),
        refused("449 bytes", good + bytes(MAX_PRESENTATION_BYTES + 1 - len(good)), WireReason.TOO_LARGE, here),
        refused("a pass whose holder did not sign", USUAL_PASS, WireReason.WRONG_TYPE, here),
        refused("text", text("DW1:"), WireReason.WRONG_TYPE, here),
        refused("without tag", good[1:], WireReason.WRONG_TYPE, here),
        refused(
            "unprotected header",
            sign1(header(), payload(), HOLDER, ExternalAad.PRESENTATION, unprotected=mapping({1: num(0)})),
            WireReason.UNKNOWN_FIELD,
            f"{here}.unprotected",
        ),
        refused(
            "signature of 63 bytes", _with_signature(good, good[-64:-1]), WireReason.OUT_OF_RANGE, f"{here}.signature"
        ),
        refused(
            "signature of 65 bytes",
            _with_signature(good, good[-64:] + b"\x00"),
            WireReason.OUT_OF_RANGE,
            f"{here}.signature",
        ),
    ]


def _with_signature(data: bytes, signature: bytes) -> bytes:
    return data[: -len(octets(bytes(64)))] + octets(signature)


def _signature_faults() -> list[Case]:
    here = "presentation"
    good = raw()
    flipped = good[:-1] + bytes((good[-1] ^ 1,))
    mixed = raw(header(alg=num(-19)), signer=HOLDER_ED)
    as_pass = sign1(header(), payload(), HOLDER, ExternalAad.PASS)
    signed_later = good[: -len(octets(bytes(64)))] + raw(body=payload({6: num(AT)}))[-len(octets(bytes(64))) :]
    forged = seal_presentation(
        seal_pass(replace(USUAL, holder_key=THIEF.public_key), STRANGER), THIEF, issued_at_s=SIGNED_AT, audience=SITE
    )
    return [
        refused("signed by a thief", raw(signer=THIEF), WireReason.SIGNATURE_INVALID, here, **ISSUER),
        refused("last bit of the signature flipped", flipped, WireReason.SIGNATURE_INVALID, here, **ISSUER),
        refused("signature of a later presentation", signed_later, WireReason.SIGNATURE_INVALID, here, **ISSUER),
        refused("signed as a pass", as_pass, WireReason.SIGNATURE_INVALID, here, **ISSUER),
        refused(
            "alg of another key than the pass names", mixed, WireReason.ALGORITHM_MISMATCH, f"{here}.alg", **ISSUER
        ),
        refused("pass of another issuer", forged, WireReason.SIGNATURE_INVALID, "pass", **ISSUER),
    ]
