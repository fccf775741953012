"""Vectors of COSE_Key, key ids and signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    FALSE,
    HOLDER,
    HOLDER_ED,
    NULL,
    TRUE,
    accepted,
    collection,
    cose_key,
    mapping,
    num,
    octets,
    pairs,
    refused,
    text,
)
from wire.errors import WireReason
from wire.keys import Algorithm, PublicKey

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Json

_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
"""The prime of P-256 (SP 800-186 §3.2.1.3)."""
_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256."""
_L: Final = 2**252 + 27742317777372353535851937790883648493
"""The order of Ed25519's base point (RFC 8032 §5.1)."""


def _expect(key: PublicKey) -> Json:
    return {"algorithm": key.algorithm.name, "point": key.point.hex(), "key_id": key.key_id.hex()}


def keys() -> dict[str, Json]:
    """keys.json."""
    p256, ed25519 = HOLDER.public_key, HOLDER_ED.public_key
    ec2: dict[int, bytes | None] = {1: num(2), -1: num(1), -2: octets(p256.point[1:]), -3: FALSE}
    okp: dict[int, bytes | None] = {1: num(1), -1: num(6), -2: octets(ed25519.point)}
    even, odd = (PublicKey(Algorithm.ESP256, bytes((sign,)) + p256.point[1:]) for sign in (2, 3))
    faults = [
        ("P-256 without y", ec2 | {-3: None}, WireReason.MISSING_FIELD, "key.y"),
        ("P-256 with y in full", ec2 | {-3: octets(bytes(32))}, WireReason.WRONG_TYPE, "key.y"),
        ("P-256 with y null", ec2 | {-3: NULL}, WireReason.WRONG_TYPE, "key.y"),
        ("P-256 with y as number", ec2 | {-3: num(1)}, WireReason.WRONG_TYPE, "key.y"),
        ("P-256 with private key", ec2 | {-4: octets(bytes(32))}, WireReason.UNKNOWN_FIELD, "key"),
        ("P-256 with alg", ec2 | {3: num(-9)}, WireReason.UNKNOWN_FIELD, "key"),
        ("P-256 with 31 bytes", ec2 | {-2: octets(bytes(31))}, WireReason.OUT_OF_RANGE, "key.x"),
        ("P-256 with 33 bytes", ec2 | {-2: octets(bytes(33))}, WireReason.OUT_OF_RANGE, "key.x"),
        ("P-384", ec2 | {-1: num(2), -2: octets(bytes(48))}, WireReason.UNKNOWN_ALGORITHM, "key"),
        ("curve of the other type", ec2 | {-1: num(6)}, WireReason.UNKNOWN_ALGORITHM, "key"),
        ("Ed25519 with y", okp | {-3: TRUE}, WireReason.UNKNOWN_FIELD, "key"),
        ("Ed25519 with 31 bytes", okp | {-2: octets(bytes(31))}, WireReason.OUT_OF_RANGE, "key.x"),
        ("Ed25519 without x", okp | {-2: None}, WireReason.MISSING_FIELD, "key.x"),
        ("Ed448", okp | {-1: num(7), -2: octets(bytes(57))}, WireReason.UNKNOWN_ALGORITHM, "key"),
        ("X25519", okp | {-1: num(4)}, WireReason.UNKNOWN_ALGORITHM, "key"),
        ("type as text", okp | {1: text("OKP")}, WireReason.WRONG_TYPE, "key.kty"),
        ("true instead of type 1", okp | {1: TRUE}, WireReason.WRONG_TYPE, "key.kty"),
        ("true instead of curve 1", ec2 | {-1: TRUE}, WireReason.WRONG_TYPE, "key.crv"),
        ("no type", okp | {1: None}, WireReason.MISSING_FIELD, "key.kty"),
        ("no curve", okp | {-1: None}, WireReason.MISSING_FIELD, "key.crv"),
    ]
    vectors = [
        accepted("P-256, even y", mapping(ec2), _expect(even)),
        accepted("P-256, odd y", mapping(ec2 | {-3: TRUE}), _expect(odd)),
        accepted("Ed25519", mapping(okp), _expect(ed25519)),
        *(refused(name, mapping(entries), reason, field) for name, entries, reason, field in faults),
        refused("not a map", num(1), WireReason.WRONG_TYPE, "key"),
        refused(
            "keys out of order",
            pairs((num(-1), num(6)), (num(1), num(1)), (num(-2), octets(ed25519.point))),
            WireReason.NOT_CANONICAL,
            "key",
        ),
    ]
    return collection(
        "COSE_Key: the two kinds we take. `point` is 32 bytes (Ed25519) or the compressed point (P-256).",
        "docs/spec/keys.md; RFC 9053 §7",
        vectors,
    )


_RFC_8032: Final = (
    (
        "RFC 8032 §7.1 test 1",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "RFC 8032 §7.1 test 2",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "RFC 8032 §7.1 test 3",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
)
_RFC_6979: Final = (
    "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    (
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    ),
)
"""RFC 6979 A.2.5: P-256 with SHA-256, message "sample"."""
_SMALL_ORDER: Final = (
    ("order 1", "0100000000000000000000000000000000000000000000000000000000000000"),
    ("order 2", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("order 4", "0000000000000000000000000000000000000000000000000000000000000000"),
    ("order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    ("order 1, y not reduced", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


def _ok(name: str, key: PublicKey, message: bytes, signature: bytes) -> Case:
    return accepted(name, signature, {"valid": True}, key=cose_key(key).hex(), message=message.hex())


def _bad(
    name: str,
    key: PublicKey,
    message: bytes,
    signature: bytes,
    reason: WireReason = WireReason.SIGNATURE_INVALID,
) -> Case:
    return refused(name, signature, reason, "signature", key=cose_key(key).hex(), message=message.hex())


def signatures() -> dict[str, Json]:
    """signatures.json."""
    return collection(
        "Signature checks: `input` is the 64-byte signature over context.message under context.key.",
        "docs/spec/keys.md; RFC 8032 §7.1; RFC 6979 A.2.5; RFC 9053 §2.1",
        [*_ed25519_cases(), *_p256_cases()],
    )


def _ed25519_cases() -> list[Case]:
    message = b"doorward"
    key, good = HOLDER_ED.public_key, HOLDER_ED.sign(message)
    raised = (int.from_bytes(good[32:], "little") + _L).to_bytes(32, "little")
    published = [
        _ok(name, PublicKey(Algorithm.ED25519, bytes.fromhex(point)), bytes.fromhex(said), bytes.fromhex(signature))
        for name, point, said, signature in _RFC_8032
    ]
    weak = [
        _bad(
            f"Ed25519 key and R of {name}, S = 0",
            PublicKey(Algorithm.ED25519, bytes.fromhex(point)),
            message,
            bytes.fromhex(point) + bytes(32),
        )
        for name, point in _SMALL_ORDER
    ]
    return [
        *published,
        _ok("Ed25519", key, message, good),
        _bad("Ed25519, another message", key, b"doorwarD", good),
        _bad("Ed25519, S not reduced (S + L)", key, message, good[:32] + raised),
        _bad("Ed25519, one byte short", key, message, good[:63]),
        _bad("Ed25519, one byte long", key, message, good + b"\x00"),
        _bad("Ed25519, empty", key, message, b""),
        *weak,
    ]


def _p256_cases() -> list[Case]:
    message = b"doorward"
    key, good = HOLDER.public_key, HOLDER.sign(message)
    r, s = good[:32], int.from_bytes(good[32:], "big")
    point, published = (bytes.fromhex(item) for item in _RFC_6979)
    off_curve = PublicKey(Algorithm.ESP256, b"\x02" + (1).to_bytes(32, "big"))
    not_reduced = PublicKey(Algorithm.ESP256, b"\x02" + (_P + 5).to_bytes(32, "big"))
    one, order = (1).to_bytes(32, "big"), _N.to_bytes(32, "big")
    return [
        _ok("RFC 6979 A.2.5 sample", PublicKey(Algorithm.ESP256, point), b"sample", published),
        _ok("P-256", key, message, good),
        _ok("P-256, s replaced by n - s: malleable, and allowed", key, message, r + (_N - s).to_bytes(32, "big")),
        _bad("P-256, another message", key, b"doorwarD", good),
        _bad("P-256, r = 0", key, message, bytes(32) + good[32:]),
        _bad("P-256, s = 0", key, message, r + bytes(32)),
        _bad("P-256, r = s = 0", key, message, bytes(64)),
        _bad("P-256, r = n", key, message, order + one),
        _bad("P-256, s = n", key, message, one + order),
        _bad("P-256, all ones", key, message, b"\xff" * 64),
        _bad("P-256, one byte short", key, message, good[:63]),
        _bad("P-256, DER instead of r||s", key, message, bytes.fromhex("3006020101020101") + bytes(56)),
        _bad("P-256, point not on the curve", off_curve, message, good, WireReason.KEY_INVALID),
        _bad("P-256, x not reduced", not_reduced, message, good, WireReason.KEY_INVALID),
    ]
