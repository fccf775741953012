"""The one error of what is said between a door and a card.

Invariant: whatever a card answers, the card layer raises this and nothing else. Must not: carry bytes of a card, which
may be a number, a pass or a key.
"""

from enum import Enum


class CardFault(Enum):
    """Why a card did not prove anything; decide on this, never on the text."""

    ABSENT = "absent"  # the card has no such application or file
    UNSUPPORTED = "unsupported"  # the card works in a mode that no door speaks: LRP
    REFUSED = "refused"  # the card answered with another status word than success
    MALFORMED = "malformed"  # the answer has not the form it must have
    TOO_LARGE = "too_large"  # the answer is longer than any right one
    UNPROVEN = "unproven"  # a MAC, a signature or a returned challenge is wrong
    REPLAYED = "replayed"  # the card's counter is not above the last one seen here
    REMOVED = "removed"  # the card left the field in the middle
    DEADLINE = "deadline"  # the card took longer than its attempt may
    STORE = "store"  # the door could not keep the card's counter


class CardError(Exception):
    """A card did not prove what it was asked to.

    Args:
        fault: the class of the fault.
        what: one clause for a technician, without anything that the card said but a status word.
        status: the card's status word, when that is the fault.
    """

    def __init__(self, fault: CardFault, what: str, *, status: int | None = None) -> None:
        """Keep the fault beside the text."""
        super().__init__(what)
        self.fault = fault
        self.status = status
