"""Public keys as COSE_Key, signature checks, and signers.

Invariant: a signature is checked under the one algorithm that belongs to its key.
Must not: choose an algorithm from a message's header. Source: docs/spec/keys.md, RFC 9053 §7, RFC 9864.

Ed25519 runs in libsodium (stricter on small-order and non-canonical points, and faster here than OpenSSL),
P-256 in `cryptography`.
"""

import hashlib
from enum import IntEnum, unique
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from wire.codec import Fields, Value, encode
from wire.errors import WireError, WireReason
from wire.names import KeyId

SIGNATURE_BYTES: Final = 64
"""Both algorithms: Ed25519 R||S (RFC 8032), ECDSA r||s of 32 bytes each (RFC 9053 §2.1)."""
KEY_ID_BYTES: Final = 4

_COORDINATE_BYTES: Final = 32
_COMPRESSED_BYTES: Final = 33
_KTY, _CRV, _X, _Y = 1, -1, -2, -3
_KTY_OKP, _KTY_EC2 = 1, 2
_CRV_P256, _CRV_ED25519 = 1, 6
_CURVE: Final = ec.SECP256R1()
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


@unique
class Algorithm(IntEnum):
    """The fully specified COSE algorithms we use (RFC 9864)."""

    ED25519 = -19
    ESP256 = -9


class PublicKey:
    """A public key: algorithm and its shortest encoding.

    Args:
        algorithm: what the key may be used for.
        point: 32 bytes (Ed25519) or the 33-byte compressed point (P-256).

    Raises:
        WireError: KEY_INVALID when the length or prefix is wrong. Whether a P-256 point lies on the curve is
            found at first use (47 us that an unknown issuer shall not cost us).
    """

    __slots__ = ("_key_id", "_loaded", "algorithm", "point")

    def __init__(self, algorithm: Algorithm, point: bytes) -> None:
        compressed = len(point) == _COMPRESSED_BYTES and point[0] in (2, 3)
        if not (compressed if algorithm is Algorithm.ESP256 else len(point) == _COORDINATE_BYTES):
            raise WireError(WireReason.KEY_INVALID, "key")
        self.algorithm = algorithm
        self.point = point
        self._loaded: ec.EllipticCurvePublicKey | None = None
        self._key_id: KeyId | None = None

    def __eq__(self, other: object) -> bool:
        """Compare algorithm and point."""
        if not isinstance(other, PublicKey):
            return NotImplemented
        return self.algorithm is other.algorithm and self.point == other.point

    def __hash__(self) -> int:
        """Hash by point."""
        return hash(self.point)

    def __repr__(self) -> str:
        """Show algorithm and key id, never the point."""
        return f"PublicKey({self.algorithm.name}, {self.key_id.hex()})"

    @property
    def key_id(self) -> KeyId:
        """The first 4 bytes of SHA-256 over the encoded COSE_Key."""
        if self._key_id is None:
            self._key_id = KeyId(hashlib.sha256(encode(self.to_cose())).digest()[:KEY_ID_BYTES])
        return self._key_id

    def to_cose(self) -> dict[int | str, Value]:
        """Give the COSE_Key map (RFC 9053 §7); P-256 with a compressed y."""
        if self.algorithm is Algorithm.ED25519:
            return {_KTY: _KTY_OKP, _CRV: _CRV_ED25519, _X: self.point}
        return {_KTY: _KTY_EC2, _CRV: _CRV_P256, _X: self.point[1:], _Y: self.point[0] == 3}  # noqa: PLR2004 - SEC 1 §2.3.3

    def verify(self, signature: bytes, message: bytes, *, field: str) -> None:
        """Return when the signature is this key's over the message.

        Raises:
            WireError: SIGNATURE_INVALID, or KEY_INVALID when the point is not on the curve.
        """
        if len(signature) != SIGNATURE_BYTES:
            raise WireError(WireReason.SIGNATURE_INVALID, field)
        try:
            if self.algorithm is Algorithm.ED25519:
                crypto_sign_open(signature + message, self.point)
            else:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self.p256(field).verify(encode_dss_signature(r, s), message, _ECDSA)
        except (InvalidSignature, BadSignatureError) as error:
            raise WireError(WireReason.SIGNATURE_INVALID, field) from error

    def p256(self, field: str = "key") -> ec.EllipticCurvePublicKey:
        """Give the P-256 key as `cryptography` knows it, decompressed once.

        Raises:
            WireError: KEY_INVALID when this is no P-256 key or the point is not on the curve.
        """
        if self._loaded is None:
            try:
                self._loaded = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, self.point)
            except ValueError as error:
                raise WireError(WireReason.KEY_INVALID, field) from error
        return self._loaded


def parse_key(value: Value, field: str) -> PublicKey:
    """Read a COSE_Key that holds exactly a P-256 or Ed25519 public key.

    Raises:
        WireError: UNKNOWN_ALGORITHM for another type or curve; UNKNOWN_FIELD for private or extra members.
    """
    fields = Fields(value, field)
    found = _KINDS.get((fields.uint(_KTY, "kty"), fields.uint(_CRV, "crv")))
    if found is None:
        raise WireError(WireReason.UNKNOWN_ALGORITHM, field)
    point = fields.octets(_X, "x", _COORDINATE_BYTES, _COORDINATE_BYTES)
    if found is Algorithm.ESP256:
        sign = fields.value(_Y, "y")
        if not isinstance(sign, bool):
            raise WireError(WireReason.WRONG_TYPE, f"{field}.y")
        point = (b"\x03" if sign else b"\x02") + point
    fields.close()
    return PublicKey(found, point)


_KINDS: Final = {(_KTY_OKP, _CRV_ED25519): Algorithm.ED25519, (_KTY_EC2, _CRV_P256): Algorithm.ESP256}


def key_from_p256(public: ec.EllipticCurvePublicKey) -> PublicKey:
    """Wrap a P-256 key of `cryptography`.

    Raises:
        WireError: UNKNOWN_ALGORITHM for another curve.
    """
    if not isinstance(public.curve, ec.SECP256R1):
        raise WireError(WireReason.UNKNOWN_ALGORITHM, "key")
    return PublicKey(Algorithm.ESP256, public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))


def check_strong(key: PublicKey, field: str) -> None:
    """Refuse a holder key that an issuer must not certify: low order, off the curve, non-canonical.

    Raises:
        WireError: KEY_INVALID.
    """
    if key.algorithm is Algorithm.ESP256:
        key.p256(field)
    elif not crypto_core_ed25519_is_valid_point(key.point):
        raise WireError(WireReason.KEY_INVALID, field)


class Signer(Protocol):
    """Something that signs with one key: a file, a TPM, a PKCS#11 token."""

    @property
    def public_key(self) -> PublicKey:
        """The key that checks the signatures."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign; 64 bytes."""
        ...


class Ed25519Signer:
    """Sign with an Ed25519 seed of 32 bytes held in memory."""

    __slots__ = ("_key", "public_key")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public_key = PublicKey(Algorithm.ED25519, bytes(self._key.verify_key))

    def sign(self, message: bytes) -> bytes:
        """Sign deterministically (RFC 8032)."""
        return bytes(self._key.sign(message).signature)


class P256Signer:
    """Sign with a P-256 private key of `cryptography`."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public_key = key_from_p256(key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Sign as r||s, 32 bytes each."""
        r, s = decode_dss_signature(self._key.sign(message, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
