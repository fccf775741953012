"""Enrolled credentials: whose numbers they are, what their adapter proved, and how old a roster may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.credential import (
    Form,
    Medium,
    Presentation,
    PresentedIdentifier,
    read_credential,
)
from edge.core.effects import Denied, Energise, Feedback, Show
from edge.core.policy import Granted
from edge.core.tap import RosterReplaced, State, Tap, handle, judge
from edge.core.trust import Revocation
from edge.core.verify import VerifiedCredential
from tests.core.campus import (
    CARD,
    DAY_S,
    LEVEL,
    MONOTONIC_MS,
    NOW,
    NOW_S,
    PEPPER,
    PERSON,
    READER,
    card,
    code,
    commits,
    drafts,
    durable,
    entry,
    feed,
    instant,
    policy,
    refusals,
    roster,
    shown,
    tap,
    under,
)
from wire.names import Assurance, ClockState, PassFlags, PassKind, Reason, StalenessRule, Step, SuspectRule
from wire.roster import MAX_IDENTIFIER_BYTES, IdentifierForm, Roster, identifier_key
from wire.settings import DoorSettings
from wire.text import PREFIX

ANY = DoorSettings(minimum_assurance=Assurance.IDENTIFIER)
NOT_FOUND = (Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND)
STALE = (Step.REVOCATION, Reason.REVOCATION_STALE)
NUMBER = b"1234567"
LEVELS = {
    Form.CARD_NUMBER: Assurance.IDENTIFIER,
    Form.CARD_MESSAGE: Assurance.DYNAMIC_TAG,
    Form.CARD_SECRET: Assurance.ROTATING,
    Form.CARD_KEY: Assurance.NONCE_BOUND,
}
SPACES = {
    Form.CODE: IdentifierForm.BARCODE,
    Form.CARD_NUMBER: IdentifierForm.CARD_UID,
    Form.CARD_MESSAGE: IdentifierForm.CARD_UID,
    Form.CARD_SECRET: IdentifierForm.CARD_UID,
    Form.CARD_KEY: IdentifierForm.PUBLIC_KEY,
}


def enrolled(space: IdentifierForm = IdentifierForm.CARD_UID, identifier: bytes = NUMBER) -> Roster:
    return roster({(space, identifier): entry()})


def read(form: Form, payload: bytes = NUMBER, *, hashed: bool = False) -> Presentation:
    return Presentation(READER, Medium.NFC, payload, MONOTONIC_MS, form, hashed=hashed)


def at_door(held: Roster | None, settings: DoorSettings = ANY) -> State:
    return under(policy(settings), enrolled=held)


def judged(state: State, presentation: Presentation) -> VerifiedCredential | tuple[Step, Reason]:
    found = judge(state, presentation, NOW)
    return (found.step, found.reason) if isinstance(found, Denied) else found[0]


# --- whose numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", list(IdentifierForm))
@pytest.mark.parametrize("form", list(SPACES))
def test_a_number_is_found_only_among_the_numbers_of_its_kind(form: Form, space: IdentifierForm):
    found = judged(at_door(enrolled(space)), read(form))
    assert isinstance(found, VerifiedCredential) if SPACES[form] is space else found == NOT_FOUND


@pytest.mark.parametrize("other", [b"1234568", b"123456", b"12345678", b"1234567 ", b"\x00" + NUMBER])
def test_another_number_is_not_found(other: bytes):
    assert judged(at_door(enrolled()), read(Form.CARD_NUMBER, other)) == NOT_FOUND


def test_a_door_without_roster_finds_nobody():
    assert judged(at_door(None), read(Form.CARD_NUMBER)) == NOT_FOUND
    _, effects = handle(at_door(None), Tap(read(Form.CARD_NUMBER)), NOW)
    (draft,) = drafts(effects)
    assert (draft.credential, draft.assurance, draft.status_sequence) == (None, Assurance.IDENTIFIER, None)
    assert shown(effects) == [Show(READER, Feedback.DENIED_NOT_HERE)]


@pytest.mark.parametrize("form", list(SPACES))
def test_a_recording_that_holds_only_the_key_gives_the_same_decision(form: Form):
    state = at_door(enrolled(SPACES[form]))
    key = identifier_key(PEPPER, SPACES[form], NUMBER)
    assert judge(state, read(form, key, hashed=True), NOW) == judge(state, read(form), NOW)
    assert judged(state, read(form, key)) == NOT_FOUND  # a key that is presented as a number is one


def test_a_number_that_is_said_to_be_a_key_is_none():
    assert judged(at_door(enrolled()), read(Form.CARD_NUMBER, NUMBER, hashed=True)) == NOT_FOUND


def test_what_is_enrolled_is_what_is_decided_by():
    people = roster({(IdentifierForm.CARD_UID, NUMBER): entry(kind=PassKind.STAFF, flags=PassFlags.EXTENDED_RELEASE)})
    found = judge(at_door(people), read(Form.CARD_NUMBER), NOW)
    assert not isinstance(found, Denied)
    verified, granted = found
    assert (verified.credential, verified.holder, verified.kind) == (PERSON, PERSON, PassKind.STAFF)
    assert (verified.replay_key, verified.expires_at_s, verified.pin) == (None, None, None)
    assert verified.revocation == Revocation(revoked=False, sequence=5, age_s=60, expired=False)
    assert granted == Granted(f"level-{LEVEL}", 15_000)


def test_a_card_opens_the_door_and_again():
    state = at_door(roster())
    for seq in (1, 2):
        state, effects = handle(state, card(), NOW)
        (commit,) = commits(effects)
        assert (commit.mark, commit.grant.assurance) == (None, Assurance.IDENTIFIER)
        assert (commit.draft.status_sequence, commit.draft.status_age_s) == (5, 60)
        state, effects = durable(state, commit, seq=seq)
        assert Energise(5_000, seq) in effects


@pytest.mark.parametrize("levels", [(), (LEVEL + 1,)])
def test_an_enrolled_person_without_the_doors_level_is_refused(levels: tuple[int, ...]):
    people = roster({(IdentifierForm.CARD_UID, NUMBER): entry(levels=levels)})
    assert judged(at_door(people), read(Form.CARD_NUMBER)) == (Step.ACCESS, Reason.UNAUTHORIZED)


# --- what was proven -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minimum", list(Assurance))
@pytest.mark.parametrize("form", list(LEVELS))
def test_a_card_reaches_what_its_adapter_proved(form: Form, minimum: Assurance):
    state = at_door(enrolled(SPACES[form]), DoorSettings(minimum_assurance=minimum))
    found = judged(state, read(form))
    if LEVELS[form] >= minimum:
        assert isinstance(found, VerifiedCredential)
        assert found.assurance is LEVELS[form]
    else:
        assert found == (Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)


@pytest.mark.parametrize("minimum", list(Assurance))
def test_codes_of_other_systems_are_taken_only_where_anything_is(minimum: Assurance):
    state = at_door(enrolled(IdentifierForm.BARCODE), DoorSettings(minimum_assurance=minimum))
    found = judged(state, tap(NUMBER).presentation)
    taken = minimum is Assurance.IDENTIFIER
    assert isinstance(found, VerifiedCredential) if taken else found == (Step.KIND, Reason.UNSUPPORTED_CREDENTIAL)


def test_a_code_of_ours_is_never_a_barcode():
    damaged = code()[:-3]
    assert damaged.startswith(PREFIX)
    state = at_door(
        roster({(IdentifierForm.BARCODE, damaged[:64]): entry(), (IdentifierForm.BARCODE, PREFIX): entry()})
    )
    assert judged(state, tap(damaged).presentation)[0] is Step.FORM  # type: ignore[index]
    assert judged(state, tap(PREFIX).presentation)[0] is Step.FORM  # type: ignore[index]
    assert isinstance(judged(state, tap(code()).presentation), VerifiedCredential)


@pytest.mark.parametrize("form", list(SPACES))
@pytest.mark.parametrize(
    ("size", "reason"),
    [(0, Reason.MALFORMED), (1, None), (MAX_IDENTIFIER_BYTES, None), (MAX_IDENTIFIER_BYTES + 1, Reason.TOO_LARGE)],
)
def test_an_identifier_has_its_size(form: Form, size: int, reason: Reason | None):
    payload = b"7" * size
    found = read_credential(read(form, payload), takes_barcodes=True)
    if reason is None:
        level = LEVELS.get(form, Assurance.IDENTIFIER)
        assert found == PresentedIdentifier(SPACES[form], payload, level, hashed=False)
    else:
        assert found == Denied(Step.FORM, reason)


# --- the roster's age ------------------------------------------------------------------------------------------


def aged(age_s: int) -> Roster:
    return roster(issued_at_s=NOW_S - age_s)


@pytest.mark.parametrize(("age_s", "fresh"), [(DAY_S, True), (DAY_S + 1, False), (-500, True)])
def test_a_roster_is_fresh_up_to_the_doors_limit(age_s: int, *, fresh: bool):
    _, effects = handle(at_door(aged(age_s)), card(), NOW)
    assert refusals(effects) == ([] if fresh else [STALE])
    assert {draft.assurance for draft in drafts(effects)} == {Assurance.IDENTIFIER}
    (draft,) = drafts(effects)
    assert (draft.credential, draft.status_sequence, draft.status_age_s) == (PERSON, 5, max(0, age_s))


@pytest.mark.parametrize("form", [Form.CARD_NUMBER, Form.CARD_MESSAGE, Form.CARD_SECRET, Form.CARD_KEY])
@pytest.mark.parametrize("rule", list(StalenessRule))
def test_a_stale_roster_follows_the_doors_rule(rule: StalenessRule, form: Form):
    """Nothing enrolled was issued recently; only what proved its key against a nonce is bound."""
    people = replace(enrolled(SPACES[form]), issued_at_s=NOW_S - 2 * DAY_S)
    settings = replace(ANY, staleness=rule, recently_issued_s=90 * DAY_S)
    found = judged(at_door(people, settings), read(form))
    bound = rule is StalenessRule.NONCE_BOUND_ONLY and form is Form.CARD_KEY
    assert isinstance(found, VerifiedCredential) if bound else found == STALE


def test_whoever_is_not_enrolled_any_more_is_not_found():
    _, effects = feed(at_door(roster()), RosterReplaced(roster({}, version=6), None), card())
    assert refusals(effects) == [NOT_FOUND]


@pytest.mark.parametrize(
    ("rule", "refused"),
    [(SuspectRule.DENY, [(Step.ACCESS, Reason.CLOCK_SUSPECT)]), (SuspectRule.ALWAYS_LEVELS_ONLY, [])],
)
def test_a_card_does_not_depend_on_the_time_but_its_schedule_does(
    rule: SuspectRule, refused: list[tuple[Step, Reason]]
):
    state = at_door(roster(), replace(ANY, suspect=rule))
    _, effects = handle(state, card(), instant(clock=ClockState.SUSPECT))
    assert refusals(effects) == refused


def test_a_card_at_a_door_without_rules_is_refused_as_any():
    _, effects = handle(replace(at_door(roster()), policy=None), card(CARD, form=Form.CARD_SECRET), NOW)
    assert refusals(effects) == [(Step.ACCESS, Reason.NO_POLICY)]
