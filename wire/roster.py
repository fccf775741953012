"""The roster: credentials that are enrolled rather than signed, by the hash of their identifier (docs/spec/roster.md).

Invariant: an identifier stands here only as HMAC-SHA-256 under the roster's own pepper, never as read.
Must not: decide; whether a door takes identifiers at all is its policy's to say.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from wire.names import PassFlags, PassKind

ARGON2_OPS: Final = 2
ARGON2_MEM_BYTES: Final = 19 * 1024 * 1024
"""Passes and memory of argon2id, one lane: the least that OWASP recommends, a tenth of a second on a Raspberry Pi. They
belong to the format: another choice is another version of it."""


@dataclass(frozen=True, slots=True)
class PinVerifiers:
    """What checks a PIN without telling it.

    Attributes:
        salt: 16 bytes for both.
        pin: argon2id of the PIN, 16 bytes.
        duress: argon2id of the PIN that also calls for help, 16 bytes; None when there is none.
    """

    salt: bytes
    pin: bytes
    duress: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterEntry:
    """One enrolled credential.

    Attributes:
        roster_id: 8 bytes, the holder's pseudonym in events.
        access_levels: ascending, at most 16.
        pin: None when this holder has none.
    """

    roster_id: bytes
    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    pin: PinVerifiers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Enrolled credentials at one version."""

    version: int
    issued_at_s: int
    pepper: bytes
    entries: dict[bytes, RosterEntry]

    def find(self, key: bytes) -> RosterEntry | None:
        """Give the entry of an identifier's key, None when nobody is enrolled under it."""
        return self.entries.get(key)


def identifier_key(pepper: bytes, form: int, identifier: bytes) -> bytes:
    """Give the key under which a roster has an identifier of a namespace."""
    return hmac.digest(pepper, bytes([form]) + identifier, "sha256")[:16]
