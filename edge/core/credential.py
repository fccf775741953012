"""The first room of a tap: what was read becomes a credential, or is refused by size, form or kind.

Invariant: nothing here has been verified; a `PresentedCredential` only has the right shape.
Must not: check a signature or a clock.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from edge.core.effects import Denied
from wire.errors import WireError, WireReason
from wire.names import Assurance, PassId, Reason, Step
from wire.passes import SignedPass
from wire.presentation import RotatingPresentation, parse_presented
from wire.text import from_text


class Medium(Enum):
    """How a presentation was read."""

    QR = "qr"
    NFC = "nfc"
    CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class Presentation:
    """One thing a reader read at one instant; unverified.

    Args:
        reader: the id of the reader, as configured.
        medium: how it was read.
        payload: the bytes as read, never interpreted by the adapter. A payload longer than the reader's
            `max_payload_bytes` was cut there by the adapter and is refused by size.
        read_at_ms: monotonic clock of this machine, milliseconds.
    """

    reader: str
    medium: Medium
    payload: bytes
    read_at_ms: int


@dataclass(frozen=True, slots=True)
class PresentedCredential:
    """A credential of known shape, nothing verified.

    Attributes:
        signed_pass: the pass inside.
        rotating: the holder's fresh signature around it; None for a printed pass.
        assurance: the level it reaches if everything holds.
    """

    signed_pass: SignedPass
    rotating: RotatingPresentation | None
    assurance: Assurance

    @property
    def unverified_pass_id(self) -> PassId:
        """The pass id as read, for the journal of a refusal."""
        return self.signed_pass.unverified.pass_id


Reading: TypeAlias = PresentedCredential | Denied

_NOT_OURS: Final = frozenset({WireReason.WRONG_PREFIX, WireReason.UNKNOWN_ALGORITHM})
"""Well-formed perhaps, but of a kind this door does not take."""


def read_credential(payload: bytes) -> Reading:
    """Take what a reader read as a credential (steps 1 and 2).

    Args:
        payload: the text form, as read from a code.
    """
    try:
        found = parse_presented(from_text(payload))
    except WireError as error:
        return _refuse(error)
    if isinstance(found, SignedPass):
        return PresentedCredential(found, None, Assurance.PRINTED)
    level = Assurance.ROTATING if found.nonce is None else Assurance.NONCE_BOUND
    return PresentedCredential(found.signed_pass, found, level)


def _refuse(error: WireError) -> Denied:
    fault = error.reason.value
    if error.reason in _NOT_OURS:
        return Denied(Step.KIND, Reason.UNSUPPORTED_CREDENTIAL, fault=fault)
    too_large = error.reason is WireReason.TOO_LARGE
    return Denied(Step.FORM, Reason.TOO_LARGE if too_large else Reason.MALFORMED, fault=fault)
