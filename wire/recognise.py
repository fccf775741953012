"""Recognise the usual rotating presentation in one step, by one regular expression (docs/adr/0004).

Invariant: what is recognised here, the reader in wire/presentation.py accepts with the same result
(tests/wire/test_recognise.py); about anything else this says nothing and leaves it to that reader.
Must not: refuse, or be the only statement of a rule: docs/spec and the readers are.

Usual is what phones show at doors: a P-256 holder, no nonce, no `nbf`, times of 32 bits. Six rounds of decoding
and encoding anew cost half of what the two signatures cost; this costs a tenth.
"""

import re
from typing import Final, TypeAlias

from wire.codec import head
from wire.envelope import Envelope
from wire.errors import WireError
from wire.keys import Algorithm, PublicKey
from wire.names import KeyId, PassId, Tenant
from wire.passes import PASS_FLAGS, PASS_KINDS, Pass, SignedPass, check_claims

Recognised: TypeAlias = tuple[SignedPass, int, str, Envelope]
"""The pass, when and for which audience it was presented, and the envelope around it; nothing verified."""

_BYTES_HEAD: Final = rb"([\x40-\x57]|\x58.|\x59..)"
_SLUG: Final = rb"([\x60-\x77]|\x78.)([a-z0-9-]{1,32})"
_TIME: Final = rb"\x1a(?!\x00\x00)(.{4})"
_LEVELS: Final = rb"([\x80-\x90])((?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].){0,16})"
_SCOPE: Final = rb"(\x83([" + bytes(PASS_KINDS) + rb"])([" + bytes(PASS_FLAGS) + rb"])" + _LEVELS + rb")"
_HOLDER: Final = rb"\xa1\x01\xa4\x01\x02\x20\x01\x21\x58\x20(.{32})\x22([\xf4\xf5])"
_CLAIMS: Final = (
    rb"(\xa6\x01" + _SLUG + rb"\x04" + _TIME + rb"\x06" + _TIME + rb"\x07\x46(.{6})\x08" + _HOLDER
    + rb"\x09" + _BYTES_HEAD + _SCOPE + rb")"
)  # fmt: skip
_PASS: Final = rb"\xd2\x84\x49(\xa2\x01\x32\x04\x44(.{4}))\xa0" + _BYTES_HEAD + _CLAIMS + rb"\x58\x40(.{64})"
_PROTECTED: Final = rb"(\xa3\x01\x28\x0d" + _PASS + rb"\x10\x19\x01\x26)"
_PAYLOAD: Final = rb"(\xa2\x03" + _SLUG + rb"\x06" + _TIME + rb")"
_USUAL: Final = re.compile(
    rb"\xd2\x84" + _BYTES_HEAD + _PROTECTED + rb"\xa0" + _BYTES_HEAD + _PAYLOAD + rb"\x58\x40(.{64})", re.DOTALL
)
"""Lengths and counts are captured and compared below; times, order and the rest are matched exactly."""

_LONGEST: Final = 448
"""Nothing that matches has this many bytes."""
_BYTES: Final = tuple(head(2, length) for length in range(_LONGEST))
_TEXTS: Final = tuple(head(3, length) for length in range(_LONGEST))
_ARRAYS: Final = tuple(head(4, length) for length in range(17))


def recognise(data: bytes) -> Recognised | None:
    """Read the usual presentation; None for anything else, good or bad."""
    match = _USUAL.fullmatch(data)
    if match is None:
        return None
    (
        protected_head, protected, pass_protected, key_id, claims_head, claims, issuer_head, issuer, expires, issued,
        pass_id, x, odd, scope_head, scope, kind, flags, levels_head, levels, pass_signature,
        payload_head, payload, audience_head, audience, presented, signature,
    ) = match.groups()  # fmt: skip
    access_levels = _levels(levels)
    heads = (protected_head, claims_head, issuer_head, scope_head, levels_head, payload_head, audience_head)
    if heads != (
        _BYTES[len(protected)], _BYTES[len(claims)], _TEXTS[len(issuer)], _BYTES[len(scope)],
        _ARRAYS[len(access_levels)], _BYTES[len(payload)], _TEXTS[len(audience)],
    ):  # fmt: skip
        return None
    claimed = Pass(
        issuer=Tenant(issuer.decode()),
        pass_id=PassId(pass_id),
        issued_at_s=int.from_bytes(issued, "big"),
        not_before_s=None,
        expires_at_s=int.from_bytes(expires, "big"),
        holder_key=PublicKey(Algorithm.ESP256, (b"\x03" if odd == b"\xf5" else b"\x02") + x),
        kind=PASS_KINDS[kind[0]],
        flags=PASS_FLAGS[flags[0]],
        access_levels=access_levels,
    )
    try:
        check_claims(claimed)
    except WireError:
        return None
    inner = Envelope(pass_protected, claims, pass_signature)
    signed = SignedPass(unverified=claimed, key_id=KeyId(key_id), algorithm=Algorithm.ED25519, envelope=inner)
    return signed, int.from_bytes(presented, "big"), audience.decode(), Envelope(protected, payload, signature)


def _levels(data: bytes) -> tuple[int, ...]:
    found: list[int] = []
    place = 0
    while place < len(data):
        first = data[place]
        if first < _ONE_BYTE_FOLLOWS:
            found.append(first)
            place += 1
        elif first == _ONE_BYTE_FOLLOWS:
            found.append(data[place + 1])
            place += 2
        else:
            found.append(data[place + 1] << 8 | data[place + 2])
            place += 3
    return tuple(found)


_ONE_BYTE_FOLLOWS: Final = 0x18
"""RFC 8949 §3; below it the number is in the initial byte, and 0x19 says that two bytes follow."""
