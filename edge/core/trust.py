"""What a door believes: issuer keys and revocation lists, as a snapshot that is replaced, never changed.

Invariant: a `TrustState` holds only what was verified under the pinned root (edge/materials.py builds it).
Must not: fetch, parse or verify; it only looks up.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from wire.names import KeyId, KeyPurpose, PassId
from wire.passes import Pass, SignedPass, split_pass_id
from wire.status_list import is_set
from wire.trust import TrustBundle, TrustedKey

MEMO_PASSES: Final = 1024
"""Passes whose issuer signature is remembered: a busy campus door's hour; about 1 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStatus:
    """One revocation list as the door holds it; `issued_at_s` is the moment the issuer vouches for.

    `bits` is 1.25 MB for ten million passes; a lookup is one index.
    """

    sequence: int
    issued_at_s: int
    expires_at_s: int
    bits: bytes | bytearray


@dataclass(frozen=True, slots=True)
class Revocation:
    """What a revocation list says of one pass; `age_s` is the list's age then."""

    revoked: bool
    sequence: int
    age_s: int
    expired: bool


class PassMemo:
    """Remember which passes an issuer key was seen to have signed, by their exact signed bytes.

    A remembered answer is the one that checking again would give: bytes, key and signature are all in the key.
    Bounded; the least recently used is forgotten.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, bytes, bytes, bytes], Pass] = OrderedDict()

    def verified(self, signed: SignedPass, key: TrustedKey) -> Pass:
        """Give the verified claims, from memory or by checking the signature.

        Raises:
            WireError: the key did not sign this pass.
        """
        envelope = signed.envelope
        place = (key.key.point, envelope.protected, envelope.payload, envelope.signature)
        known = self._known.get(place)
        if known is not None:
            self._known.move_to_end(place)
            return known
        claims = signed.verify_issuer(key.key)
        self._known[place] = claims
        if len(self._known) > MEMO_PASSES:
            self._known.popitem(last=False)
        return claims


@dataclass(frozen=True, slots=True)
class TrustState:
    """Keys and revocation lists at one version."""

    bundle: TrustBundle
    statuses: Mapping[int, HeldStatus]
    memo: PassMemo = field(default_factory=PassMemo, compare=False)

    def issuer_key(self, key_id: KeyId) -> TrustedKey | None:
        """Give the key that signs passes under this id, None when the door knows none."""
        return self.bundle.find(key_id, KeyPurpose.PASS)

    def revocation(self, pass_id: PassId, now_s: int) -> Revocation | None:
        """Look a pass up; None when its list is not held."""
        list_id, index = split_pass_id(pass_id)
        held = self.statuses.get(list_id)
        if held is None:
            return None
        age = max(0, now_s - held.issued_at_s)
        return Revocation(is_set(held.bits, index), held.sequence, age, now_s >= held.expires_at_s)
