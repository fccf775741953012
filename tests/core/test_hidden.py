"""What may be recorded of a presentation: the same decision follows from it, and it tells no identifier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.admission import judge, takes_barcodes
from edge.core.credential import Form, Medium, Presentation, hide_identifier
from edge.core.tap import State
from tests.core.campus import CARD, NOW, READER, code, door, entry, issue, printed, roster
from tests.core.people import BARCODE
from wire.names import Assurance
from wire.roster import MAX_IDENTIFIER_BYTES, IdentifierForm
from wire.settings import DoorSettings
from wire.text import MAX_TEXT_CHARACTERS

PEOPLE = roster({(IdentifierForm.CARD_UID, CARD): entry(), (IdentifierForm.BARCODE, BARCODE): entry()})
BY_NUMBER = DoorSettings(minimum_assurance=Assurance.IDENTIFIER)


def shown(payload: bytes, form: Form = Form.CODE) -> Presentation:
    return Presentation(READER, Medium.NFC, payload, NOW.monotonic_ms, form)


def hidden(state: State, presentation: Presentation) -> Presentation:
    return hide_identifier(presentation, state.roster, takes_barcodes=takes_barcodes(state))


IDENTIFIERS = [
    shown(CARD, Form.CARD_NUMBER),
    shown(CARD, Form.CARD_SECRET),
    shown(b"\x04unknown", Form.CARD_NUMBER),
    shown(b"", Form.CARD_NUMBER),
    shown(b"\x04" * 64, Form.CARD_MESSAGE),
    shown(b"\x04" * 65, Form.CARD_MESSAGE),
    shown(BARCODE),
    shown(b"https://example.org/somebody"),
    shown(b"9" * MAX_TEXT_CHARACTERS),
    shown(b"9" * (MAX_TEXT_CHARACTERS + 1)),
    shown(b"9" * 5_000),
]


@pytest.mark.parametrize("presentation", IDENTIFIERS)
@pytest.mark.parametrize("settings", [DoorSettings(), BY_NUMBER])
@pytest.mark.parametrize("enrolled", [True, False])
def test_the_same_decision_follows_from_what_is_recorded(
    presentation: Presentation, settings: DoorSettings, *, enrolled: bool
):
    state = replace(door(settings), roster=PEOPLE if enrolled else None)
    kept = hidden(state, presentation)
    assert judge(state, kept, NOW) == judge(state, presentation, NOW)
    assert not presentation.payload or kept.payload != presentation.payload
    assert hidden(state, kept).payload == kept.payload
    assert len(kept.payload) <= MAX_TEXT_CHARACTERS + 1


@pytest.mark.parametrize(
    ("length", "kept", "hashed"),
    [
        (0, 0, False),
        (1, 16, True),
        (MAX_IDENTIFIER_BYTES, 16, True),
        (MAX_IDENTIFIER_BYTES + 1, MAX_IDENTIFIER_BYTES + 1, False),
        (5_000, MAX_IDENTIFIER_BYTES + 1, False),
    ],
)
def test_what_can_be_an_identifier_is_kept_as_its_key_and_anything_else_as_its_length(
    length: int, kept: int, *, hashed: bool
):
    found = hidden(door(), shown(b"\x04" * length, Form.CARD_NUMBER))
    assert (len(found.payload), found.hashed) == (kept, hashed)


@pytest.mark.parametrize("presentation", [shown(code()), shown(printed()), shown(issue(), Form.EXCHANGE)])
def test_what_is_signed_is_recorded_as_it_is(presentation: Presentation):
    assert hidden(door(), presentation) is presentation
