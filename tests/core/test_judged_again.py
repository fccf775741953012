"""Whoever waited for companions is judged again, by all that may have changed meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.admission import decide_again
from edge.core.companions import PinOutcome
from edge.core.credential import Form
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.tap import (
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TrustReplaced,
    handle,
)
from tests.core.campus import (
    CARD,
    DOOR,
    KEYS,
    LEVEL,
    NOW,
    NOW_S,
    READER,
    SITE,
    VERIFIERS,
    answered,
    bundle,
    card,
    changed,
    door,
    drafts,
    entry,
    exchanged,
    feed,
    instant,
    issue,
    pass_id,
    passed,
    policy,
    present,
    printed,
    refusals,
    roster,
    shown,
    status,
    tap,
    trust,
    trusted,
    under,
)
from tests.core.denials import NONCE
from tests.core.people import (
    ALONE,
    CLOCK,
    INTO,
    TWO,
    all_durable,
    granted,
    host,
    someone,
    visitor,
)
from wire.names import (
    Assurance,
    ClockState,
    KeyPurpose,
    PassFlags,
    PassKind,
    Reason,
    StalenessRule,
    Step,
    SuspectRule,
)
from wire.policy import Area
from wire.roster import IdentifierForm, Roster
from wire.settings import DoorSettings

# --- whoever waited is judged again ----------------------------------------------------------------------------


STALE = (Step.REVOCATION, Reason.REVOCATION_STALE)


def judged_again(
    change: TrustReplaced | PolicyReplaced | None,
    *,
    now: Instant = NOW,
    start: State | None = None,
    shows: Tap | None = None,
) -> list[tuple[Step | None, Reason | None]]:
    """A visitor waits, a host is granted; then something changes, and the host's grant is carried out.

    Gives how the visitor was refused; nothing for a grant.
    """
    state, _ = handle(door() if start is None else start, visitor() if shows is None else shows, NOW)
    state, effects = handle(state, host(), NOW)
    if change is not None:
        state, _ = handle(state, change, now)
    state, effects = all_durable(state, effects, now)
    assert bool(granted(effects)) is not bool(refusals(effects))
    return refusals(effects)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (TrustReplaced(trust(lists={0: status(2)}), None), []),
        (TrustReplaced(trust(lists={0: status(1)}), None), [(Step.REVOCATION, Reason.REVOKED)]),
        (TrustReplaced(trust(lists={}), None), [(Step.REVOCATION, Reason.REVOCATION_STALE)]),
        (
            TrustReplaced(trust(lists={0: status(issued_at_s=NOW_S - 86_401)}), None),
            [(Step.REVOCATION, Reason.REVOCATION_STALE)],
        ),
        (
            TrustReplaced(trust(bundle(trusted(KEYS.stranger, KeyPurpose.PASS))), None),
            [(Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY)],
        ),
        (
            TrustReplaced(trust(bundle(trusted(KEYS.issuer, KeyPurpose.PASS, ends_s=NOW_S))), None),
            [(Step.ISSUER_KEY, Reason.ISSUER_KEY_NOT_VALID)],
        ),
        (PolicyReplaced(policy(version=18)), []),
        (
            PolicyReplaced(policy(DoorSettings(minimum_assurance=Assurance.NONCE_BOUND), version=18)),
            [(Step.ASSURANCE, Reason.ASSURANCE_TOO_LOW)],
        ),
        (PolicyReplaced(policy(levels={}, version=18)), [(Step.ACCESS, Reason.UNAUTHORIZED)]),
    ],
)
def test_whoever_waited_is_judged_by_what_holds_when_the_host_comes(
    change: TrustReplaced | PolicyReplaced, refused: list[tuple[Step, Reason]]
):
    assert judged_again(change) == refused


@pytest.mark.parametrize(("ends_s", "refused"), [(2, []), (1, [(Step.VALIDITY, Reason.CREDENTIAL_EXPIRED)])])
def test_a_pass_that_ended_while_its_holder_waited_is_refused(ends_s: int, refused: list[tuple[Step, Reason]]):
    payload = present(issue(kind=PassKind.VISITOR, pass_id=pass_id(1), expires_at_s=NOW_S + ends_s))
    assert judged_again(None, now=instant(1_000), shows=tap(payload)) == refused


@pytest.mark.parametrize(("clock", "refused"), [(ClockState.HOLDOVER, []), (ClockState.SUSPECT, [CLOCK])])
def test_whoever_waited_while_the_time_was_lost_is_refused(clock: ClockState, refused: list[tuple[Step, Reason]]):
    rules = policy(DoorSettings(suspect=SuspectRule.IGNORE_SCHEDULES))
    assert judged_again(None, now=instant(clock=clock), start=under(rules)) == refused


def test_what_answers_the_doors_own_nonce_is_judged_again_without_the_time():
    bound = present(issue(kind=PassKind.VISITOR, pass_id=pass_id(1)), audience=f"{SITE}/{DOOR}", nonce=NONCE)
    rules = policy(DoorSettings(suspect=SuspectRule.IGNORE_SCHEDULES))
    suspect = instant(clock=ClockState.SUSPECT)
    assert judged_again(None, now=suspect, start=under(rules), shows=exchanged(bound, nonce=NONCE)) == []


def test_who_is_where_is_looked_at_again_too():
    rules = changed(policy(), passages={READER: INTO}, areas={1: Area(1, 0)})
    assert judged_again(None, start=under(rules)) == [(Step.ANTI_PASSBACK, Reason.OCCUPANCY_LIMIT)]
    assert judged_again(None, start=under(changed(rules, areas={1: Area(2, 0)}))) == []


def test_the_uses_of_a_printed_pass_are_looked_at_again():
    settings = DoorSettings(minimum_assurance=Assurance.PRINTED, printed_uses=1)
    paper = tap(printed(kind=PassKind.VISITOR, pass_id=pass_id(1)))
    used = passed(door(replace(settings, escorts=0)), paper)
    state, _ = handle(replace(used, policy=policy(replace(settings, printed_uses=2))), paper, NOW)
    state, effects = handle(state, host(), NOW)
    state, _ = handle(state, PolicyReplaced(policy(settings, version=18)), NOW)
    _, effects = all_durable(state, effects)
    assert refusals(effects) == [(Step.REPLAY, Reason.USES_EXHAUSTED)]


def test_nobody_who_waited_passes_without_trust_or_rules():
    state, _ = handle(door(TWO), someone(1), NOW)
    (waiting,) = state.companions.waiting
    for without, reason in (
        (replace(state, trust=None), Reason.NO_TRUST),
        (replace(state, policy=None), Reason.NO_POLICY),
    ):
        found = decide_again(without, waiting.candidate, NOW)
        assert isinstance(found, Denied)
        assert found.reason is reason


@pytest.mark.parametrize(("issued_ago_s", "refused"), [(3600, []), (3599, [STALE])])
def test_a_list_that_grew_old_meanwhile_follows_the_doors_rule(issued_ago_s: int, refused: list[tuple[Step, Reason]]):
    """The visitor's pass was issued an hour ago."""
    settings = DoorSettings(staleness=StalenessRule.RECENTLY_ISSUED, recently_issued_s=issued_ago_s)
    old = TrustReplaced(trust(lists={0: status(issued_at_s=NOW_S - 86_401)}), None)
    assert judged_again(old, start=under(policy(settings))) == refused


@pytest.mark.parametrize(("rule", "refused"), [(StalenessRule.NONCE_BOUND_ONLY, []), (StalenessRule.DENY, [STALE])])
def test_an_answer_to_the_doors_nonce_is_bound_also_later(rule: StalenessRule, refused: list[tuple[Step, Reason]]):
    bound = present(issue(kind=PassKind.VISITOR, pass_id=pass_id(1)), audience=f"{SITE}/{DOOR}", nonce=NONCE)
    old = TrustReplaced(trust(lists={0: status(issued_at_s=NOW_S - 86_401)}), None)
    start = under(policy(DoorSettings(staleness=rule)))
    assert judged_again(old, start=start, shows=exchanged(bound, nonce=NONCE)) == refused


def test_the_refusal_of_somebody_who_waited_names_them_at_their_reader():
    state, _ = handle(door(TWO), someone(1), NOW)
    (waiting,) = state.companions.waiting
    revoked = replace(state, trust=trust(lists={0: status(1)}))
    found = decide_again(revoked, waiting.candidate, NOW)
    assert found == Denied(Step.REVOCATION, Reason.REVOKED, pass_id(1), Assurance.ROTATING)
    _, effects = handle(revoked, someone(2), instant(7))
    told = [(draft.credential, draft.reader, draft.at) for draft in drafts(effects)]
    assert told == [(pass_id(1), READER, instant(7)), (pass_id(2), READER, instant(7))]
    assert {show.reader for show in shown(effects)} == {READER}


def test_a_visitor_who_is_refused_waits_no_more():
    state, _ = handle(door(), visitor(), NOW)
    state, effects = handle(state, host(), NOW)
    state, _ = handle(state, TrustReplaced(trust(lists={0: status(1)}), None), NOW)
    state, effects = all_durable(state, effects)
    assert [(draft.credential, draft.reader) for draft in drafts(effects)] == [(pass_id(1), READER)]
    assert state.companions.waiting == ()


def test_whoever_waits_since_before_a_pin_was_asked_for_passes_without_none():
    with_pin = policy(replace(TWO, pin_below=Assurance.NONCE_BOUND), version=18)
    state, _ = feed(door(TWO), someone(1), PolicyReplaced(with_pin))
    settings = replace(with_pin.bundle.settings, minimum_assurance=Assurance.IDENTIFIER)
    people = roster({(IdentifierForm.CARD_UID, CARD): entry(pin=VERIFIERS)})
    state, _ = handle(replace(state, roster=people), PolicyReplaced(policy(settings, version=19)), NOW)
    state, _ = handle(state, card(), NOW)
    state, effects = answered(state, PinOutcome.RIGHT)
    assert granted(effects) == []
    assert len(state.companions.waiting) == 2


def test_a_visitor_since_before_a_pin_was_asked_for_waits_on():
    state, _ = handle(door(), visitor(1), NOW)
    state, effects = handle(state, host(), NOW)
    state, _ = handle(state, PolicyReplaced(policy(DoorSettings(pin_below=Assurance.NONCE_BOUND), version=18)), NOW)
    state, effects = all_durable(state, effects)
    assert (granted(effects), len(state.companions.waiting)) == ([], 1)


def test_of_two_the_first_may_have_become_somebody_who_may_not_pass():
    state, _ = handle(door(TWO), someone(1), NOW)
    state, _ = handle(state, TrustReplaced(trust(lists={0: status(1)}), None), NOW)
    state, effects = handle(state, someone(2), NOW)
    assert granted(effects) == []
    assert refusals(effects) == [(Step.REVOCATION, Reason.REVOKED), ALONE]
    assert state.companions.waiting == ()


# --- enrolled people who wait ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Form.CARD_SECRET, Form.CARD_KEY])
@pytest.mark.parametrize("rule", list(StalenessRule))
def test_a_roster_that_grew_old_meanwhile_follows_the_doors_rule(rule: StalenessRule, form: Form):
    """A card that answered a nonce is bound; no card was issued recently."""
    space = IdentifierForm.CARD_UID if form is Form.CARD_SECRET else IdentifierForm.PUBLIC_KEY
    people = roster({(space, CARD): entry()})
    settings = replace(TWO, staleness=rule, recently_issued_s=90 * 86_400)
    state, _ = handle(under(policy(settings), enrolled=people), card(form=form), NOW)
    state, _ = handle(state, RosterReplaced(replace(people, issued_at_s=NOW_S - 86_401), None), NOW)
    _, effects = handle(state, someone(2), NOW)
    bound = rule is StalenessRule.NONCE_BOUND_ONLY and form is Form.CARD_KEY
    assert refusals(effects) == ([] if bound else [STALE, ALONE])


@pytest.mark.parametrize(
    ("newer", "refused"),
    [
        (roster(version=6), []),
        (roster({}), [Reason.CREDENTIAL_NOT_FOUND]),
        (
            roster({(IdentifierForm.CARD_UID, CARD): entry(b"person-2", kind=PassKind.VISITOR)}),
            [Reason.CREDENTIAL_NOT_FOUND],
        ),
        (roster({(IdentifierForm.CARD_UID, CARD): entry(levels=(LEVEL, 8))}), [Reason.CREDENTIAL_NOT_FOUND]),
        (roster({(IdentifierForm.CARD_UID, CARD): entry(kind=PassKind.STAFF)}), [Reason.CREDENTIAL_NOT_FOUND]),
        (
            roster({(IdentifierForm.CARD_UID, CARD): entry(flags=PassFlags.EXTENDED_RELEASE)}),
            [Reason.CREDENTIAL_NOT_FOUND],
        ),
        (roster({(IdentifierForm.CARD_UID, CARD): entry(pin=VERIFIERS)}), [Reason.CREDENTIAL_NOT_FOUND]),
        (roster(issued_at_s=NOW_S - 86_401), [Reason.REVOCATION_STALE]),
    ],
)
def test_an_enrolled_person_who_waited_is_judged_by_the_roster_in_force(newer: Roster, refused: list[Reason]):
    settings = replace(TWO, minimum_assurance=Assurance.IDENTIFIER)
    state, _ = handle(under(policy(settings), enrolled=roster()), card(), NOW)
    state, _ = handle(state, RosterReplaced(newer, None), NOW)
    state, effects = handle(state, someone(2), NOW)
    assert [reason for step, reason in refusals(effects) if step is Step.REVOCATION] == refused
    assert bool(granted(effects)) is not bool(refused)


def test_an_enrolled_person_who_waited_does_not_pass_without_a_roster():
    settings = replace(TWO, minimum_assurance=Assurance.IDENTIFIER)
    state, _ = handle(under(policy(settings), enrolled=roster()), card(), NOW)
    _, effects = handle(replace(state, roster=None), someone(2), NOW)
    assert refusals(effects) == [(Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND), ALONE]
