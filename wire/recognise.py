"""Recognise the usual rotating presentation in one step, by one regular expression (docs/adr/0004).

Invariant: what is recognised here, the reader in wire/presentation.py accepts with the same result
(tests/wire/test_recognise.py); about anything else this says nothing and leaves it to that reader.
Must not: refuse, or be the only statement of a rule: docs/spec and the readers are.

Usual is what phones show at doors: a P-256 holder, no nonce, no `nbf`, times of 32 bits. Six rounds of decoding
and encoding anew cost half of what the two signatures cost; this costs a tenth.
"""

import re
from typing import Final

from wire.codec import head
from wire.envelope import Envelope
from wire.errors import WireError
from wire.keys import Algorithm, PublicKey
from wire.names import KeyId, PassId, Tenant
from wire.passes import PASS_FLAGS, PASS_KINDS, Pass, SignedPass, check_claims

_BYTES: Final = rb"(?P<%b_head>[\x40-\x57]|\x58.|\x59..)"
_TEXT: Final = rb"(?P<%b_head>[\x60-\x77]|\x78.)(?P<%b>[a-z0-9-]{1,32})"
_TIME: Final = rb"\x1a(?!\x00\x00)(?P<%b>.{4})"
_SCOPE: Final = (
    rb"\x83(?P<kind>[" + bytes(PASS_KINDS) + rb"])(?P<flags>[" + bytes(PASS_FLAGS) + rb"])"
    rb"(?P<level_count>[\x80-\x90])(?P<levels>(?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].){0,16})"
)
_CLAIMS: Final = (
    rb"\xa6\x01" + _TEXT % (b"issuer", b"issuer") + rb"\x04" + _TIME % b"expires" + rb"\x06" + _TIME % b"issued"
    + rb"\x07\x46(?P<pass_id>.{6})\x08\xa1\x01\xa4\x01\x02\x20\x01\x21\x58\x20(?P<x>.{32})\x22(?P<odd>[\xf4\xf5])"
    + rb"\x09" + _BYTES % b"scope" + rb"(?P<scope>" + _SCOPE + rb")"
)  # fmt: skip
_PASS: Final = (
    rb"\xd2\x84\x49(?P<pass_protected>\xa2\x01\x32\x04\x44(?P<key_id>.{4}))\xa0" + _BYTES % b"claims"
    + rb"(?P<claims>" + _CLAIMS + rb")\x58\x40(?P<pass_signature>.{64})"
)  # fmt: skip
_ROTATING: Final = re.compile(
    rb"\xd2\x84" + _BYTES % b"protected" + rb"(?P<protected>\xa3\x01\x28\x0d" + _PASS + rb"\x10\x19\x01\x26)\xa0"
    + _BYTES % b"payload"
    + rb"(?P<payload>\xa2\x03" + _TEXT % (b"audience", b"audience") + rb"\x06" + _TIME % b"presented" + rb")"
    + rb"\x58\x40(?P<signature>.{64})",
    re.DOTALL,
)  # fmt: skip


def match_rotating(data: bytes) -> re.Match[bytes] | None:
    """Match the usual presentation; None for anything else, good or bad."""
    match = _ROTATING.fullmatch(data)
    if match is None:
        return None
    heads = match.group("protected_head", "claims_head", "scope_head", "payload_head", "issuer_head", "audience_head")
    bodies = match.group("protected", "claims", "scope", "payload", "issuer", "audience")
    if heads != tuple(map(head, _MAJORS, map(len, bodies))):
        return None
    return match


_MAJORS: Final = (2, 2, 2, 2, 3, 3)
"""RFC 8949 §3.1: byte strings and texts, in the order of `heads`."""


def pass_from_match(match: re.Match[bytes]) -> SignedPass | None:
    """Read the pass inside a match; None when its claims do not go together."""
    issuer, pass_id, issued, expires = match.group("issuer", "pass_id", "issued", "expires")
    kind, flags, levels = match.group("kind", "flags", "levels")
    claims = Pass(
        issuer=Tenant(issuer.decode("ascii")),
        pass_id=PassId(pass_id),
        issued_at_s=int.from_bytes(issued, "big"),
        not_before_s=None,
        expires_at_s=int.from_bytes(expires, "big"),
        holder_key=PublicKey(Algorithm.ESP256, (b"\x03" if match["odd"] == b"\xf5" else b"\x02") + match["x"]),
        kind=PASS_KINDS[kind[0]],
        flags=PASS_FLAGS[flags[0]],
        access_levels=_levels(levels),
    )
    if match["level_count"][0] != 0x80 | len(claims.access_levels):
        return None
    try:
        check_claims(claims)
    except WireError:
        return None
    envelope = Envelope(match["pass_protected"], match["claims"], match["pass_signature"])
    return SignedPass(unverified=claims, key_id=KeyId(match["key_id"]), algorithm=Algorithm.ED25519, envelope=envelope)


def _levels(data: bytes) -> tuple[int, ...]:
    found: list[int] = []
    place = 0
    while place < len(data):
        size = _SIZES.get(data[place], 0)
        found.append(int.from_bytes(data[place + 1 : place + 1 + size], "big") if size else data[place])
        place += 1 + size
    return tuple(found)


_SIZES: Final = {0x18: 1, 0x19: 2}
"""RFC 8949 §3: how many bytes follow the initial byte."""
