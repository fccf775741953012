"""What a technician asks about, in writing: a code as a reader reads it, or the identifier of a card or barcode.

Invariant: what is asked about goes the way of what is read; nothing here knows whether it would open.
Must not: be logged or journaled: an identifier opens doors.
"""

from typing import Final

from edge.core.credential import Form, Medium, Presentation
from wire.roster import MAX_IDENTIFIER_BYTES

FORMS: Final = {
    "card": Form.CARD_NUMBER,
    "message": Form.CARD_MESSAGE,
    "secret": Form.CARD_SECRET,
    "key": Form.CARD_KEY,
}
"""A card's number, and what its adapter has proven of it; the number is written in hexadecimal digits."""
BARCODE: Final = "barcode"


class QuestionError(Exception):
    """A question that is none; the sentence says what is expected."""


def read_asked(text: str, reader: str, at_ms: int) -> Presentation:
    """Read "DW1:…", "card:04a1b2c3", "message:…", "secret:…", "key:…" or "barcode:123456" as a reader would deliver it.

    Anything else is taken for what a code holds.

    Raises:
        QuestionError: a number that is none.
    """
    word, colon, value = text.partition(":")
    if not colon or word not in FORMS:
        payload = value if colon and word == BARCODE else text
        return Presentation(reader, Medium.QR, payload.encode(), at_ms)
    try:
        number = bytes.fromhex(value.replace(":", ""))
    except ValueError as error:
        raise QuestionError(f"{word}: is followed by hexadecimal digits, such as {word}:04a1b2c3d4e5f6") from error
    if not 1 <= len(number) <= MAX_IDENTIFIER_BYTES:
        raise QuestionError(f"{word}: is followed by 1 to {MAX_IDENTIFIER_BYTES} bytes in hexadecimal digits")
    return Presentation(reader, Medium.NFC, number, at_ms, FORMS[word])
