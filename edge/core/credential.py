"""The first room of a tap: what was read becomes a credential, or is refused by size, form or kind.

Invariant: nothing here has been verified; what is presented only has the right shape.
Must not: check a signature or a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, unique
from typing import Final, TypeAlias

from edge.core.effects import Denied
from wire.errors import WireError, WireReason
from wire.names import Assurance, PassId, Reason, Step
from wire.passes import SignedPass
from wire.presentation import RotatingPresentation, parse_presented
from wire.roster import MAX_IDENTIFIER_BYTES, PEPPER_BYTES, IdentifierForm, Roster, identifier_key
from wire.text import MAX_TEXT_CHARACTERS, PREFIX, from_text


class Medium(Enum):
    """How a presentation was read."""

    QR = "qr"
    NFC = "nfc"
    CAMERA = "camera"


@unique
class Form(IntEnum):
    """What an adapter delivers, and with it what the adapter itself has proven.

    CODE: what a code holds, nothing proven. EXCHANGE: a presentation that answers the nonce given with it.
    CARD_NUMBER: a card's number as it says itself (UID, Wiegand). CARD_MESSAGE: a number in a message of the card with
    a rising counter. CARD_SECRET: a number, after the card has proven to hold its secret. CARD_KEY: the hash of a
    public key, after the card has signed the door's nonce with it.
    """

    CODE = 0
    EXCHANGE = 1
    CARD_NUMBER = 2
    CARD_MESSAGE = 3
    CARD_SECRET = 4
    CARD_KEY = 5


_IDENTIFIERS: Final[Mapping[Form, tuple[IdentifierForm, Assurance]]] = {
    Form.CARD_NUMBER: (IdentifierForm.CARD_UID, Assurance.IDENTIFIER),
    Form.CARD_MESSAGE: (IdentifierForm.CARD_UID, Assurance.DYNAMIC_TAG),
    Form.CARD_SECRET: (IdentifierForm.CARD_UID, Assurance.ROTATING),
    Form.CARD_KEY: (IdentifierForm.PUBLIC_KEY, Assurance.NONCE_BOUND),
}


@dataclass(frozen=True, slots=True)
class Presentation:
    """One thing a reader read at one instant; unverified.

    Args:
        reader: the id of the reader, as configured.
        medium: how it was read.
        payload: the bytes as read, never interpreted by the adapter. A payload longer than the reader's
            `max_payload_bytes` was cut there by the adapter and is refused by size.
        read_at_ms: monotonic clock of this machine, milliseconds.
        form: what the payload is.
        nonce: for EXCHANGE, the 16 bytes that the door gave out for this exchange alone.
        hashed: the payload is an identifier's key in the roster already: recordings keep no identifier.
    """

    reader: str
    medium: Medium
    payload: bytes
    read_at_ms: int
    form: Form = Form.CODE
    nonce: bytes | None = None
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class PinEntry:
    """A PIN that was keyed in at a reader, 1 to 16 ASCII digits; never logged, journaled or recorded."""

    reader: str
    digits: bytes
    read_at_ms: int

    def __repr__(self) -> str:
        """Say where, never what."""
        return f"PinEntry({self.reader!r})"


@dataclass(frozen=True, slots=True)
class PresentedCredential:
    """A signed credential of known shape, nothing verified.

    Attributes:
        signed_pass: the pass inside.
        rotating: the holder's fresh signature around it; None for a printed pass.
        assurance: the level it reaches if everything holds.
        nonce: what the holder was to sign; None unless the door gave one out.
    """

    signed_pass: SignedPass
    rotating: RotatingPresentation | None
    assurance: Assurance
    nonce: bytes | None = None

    @property
    def unverified_pass_id(self) -> PassId:
        """The pass id as read, for the journal of a refusal."""
        return self.signed_pass.unverified.pass_id


@dataclass(frozen=True, slots=True)
class PresentedIdentifier:
    """A number that stands for an enrolled credential.

    Attributes:
        kind: whose numbers these are: the text of a code never passes for the number of a card.
        identifier: 1 to 64 bytes; with `hashed`, the key under which the roster has it.
        assurance: what its adapter has proven.
    """

    kind: IdentifierForm
    identifier: bytes
    assurance: Assurance
    hashed: bool


Presented: TypeAlias = PresentedCredential | PresentedIdentifier

_HIDDEN: Final = b"?"
NO_PEPPER: Final = bytes(PEPPER_BYTES)
"""Hides identifiers at a door without a roster, where none is found anyway."""
_NOT_OURS: Final = frozenset({WireReason.WRONG_PREFIX, WireReason.UNKNOWN_ALGORITHM})
"""Well-formed perhaps, but of a kind this door does not take."""


def read_credential(presentation: Presentation, *, takes_barcodes: bool) -> Presented | Denied:
    """Take what a reader read as a credential (steps 1 and 2).

    Args:
        presentation: as the adapter delivered it.
        takes_barcodes: whether a code of another system may stand for an enrolled credential here.
    """
    payload = presentation.payload
    if presentation.form is Form.EXCHANGE:
        return _read_exchange(payload, presentation.nonce)
    if presentation.form is Form.CODE:
        if takes_barcodes and not payload.startswith(PREFIX):
            return _read_identifier(presentation, IdentifierForm.BARCODE, Assurance.IDENTIFIER)
        return read_code(payload)
    return _read_identifier(presentation, *_IDENTIFIERS[presentation.form])


def hide_identifier(presentation: Presentation, roster: Roster | None, *, takes_barcodes: bool) -> Presentation:
    """Give a presentation from which the same decision follows and that tells no identifier: what may be recorded.

    An identifier becomes its key in the roster; a code of another system, which may hold one, only keeps its length.
    """
    form, payload = presentation.form, presentation.payload
    is_ours = form is Form.EXCHANGE or (form is Form.CODE and payload.startswith(PREFIX))
    if is_ours or presentation.hashed:
        return presentation
    if form is Form.CODE and not takes_barcodes:
        return replace(presentation, payload=_HIDDEN * min(len(payload), MAX_TEXT_CHARACTERS + 1))
    if not 1 <= len(payload) <= MAX_IDENTIFIER_BYTES:
        return replace(presentation, payload=_HIDDEN * min(len(payload), MAX_IDENTIFIER_BYTES + 1))
    kind = IdentifierForm.BARCODE if form is Form.CODE else _IDENTIFIERS[form][0]
    pepper = NO_PEPPER if roster is None else roster.pepper
    return replace(presentation, payload=identifier_key(pepper, kind, payload), hashed=True)


def read_code(payload: bytes) -> PresentedCredential | Denied:
    """Take the text form as a credential (steps 1 and 2)."""
    try:
        found = parse_presented(from_text(payload))
    except WireError as error:
        return _refuse(error)
    if isinstance(found, SignedPass):
        return PresentedCredential(found, None, Assurance.PRINTED)
    level = Assurance.ROTATING if found.nonce is None else Assurance.NONCE_BOUND
    return PresentedCredential(found.signed_pass, found, level)


def _read_exchange(payload: bytes, nonce: bytes | None) -> PresentedCredential | Denied:
    """Read the bare bytes that a phone answers; a pass that signs no nonce is none of these."""
    try:
        found = parse_presented(payload)
    except WireError as error:
        return _refuse(error)
    if isinstance(found, SignedPass) or found.nonce is None:
        return Denied(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL)
    return PresentedCredential(found.signed_pass, found, Assurance.NONCE_BOUND, nonce)


def _read_identifier(
    presentation: Presentation, kind: IdentifierForm, assurance: Assurance
) -> PresentedIdentifier | Denied:
    size = len(presentation.payload)
    if not 1 <= size <= MAX_IDENTIFIER_BYTES:
        return Denied(Step.FORM, Reason.TOO_LARGE if size else Reason.MALFORMED)
    return PresentedIdentifier(kind, presentation.payload, assurance, presentation.hashed)


def _refuse(error: WireError) -> Denied:
    fault = error.reason.value
    if error.reason in _NOT_OURS:
        return Denied(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL, fault=fault)
    too_large = error.reason is WireReason.TOO_LARGE
    return Denied(Step.FORM, Reason.TOO_LARGE if too_large else Reason.MALFORMED, fault=fault)
