"""The rotating presentation: a pass, signed anew by its holder every 15 s (docs/spec/presentation.md).

Invariant: the replay key covers what the holder signed, never the signature (ECDSA signatures are malleable).
Must not: inflate anything; this is the path that strangers' bytes take.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, decode, encode
from wire.envelope import HEADER_ALGORITHM, Envelope, algorithm, parse_envelope, seal_with
from wire.errors import WireError, WireReason
from wire.keys import Algorithm, PublicKey, Signer
from wire.names import ExternalAad
from wire.passes import SignedPass, parse_pass, slug
from wire.recognise import recognise

MAX_PRESENTATION_BYTES: Final = 448
"""The longest that this grammar makes is 435 bytes (383 without nonce, which is what a code shows)."""
MAX_AUDIENCE_CHARACTERS: Final = 65
"""Two slugs of 32 and the "/" between them."""
NONCE_BYTES: Final = 16
ROTATION_S: Final = 15
"""How often a wallet signs anew."""

_HEADER_KCWT, _HEADER_TYPE = 13, 16
_TYPE_KB_CWT: Final = 294
"""CoAP content format of a key-binding token in the SD-CWT layout."""
_IAT, _AUD, _CNONCE = 6, 3, 39


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatingPresentation:
    """A presentation as read, no signature checked yet.

    Attributes:
        signed_pass: the pass inside.
        issued_at_s: when the wallet says it signed, Unix seconds.
        audience: a site's slug, or "site/door" when bound to a nonce.
        nonce: 16 bytes from the door over NFC, None for a QR.
        replay_key: SHA-256 over protected header and payload.
    """

    signed_pass: SignedPass
    algorithm: Algorithm
    issued_at_s: int
    audience: str
    nonce: bytes | None
    envelope: Envelope
    replay_key: bytes

    def verify_holder(self, key: PublicKey) -> None:
        """Return when the pass's holder key signed this presentation.

        Raises:
            WireError: ALGORITHM_MISMATCH, KEY_INVALID or SIGNATURE_INVALID.
        """
        if key.algorithm is not self.algorithm:
            raise WireError(WireReason.ALGORITHM_MISMATCH, "presentation.alg")
        self.envelope.verify(key, ExternalAad.PRESENTATION, "presentation")


def parse_presented(data: bytes) -> RotatingPresentation | SignedPass:
    """Parse what a code holds: a rotating presentation, or a pass without holder key (printed).

    Raises:
        WireError: for anything else; WRONG_TYPE for a bare pass that names a holder key (its holder did not sign).
    """
    return _recognise(data) or _parse(data)


def _recognise(data: bytes) -> RotatingPresentation | None:
    """Read the usual case in one step; None says nothing about `data` and leaves it to `_parse`."""
    found = recognise(data)
    if found is None:
        return None
    signed, issued, audience, envelope = found
    return RotatingPresentation(
        signed_pass=signed,
        algorithm=Algorithm.ESP256,
        issued_at_s=issued,
        audience=audience,
        nonce=None,
        envelope=envelope,
        replay_key=_replay_key(envelope),
    )


def _replay_key(envelope: Envelope) -> bytes:
    """Hash what the holder signed; two CBOR items in a row have one reading, so that no separator is needed."""
    return hashlib.sha256(envelope.protected + envelope.payload).digest()


def _parse(data: bytes) -> RotatingPresentation | SignedPass:
    envelope = parse_envelope(data, field="presentation", max_bytes=MAX_PRESENTATION_BYTES)
    header = decode(envelope.protected, field="presentation.protected", max_bytes=MAX_PRESENTATION_BYTES)
    if isinstance(header, dict) and _HEADER_KCWT in header:
        return _parse_rotating(envelope, header)
    signed = parse_pass(data)
    if signed.unverified.holder_key is not None:
        raise WireError(WireReason.WRONG_TYPE, "presentation")
    return signed


def _parse_rotating(envelope: Envelope, header: Value) -> RotatingPresentation:
    fields = Fields(header, "presentation")
    found = algorithm(fields.value(HEADER_ALGORITHM, "alg"), "presentation")
    signed = parse_pass(encode(fields.value(_HEADER_KCWT, "kcwt")))
    if fields.value(_HEADER_TYPE, "typ") != _TYPE_KB_CWT:
        raise WireError(WireReason.UNKNOWN_VALUE, "presentation.typ")
    fields.close()
    if signed.unverified.holder_key is None:
        raise WireError(WireReason.MISSING_FIELD, "pass.cnf")
    payload = Fields(decode(envelope.payload, field="presentation", max_bytes=128), "presentation")
    issued = payload.time(_IAT, "iat")
    audience = payload.text(_AUD, "aud", MAX_AUDIENCE_CHARACTERS)
    nonce = payload.octets(_CNONCE, "cnonce", NONCE_BYTES, NONCE_BYTES) if payload.has(_CNONCE) else None
    payload.close()
    _check_audience(audience, bound=nonce is not None)
    return RotatingPresentation(
        signed_pass=signed,
        algorithm=found,
        issued_at_s=issued,
        audience=audience,
        nonce=nonce,
        envelope=envelope,
        replay_key=_replay_key(envelope),
    )


def _check_audience(audience: str, *, bound: bool) -> None:
    """Refuse what is neither a site's slug nor, when bound to a door's nonce, "site/door"."""
    places = audience.split("/")
    if len(places) != (2 if bound else 1):
        raise WireError(WireReason.UNKNOWN_VALUE, "presentation.aud")
    for place in places:
        slug(place, "presentation.aud")


def seal_presentation(
    pass_bytes: bytes, signer: Signer, *, issued_at_s: int, audience: str, nonce: bytes | None = None
) -> bytes:
    """Sign a presentation of a pass, as a wallet does, and check that it reads back.

    Args:
        pass_bytes: the pass as issued.
        signer: holds the holder key named in the pass.
        issued_at_s: the wallet's clock, Unix seconds.
        audience: the site's slug; "site/door" with a nonce.
        nonce: 16 bytes from the door, over NFC only.

    Raises:
        WireError: when the pass does not parse or names no holder, or another argument breaks the format.
    """
    pass_item = decode(pass_bytes, field="pass", max_bytes=MAX_PRESENTATION_BYTES)
    payload: dict[int | str, Value] = {_IAT: issued_at_s, _AUD: audience}
    if nonce is not None:
        payload[_CNONCE] = nonce
    header: dict[int | str, Value] = {
        HEADER_ALGORITHM: int(signer.public_key.algorithm),
        _HEADER_KCWT: pass_item,
        _HEADER_TYPE: _TYPE_KB_CWT,
    }
    data = seal_with(header, encode(payload, field="presentation"), signer, ExternalAad.PRESENTATION)
    parse_presented(data)
    return data
