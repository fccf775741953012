"""Step 13, who is where: the four rules of anti-passback, what is remembered of a passage, and when it is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.credential import Form
from edge.core.effects import Effect, Feedback, Record, Show
from edge.core.memory import Memo, MemoKind
from edge.core.policy import PolicyState
from edge.core.tap import PolicyReplaced, State, handle
from tests.core.campus import (
    KEYS,
    LEVEL,
    NOW,
    NOW_S,
    PERSON,
    READER,
    card,
    changed,
    code,
    commits,
    drafts,
    entry,
    holder,
    instant,
    issue,
    kinds,
    pass_id,
    passed,
    policy,
    present,
    printed,
    refusals,
    roster,
    shown,
    tap,
    under,
)
from tests.core.people import INTO, OUT_OF, someone
from wire.names import AntiPassbackRule, Assurance, EventKind, PassKind, Reason, Step
from wire.policy import OUTSIDE, Passage
from wire.roster import IdentifierForm
from wire.settings import DoorSettings

VIOLATION = (Step.ANTI_PASSBACK, Reason.ANTIPASSBACK_VIOLATION)
HALL, VAULT = 1, 2
PASSAGES = {
    READER: INTO,
    "inside": OUT_OF,
    "vault": Passage(HALL, VAULT),
    "vault-exit": Passage(VAULT, HALL),
}
REFUSING = [AntiPassbackRule.ENFORCE, AntiPassbackRule.TIMED]
ENFORCE, TIMED = AntiPassbackRule.ENFORCE, AntiPassbackRule.TIMED


def rules(rule: AntiPassbackRule, *, version: int = 17, **changes: object) -> PolicyState:
    settings = DoorSettings(anti_passback=rule, anti_passback_s=60)
    made = policy(replace(settings, **changes), version=version)  # type: ignore[arg-type]
    return changed(made, passages=PASSAGES)


def area_of(state: State, key: bytes) -> int | None:
    """Where somebody is, as far as the door knows."""
    fact = state.memory.get(MemoKind.PRESENCE, key)
    return None if fact is None else fact[0]


def enters(state: State, *, later_s: int = 0, reader: str = READER, kind: PassKind = PassKind.STANDARD) -> State:
    """Person 1 passes at a reader."""
    return passed(state, someone(1, kind=kind, later_s=later_s, reader=reader), instant(later_s * 1000))


def tries(
    state: State, *, later_s: int, reader: str = READER, kind: PassKind = PassKind.STANDARD
) -> tuple[Effect, ...]:
    """Person 1 shows a new code at a reader; gives what comes of it."""
    return handle(state, someone(1, kind=kind, later_s=later_s, reader=reader), instant(later_s * 1000))[1]


# --- what is remembered ----------------------------------------------------------------------------------------


def test_a_passage_is_noted_in_the_transaction_of_its_grant():
    state, effects = handle(under(rules(ENFORCE)), someone(1), NOW)
    assert commits(effects)[0].memos == (Memo(MemoKind.PRESENCE, holder(1), (HALL, NOW_S)),)
    assert area_of(state, holder(1)) == HALL
    assert dict(state.memory.present) == {HALL: 1}


@pytest.mark.parametrize("rule", list(AntiPassbackRule))
def test_whoever_goes_outside_is_forgotten_unless_time_counts(rule: AntiPassbackRule):
    state = enters(enters(under(rules(rule))), later_s=100, reader="inside")
    assert area_of(state, holder(1)) == (OUTSIDE if rule is TIMED else None)
    assert state.memory.present.get(HALL, 0) == 0


def test_a_reader_that_leads_nowhere_notes_nobody():
    state, effects = handle(under(rules(ENFORCE)), someone(1, reader="locker"), NOW)
    assert commits(effects)[0].memos == ()
    assert area_of(state, holder(1)) is None


def test_every_pass_of_one_phone_is_one_person():
    state = enters(under(rules(ENFORCE)))
    renewed = someone(1, index=77, later_s=5)
    assert refusals(handle(state, renewed, instant(5_000))[1]) == [VIOLATION]


def test_two_phones_are_two_people():
    state = enters(under(rules(ENFORCE)))
    assert commits(handle(state, someone(2), NOW)[1])


def test_a_printed_pass_stands_for_itself():
    state = under(rules(ENFORCE, minimum_assurance=Assurance.PRINTED))
    state = passed(state, tap(printed()))
    assert area_of(state, pass_id()) == HALL
    assert refusals(handle(state, tap(printed()), NOW)[1]) == [VIOLATION]
    assert commits(handle(state, tap(printed(pass_id=pass_id(43))), NOW)[1])


def test_every_identifier_of_an_enrolled_person_is_that_person():
    people = roster({(IdentifierForm.CARD_UID, b"\x04card"): entry(), (IdentifierForm.BARCODE, b"20251009"): entry()})
    state = under(rules(ENFORCE, minimum_assurance=Assurance.IDENTIFIER), enrolled=people)
    state = passed(state, card(b"\x04card"))
    assert area_of(state, PERSON) == HALL
    assert refusals(handle(state, tap(b"20251009"), NOW)[1]) == [VIOLATION]
    assert refusals(handle(state, card(b"\x04card", form=Form.CARD_SECRET), NOW)[1]) == [VIOLATION]


def test_a_refused_person_is_noted_nowhere():
    state, effects = handle(under(changed(rules(ENFORCE), levels={LEVEL: ()})), someone(1), NOW)
    assert refusals(effects)
    assert area_of(state, holder(1)) is None


# --- the four rules --------------------------------------------------------------------------------------------


def test_off_lets_everybody_in_again():
    state = enters(under(rules(AntiPassbackRule.OFF)))
    assert kinds(tries(state, later_s=1)) == [EventKind.ACCESS_GRANTED]


def test_alert_lets_in_again_and_tells():
    state = enters(under(rules(AntiPassbackRule.ALERT)))
    effects = tries(state, later_s=1)
    assert kinds(effects) == [EventKind.ACCESS_GRANTED, EventKind.ANTI_PASSBACK_ALERT]
    alert = drafts(effects)[1]
    assert (alert.credential, alert.reader, alert.rule, alert.at) == (pass_id(1), READER, "level-7", instant(1_000))
    assert (alert.granted, alert.policy_version) == (None, 17)


def test_a_reader_without_a_passage_tells_of_no_violation():
    state = enters(under(rules(AntiPassbackRule.ALERT)))
    assert kinds(tries(state, later_s=1, reader="side")) == [EventKind.ACCESS_GRANTED]


@pytest.mark.parametrize("rule", [AntiPassbackRule.ALERT, ENFORCE])
def test_whoever_comes_the_right_way_is_no_violation(rule: AntiPassbackRule):
    state = under(rules(rule))
    for turn, reader in enumerate([READER, "vault", "vault-exit", "inside", READER]):
        assert kinds(tries(state, later_s=turn, reader=reader)) == [EventKind.ACCESS_GRANTED]
        state = enters(state, later_s=turn, reader=reader)


@pytest.mark.parametrize("reader", [READER, "vault-exit"])
def test_enforce_refuses_whoever_cannot_be_coming_from_there(reader: str):
    effects = tries(enters(under(rules(ENFORCE))), later_s=1, reader=reader)
    assert refusals(effects) == [VIOLATION]
    assert shown(effects) == [Show(reader, Feedback.DENIED_NOT_NOW)]


@pytest.mark.parametrize("reader", [READER, "vault", "vault-exit", "inside"])
def test_whoever_was_never_noted_may_be_anywhere(reader: str):
    assert commits(tries(under(rules(ENFORCE)), later_s=0, reader=reader))


def test_enforce_has_no_end():
    assert refusals(tries(enters(under(rules(ENFORCE))), later_s=80_000)) == [VIOLATION]


@pytest.mark.parametrize(("later_s", "refused"), [(0, True), (59, True), (60, False)])
def test_timed_refuses_entering_the_same_area_again_for_a_while(later_s: int, *, refused: bool):
    state = enters(under(rules(TIMED)))
    effects = handle(state, someone(1, later_s=later_s, index=9), instant(later_s * 1000))[1]
    assert refusals(effects) == ([VIOLATION] if refused else [])


@pytest.mark.parametrize("reader", ["inside", "vault"])
def test_timed_lets_everybody_out_and_further(reader: str):
    assert commits(tries(enters(under(rules(TIMED))), later_s=1, reader=reader))


def test_timed_refuses_leaving_twice_in_a_row():
    state = enters(enters(under(rules(TIMED))), later_s=1, reader="inside")
    assert refusals(tries(state, later_s=2, reader="inside")) == [VIOLATION]
    assert commits(tries(state, later_s=2))


def test_a_clock_that_was_ahead_locks_nobody_out():
    """Noted in the future, by a clock that was set right since."""
    state, effects = handle(under(rules(TIMED)), someone(1, later_s=80_000), instant(wall_ms=(NOW_S + 80_000) * 1000))
    assert commits(effects)
    assert commits(tries(state, later_s=1))


@pytest.mark.parametrize("rule", list(AntiPassbackRule))
def test_an_emergency_pass_is_never_refused_and_always_noted(rule: AntiPassbackRule):
    state = enters(under(rules(rule)), kind=PassKind.EMERGENCY)
    assert area_of(state, holder(1)) == HALL
    assert commits(tries(state, later_s=1, kind=PassKind.EMERGENCY))


@pytest.mark.parametrize("kind", [kind for kind in PassKind if kind not in (PassKind.EMERGENCY, PassKind.VISITOR)])
def test_every_other_kind_is_refused(kind: PassKind):
    state = enters(under(rules(ENFORCE)), kind=kind)
    assert refusals(tries(state, later_s=1, kind=kind)) == [VIOLATION]


def test_the_rule_of_a_new_policy_holds_for_whoever_is_inside():
    state = enters(under(rules(AntiPassbackRule.OFF)))
    state, _ = handle(state, PolicyReplaced(rules(ENFORCE, version=18)), NOW)
    assert refusals(tries(state, later_s=1)) == [VIOLATION]


# --- forgetting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before_s", "forgotten"), [(NOW_S, False), (NOW_S + 1, True)])
@pytest.mark.parametrize("rule", REFUSING)
def test_who_was_noted_before_a_reset_may_be_anywhere(rule: AntiPassbackRule, before_s: int, *, forgotten: bool):
    state = enters(under(rules(rule)))
    newer = rules(rule, version=18, forget_presence_before_s=before_s)
    state, effects = handle(state, PolicyReplaced(newer), NOW)
    resets = [effect for effect in effects if isinstance(effect, Record) and effect.memos]
    assert [effect.draft.kind for effect in resets] == ([EventKind.PRESENCE_RESET] if forgotten else [])
    assert area_of(state, holder(1)) == (None if forgotten else HALL)
    assert bool(refusals(tries(state, later_s=1))) is not forgotten


def test_a_reset_counts_whom_it_forgot_and_touches_nothing_else():
    state = under(rules(ENFORCE, minimum_assurance=Assurance.PRINTED, printed_uses=9))
    for person in (1, 2):
        state = passed(state, someone(person))
    state = passed(state, tap(printed()))
    uses = state.memory.get(MemoKind.USES, pass_id())
    newer = rules(ENFORCE, version=18, forget_presence_before_s=NOW_S + 1)
    state, effects = handle(state, PolicyReplaced(newer), NOW)
    assert [draft.count for draft in drafts(effects) if draft.kind is EventKind.PRESENCE_RESET] == [3]
    assert dict(state.memory.facts) == {(MemoKind.USES, pass_id()): uses}
    assert uses == (1, NOW_S)
    assert dict(state.memory.present) == {}


def test_a_fact_from_before_the_reset_counts_for_nothing_even_where_it_is_remembered():
    """A daemon that starts recalls facts before it loads its policy."""
    state = enters(under(rules(ENFORCE)))
    state = replace(state, policy=rules(ENFORCE, forget_presence_before_s=NOW_S + 1))
    assert commits(tries(state, later_s=1))


def test_presence_outlives_a_restart():
    memory = enters(under(rules(ENFORCE))).memory
    assert refusals(tries(replace(under(rules(ENFORCE)), memory=memory), later_s=1)) == [VIOLATION]


def test_the_holder_is_the_key_of_the_phone_however_its_pass_names_it():
    """An Ed25519 key is a holder like any; eight bytes of its hash stand for it."""
    token = issue(holder_key=KEYS.holder_ed.public_key)
    state = passed(under(rules(ENFORCE)), tap(present(token, signer=KEYS.holder_ed)))
    ((kind, key),) = state.memory.facts
    assert (kind, len(key)) == (MemoKind.PRESENCE, 8)
    assert refusals(handle(state, tap(present(token, signer=KEYS.holder_ed, signed_at_s=NOW_S + 1)), NOW)[1]) == [
        VIOLATION
    ]


def test_a_code_is_noted_for_its_own_holder_only():
    state = passed(under(rules(ENFORCE)), tap(code()))
    assert [key for _, key in state.memory.facts] == [holder()]


def test_readers_of_no_passage_are_open_to_whoever_is_inside():
    state = enters(under(rules(ENFORCE)))
    assert commits(tries(state, later_s=1, reader="locker"))
