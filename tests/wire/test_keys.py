"""Keys: how they compare and print, which ones an issuer must not certify, and that signers do what is said."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.vectors.parts.kit import DEVICE, HOLDER, HOLDER_ED, STRANGER
from wire.errors import WireError, WireReason
from wire.keys import Algorithm, Ed25519Signer, P256Signer, PublicKey, check_strong, key_from_p256

_SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]
"""Points of order 1, 2, 4 and 8 (RFC 7748 §6.1 explains why they are weak)."""


def test_keys_are_equal_by_algorithm_and_point():
    point = bytes(32)
    key = PublicKey(Algorithm.ED25519, point)
    assert key == PublicKey(Algorithm.ED25519, point)
    assert hash(key) == hash(PublicKey(Algorithm.ED25519, point))
    assert key != PublicKey(Algorithm.ED25519, bytes(31) + b"\x01")
    assert hash(key) != hash(PublicKey(Algorithm.ED25519, bytes(31) + b"\x01"))
    assert PublicKey(Algorithm.ESP256, b"\x02" + point) != PublicKey(Algorithm.ESP256, b"\x03" + point)
    assert key != point


def test_key_prints_its_id_and_not_its_point():
    shown = repr(HOLDER.public_key)
    assert HOLDER.public_key.key_id.hex() in shown
    assert HOLDER.public_key.point[1:].hex() not in shown


@pytest.mark.parametrize(
    ("algorithm", "point"),
    [
        (Algorithm.ED25519, bytes(31)),
        (Algorithm.ED25519, bytes(33)),
        (Algorithm.ED25519, b"\x02" + bytes(32)),
        (Algorithm.ESP256, bytes(32)),
        (Algorithm.ESP256, bytes(33)),
        (Algorithm.ESP256, b"\x04" + bytes(32)),
        (Algorithm.ESP256, b"\x04" + bytes(64)),
        (Algorithm.ESP256, b""),
    ],
)
def test_key_of_another_shape_is_refused(algorithm: Algorithm, point: bytes):
    with pytest.raises(WireError) as refused:
        PublicKey(algorithm, point)
    assert (refused.value.reason, refused.value.field) == (WireReason.KEY_INVALID, "key")


@pytest.mark.parametrize("point", _SMALL_ORDER)
def test_issuer_refuses_an_ed25519_key_of_small_order(point: str):
    with pytest.raises(WireError) as refused:
        check_strong(PublicKey(Algorithm.ED25519, bytes.fromhex(point)), "holder")
    assert (refused.value.reason, refused.value.field) == (WireReason.KEY_INVALID, "holder")


@pytest.mark.parametrize("x", [1, 2, 2**256 - 2**224 + 2**192 + 2**96 - 1 + 5, 2**256 - 1])
def test_issuer_refuses_a_p256_key_off_the_curve(x: int):
    with pytest.raises(WireError) as refused:
        check_strong(PublicKey(Algorithm.ESP256, b"\x02" + x.to_bytes(32, "big")), "holder")
    assert (refused.value.reason, refused.value.field) == (WireReason.KEY_INVALID, "holder")


@pytest.mark.parametrize("signer", [HOLDER, HOLDER_ED, DEVICE, STRANGER])
def test_issuer_takes_a_sound_key(signer: Ed25519Signer):
    check_strong(signer.public_key, "holder")


def test_ed25519_key_is_no_p256_key():
    with pytest.raises(WireError) as refused:
        HOLDER_ED.public_key.p256()
    assert (refused.value.reason, refused.value.field) == (WireReason.KEY_INVALID, "key")


def test_p256_signer_signs_for_its_public_key():
    private = ec.generate_private_key(ec.SECP256R1())
    signer = P256Signer(private)
    signer.public_key.verify(signer.sign(b"message"), b"message", field="signature")
    assert signer.public_key == key_from_p256(private.public_key())
    assert signer.public_key.p256().public_numbers() == private.public_key().public_numbers()


def test_ed25519_signer_agrees_with_openssl():
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signer = Ed25519Signer(bytes(range(32)))
    assert signer.sign(b"message") == private.sign(b"message")
    assert signer.public_key.point == private.public_key().public_bytes_raw()


def test_key_of_another_curve_is_refused():
    with pytest.raises(WireError) as refused:
        key_from_p256(ec.generate_private_key(ec.SECP384R1()).public_key())
    assert (refused.value.reason, refused.value.field) == (WireReason.UNKNOWN_ALGORITHM, "key")
