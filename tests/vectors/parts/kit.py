"""What every set of vectors is made of: fixed keys, raw CBOR, raw signatures, and the shape of one case.

Invariant: the same bytes on every machine. Ed25519 is deterministic, P-256 signs as RFC 6979 says.
The raw builders write what they are told, in the order they are told, so that invalid encodings can be made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, Flag
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from wire.codec import encode
from wire.envelope import to_be_signed
from wire.keys import Ed25519Signer, PublicKey, key_from_p256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wire.errors import WireReason
    from wire.keys import Signer
    from wire.names import ExternalAad

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"
Case: TypeAlias = dict[str, Json]
Entries: TypeAlias = "Mapping[int, bytes | None]"
"""Members of a map as encoded items; None leaves one out."""

AT: Final = 1_772_442_000
"""Monday 2026-03-02T09:00:00Z."""
DAY_S: Final = 86_400
MAX_UINT: Final = 2**63 - 1
TENANT: Final = "north-campus"
SITE: Final = "library"
DOOR: Final = "main-entrance"


class DeterministicP256Signer:
    """Sign as RFC 6979 says, so that a vector can be made again."""

    def __init__(self, name: str) -> None:
        secret = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")
        self._key = ec.derive_private_key(secret % (2**255), ec.SECP256R1())
        self.public_key = key_from_p256(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Sign as r||s, 32 bytes each."""
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self._key.sign(message, algorithm))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def ed25519(name: str) -> Ed25519Signer:
    """The Ed25519 signer whose seed is SHA-256 of a name."""
    return Ed25519Signer(hashlib.sha256(name.encode()).digest())


ROOT: Final = ed25519("root")
PASS: Final = ed25519("pass")
STATUS: Final = ed25519("status")
POLICY: Final = ed25519("policy")
COMMAND: Final = ed25519("command")
ACKNOWLEDGEMENT: Final = ed25519("acknowledgement")
STRANGER: Final = ed25519("stranger")
HOLDER: Final = DeterministicP256Signer("holder")
HOLDER_ED: Final = ed25519("holder")
THIEF: Final = DeterministicP256Signer("thief")
DEVICE: Final = DeterministicP256Signer("device")


# --- raw CBOR (RFC 8949 §3): each function gives the bytes of one item, canonical unless told otherwise ---


def head(major: int, number: int, *, extra_bytes: int | None = None) -> bytes:
    """Write an initial byte and argument, in `extra_bytes` bytes (0, 1, 2, 4, 8) or the fewest."""
    sizes = {0: 24, 1: 1 << 8, 2: 1 << 16, 4: 1 << 32, 8: 1 << 64}
    size = next(size for size, limit in sizes.items() if number < limit) if extra_bytes is None else extra_bytes
    if size == 0:
        return bytes([major << 5 | number])
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[size]]) + number.to_bytes(size, "big")


def num(value: int, *, extra_bytes: int | None = None) -> bytes:
    """An integer."""
    return head(0 if value >= 0 else 1, value if value >= 0 else -1 - value, extra_bytes=extra_bytes)


def octets(data: bytes, *, extra_bytes: int | None = None) -> bytes:
    """A byte string."""
    return head(2, len(data), extra_bytes=extra_bytes) + data


def text(value: str, *, extra_bytes: int | None = None) -> bytes:
    """A text."""
    return head(3, len(value.encode()), extra_bytes=extra_bytes) + value.encode()


def array(*items: bytes) -> bytes:
    """An array of items already encoded."""
    return head(4, len(items)) + b"".join(items)


def pairs(*entries: tuple[bytes, bytes]) -> bytes:
    """A map of pairs already encoded, in the order given."""
    return head(5, len(entries)) + b"".join(key + value for key, value in entries)


def mapping(entries: Entries, changes: Entries | None = None) -> bytes:
    """A map with integer keys in canonical order, some replaced, added or left out by `changes`."""
    encoded = sorted((num(key), value) for key, value in {**entries, **(changes or {})}.items() if value is not None)
    return pairs(*encoded)


NULL: Final = b"\xf6"
TRUE: Final = b"\xf5"
FALSE: Final = b"\xf4"
HALF_ONE: Final = b"\xf9\x3c\x00"
"""1.0 in half precision."""


def header(signer: Signer, **changes: bytes | None) -> bytes:
    """The plain protected header {1: alg, 4: kid}; `alg` or `kid` replaces one, None leaves it out."""
    plain: dict[str, bytes | None] = {
        "alg": num(int(signer.public_key.algorithm)),
        "kid": octets(signer.public_key.key_id),
        **changes,
    }
    return mapping({1: plain["alg"], 4: plain["kid"]})


def sign1(protected: bytes, payload: bytes, signer: Signer, aad: ExternalAad, *, unprotected: bytes = b"\xa0") -> bytes:
    """A tagged COSE_Sign1 over any bytes."""
    signature = signer.sign(to_be_signed(protected, payload, aad))
    return b"\xd2" + array(octets(protected), unprotected, octets(payload), octets(signature))


def signed(payload: bytes, signer: Signer, aad: ExternalAad) -> bytes:
    """A tagged COSE_Sign1 with the plain header over any payload."""
    return sign1(header(signer), payload, signer, aad)


def cose_key(key: PublicKey) -> bytes:
    """The encoded COSE_Key."""
    return encode(key.to_cose())


# --- cases -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """How an invalid input must be refused."""

    reason: WireReason
    field: str


def accepted(name: str, data: bytes, expect: Json, **context: Json) -> Case:
    """A case that parses to `expect`."""
    return {"name": name, "input": data.hex(), **_context(context), "expect": expect}


def refused(name: str, data: bytes, reason: WireReason, field: str, **context: Json) -> Case:
    """A case that is refused."""
    error: Json = {"reason": reason.value, "field": field}
    return {"name": name, "input": data.hex(), **_context(context), "expect_error": error}


def _context(context: dict[str, Json]) -> Case:
    return {"context": context} if context else {}


def collection(description: str, source: str, vectors: Iterable[Case]) -> dict[str, Json]:
    """One file."""
    found: list[Json] = [*vectors]
    return {"description": description, "source": source, "vectors": found}


def plain(value: object) -> Json:
    """Write a parsed value for JSON: bytes as hex, keys as hex of COSE_Key, enums by their lower-case name."""
    if isinstance(value, PublicKey):
        return cose_key(value).hex()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Flag):
        return [flag.name.lower() for flag in type(value) if flag in value and flag.value and flag.name]
    if isinstance(value, Enum):
        return value.name.lower()
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(type(value).__name__)
