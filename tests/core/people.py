"""People with wallets at a reader, and what becomes of their grants."""

from __future__ import annotations

from edge.core.effects import Effect
from edge.core.instant import Instant
from edge.core.tap import (
    State,
    Tap,
    handle,
)
from tests.core.campus import (
    CARD,
    NOW,
    NOW_S,
    READER,
    VERIFIERS,
    code,
    commits,
    durable,
    entry,
    roster,
    tap,
)
from wire.names import (
    PassKind,
    Reason,
    Step,
)
from wire.policy import Passage
from wire.roster import IdentifierForm, PinVerifiers
from wire.settings import DoorSettings

COMPANION_MS = DoorSettings().companion_ms
TWO = DoorSettings(two_person=True)
INTO, OUT_OF = Passage(0, 1), Passage(1, 0)
ALONE = (Step.COMPANIONS, Reason.SECOND_PERSON_REQUIRED)
UNESCORTED = (Step.COMPANIONS, Reason.ESCORT_REQUIRED)
STORAGE = (Step.GRANT, Reason.STORAGE_FAULT)
CLOCK = (Step.CLOCK, Reason.CLOCK_SUSPECT)

OTHER_CARD = b"\x04other"
OTHER = b"person-2"
OTHERS = PinVerifiers(b"S" * 16, b"P" * 16, None)
BARCODE = b"20251009"
PEOPLE = roster(
    {
        (IdentifierForm.CARD_UID, CARD): entry(pin=VERIFIERS),
        (IdentifierForm.BARCODE, BARCODE): entry(pin=VERIFIERS),  # the same person's
        (IdentifierForm.CARD_UID, OTHER_CARD): entry(OTHER, pin=OTHERS),
        (IdentifierForm.CARD_UID, b"no-pin"): entry(b"person-3"),
    }
)


def someone(
    person: int, *, kind: PassKind = PassKind.STANDARD, later_s: int = 0, reader: str = READER, index: int | None = None
) -> Tap:
    """A person's wallet at a reader; the number makes the person."""
    shown_code = code(person=person, index=person if index is None else index, kind=kind, signed_at_s=NOW_S + later_s)
    return tap(shown_code, reader)


def visitor(person: int = 1, *, later_s: int = 0, reader: str = READER) -> Tap:
    return someone(person, kind=PassKind.VISITOR, later_s=later_s, reader=reader)


def host(person: int = 10, *, later_s: int = 0, reader: str = READER) -> Tap:
    return someone(person, kind=PassKind.STAFF, later_s=later_s, reader=reader)


def let_in(state: State, event: Tap, now: Instant = NOW) -> tuple[State, tuple[Effect, ...]]:
    """Tap and carry the grants out; gives what came of the last."""
    state, effects = handle(state, event, now)
    return all_durable(state, effects, now)


def granted(effects: tuple[Effect, ...]) -> list[bytes]:
    """Whose grants are to be committed."""
    return [commit.grant.credential for commit in commits(effects)]


def all_durable(state: State, effects: tuple[Effect, ...], now: Instant = NOW) -> tuple[State, tuple[Effect, ...]]:
    """Tell the core that each grant among effects is in the journal."""
    told: list[Effect] = []
    for seq, commit in enumerate(commits(effects), start=1):
        state, more = durable(state, commit, now, seq=seq)
        told.extend(more)
    return state, tuple(told)
