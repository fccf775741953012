"""NATS's own form of Ed25519 keys and of signed tokens, as far as the call-out needs it.

A key is base32 over its kind, its 32 bytes and a CRC-16, without padding; a token is a JWT whose algorithm is
"ed25519-nkey" (github.com/nats-io/nkeys, github.com/nats-io/jwt, version 2).

Invariant: every parser raises NkeyError on any input whatsoever, and looks at no token beyond `MAX_TOKEN_BYTES`.
Must not: hold keys of doors or passes; these sign who may use the broker, nothing else.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

MAX_TOKEN_BYTES: Final = 64 * 1024
"""Four certificates of 4 kB, written twice in base64, and a password as long as MQTT has them do not fill it."""
_SEED: Final = 18 << 3
_KEY_BYTES: Final = 32
_CRC_BYTES: Final = 2
_SEED_CHARACTERS: Final = 58
_PUBLIC_CHARACTERS: Final = 56
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}


class NkeyError(ValueError):
    """This is no key, or no token, of the kind that is wanted."""


@unique
class Kind(Enum):
    """Whose key it is; the value is the kind's byte."""

    ACCOUNT = 0
    SERVER = 13 << 3
    USER = 20 << 3


@dataclass(frozen=True, slots=True)
class Nkey:
    """A private key."""

    kind: Kind
    key: SigningKey

    @property
    def public(self) -> str:
        """The public key, as NATS's configuration names it."""
        return encode_public(self.kind, bytes(self.key.verify_key))

    @property
    def seed(self) -> str:
        """The private key in text, for a file that nobody else may read."""
        head = bytes((_SEED | self.kind.value >> 5, (self.kind.value & 0x1F) << 3))
        return _encode(head + bytes(self.key))

    def sign(self, data: bytes) -> bytes:
        """Sign; 64 bytes."""
        return self.key.sign(data).signature


def parse_seed(text: str, kind: Kind) -> Nkey:
    """Read what `Nkey.seed` gave.

    Raises:
        NkeyError: it is none of this kind.
    """
    data = _decode(text, _SEED_CHARACTERS)
    found = Nkey(kind, SigningKey(data[2:]))
    if found.seed != text:
        raise NkeyError("not the seed of such a key")
    return found


def encode_public(kind: Kind, key: bytes) -> str:
    """Write a public key of 32 bytes."""
    return _encode(bytes((kind.value,)) + key)


def parse_public(text: str, kind: Kind) -> bytes:
    """Read a public key; 32 bytes.

    Raises:
        NkeyError: it is none of this kind.
    """
    data = _decode(text, _PUBLIC_CHARACTERS)
    if data[0] != kind.value:
        raise NkeyError("a key of another kind")
    return data[1:]


def sign_token(claims: dict[str, object], signer: Nkey) -> str:
    """Write a token; `iss` and `jti` are filled in."""
    named = {**claims, "iss": signer.public}
    named["jti"] = _token_id(named)
    text = f"{_part(_HEADER)}.{_part(named)}"
    return f"{text}.{_url64(signer.sign(text.encode()))}"


def open_token(token: bytes, kind: Kind) -> dict[str, object]:
    """Read a token that is signed by the key of this kind that it names as its issuer; trust is another question.

    Raises:
        NkeyError: it is no such token.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise NkeyError("a token that is too long")
    parts = token.split(b".")
    if len(parts) != 3:  # noqa: PLR2004 - head, claims, signature
        raise NkeyError("no token")
    claims = _claims(parts[1])
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise NkeyError("a token without an issuer")
    try:
        VerifyKey(parse_public(issuer, kind)).verify(parts[0] + b"." + parts[1], _unurl64(parts[2]))
    except (BadSignatureError, ValueError, TypeError) as error:
        raise NkeyError("a token that its issuer has not signed") from error
    return claims


def _claims(part: bytes) -> dict[str, object]:
    try:
        claims = json.loads(_unurl64(part))
    except (ValueError, RecursionError) as error:
        raise NkeyError("a token without claims") from error
    if not isinstance(claims, dict):
        raise NkeyError("a token whose claims are no object")
    return claims


def _token_id(claims: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest()


def _part(value: object) -> str:
    return _url64(json.dumps(value, separators=(",", ":")).encode())


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unurl64(data: bytes) -> bytes:
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise NkeyError("a token that is not base64") from error


def _encode(data: bytes) -> str:
    crc = binascii.crc_hqx(data, 0).to_bytes(_CRC_BYTES, "little")
    return base64.b32encode(data + crc).rstrip(b"=").decode()


def _decode(text: str, characters: int) -> bytes:
    """Give kind and key of a text, whose CRC is right."""
    if len(text) != characters:
        raise NkeyError("a key of another length")
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError as error:
        raise NkeyError("a key that is not base32") from error
    if _encode(data[:-_CRC_BYTES]) != text:
        raise NkeyError("a key with a slip of the pen")
    return data[:-_CRC_BYTES]
