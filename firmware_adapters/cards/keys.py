"""Which keys a door holds for cards, and a card's own key derived from each (docs/spec/cards.md).

Invariant: a key is never printed, not even in a traceback's representation of its holder.
Must not: read files; `sealed_store.py` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from firmware_adapters.cards.aes import diversify

SYSTEM: Final = b"doorward"
"""The system identifier in the diversification input (NXP AN10922)."""


class CardKey(Enum):
    """What a key is for; the value is its name in the sealed store."""

    SUN_META = "sun-meta"  # decrypts whose message it is: the same in every tag
    SUN_FILE = "sun-file"  # authenticates the message
    NTAG424 = "ntag424"  # mutual authentication with a tag
    DESFIRE = "desfire"  # mutual authentication with a card


_PURPOSES: Final[Mapping[CardKey, int]] = {CardKey.SUN_FILE: 1, CardKey.NTAG424: 2, CardKey.DESFIRE: 3}
"""The byte that keeps two keys of one card apart even when their masters were the same."""


@dataclass(frozen=True, slots=True)
class CardKeys:
    """The keys that a door holds, each 16 bytes; a kind of card whose key is missing is not tried."""

    masters: Mapping[CardKey, bytes] = field(default_factory=dict, repr=False)

    def has(self, *purposes: CardKey) -> bool:
        """Tell whether all of these were provisioned."""
        return self.masters.keys() >= set(purposes)

    def of_card(self, purpose: CardKey, number: bytes) -> bytes:
        """Return a card's own key.

        Args:
            purpose: a key that was provisioned, any but SUN_META, which is not diversified.
            number: the card's UID, 7 bytes.
        """
        return diversify(self.masters[purpose], number + bytes((_PURPOSES[purpose],)) + SYSTEM)
