"""Any history of a door with every rule: what it remembers, who passes alone, who tries PINs, what less does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.admission import judge
from edge.core.companions import MAX_WAITING, PinOutcome
from edge.core.door_state import InputLine, LineState
from edge.core.effects import CheckPin, CommitGrant, Denied, Effect, Energise, Feedback, Grant, Journaling, Show
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.policy import PolicyState
from edge.core.tap import (
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    PinChecked,
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TimeDue,
    TrustReplaced,
    handle,
)
from edge.core.trust import TrustState
from tests.core.campus import (
    CARD,
    NOW_S,
    READER,
    VERIFIERS,
    card,
    changed,
    closed,
    code,
    commits,
    entry,
    instant,
    pin,
    policy,
    printed,
    refusals,
    roster,
    status,
    tap,
    trust,
    under,
)
from tests.core.people import INTO, OUT_OF
from wire.names import AntiPassbackRule, Assurance, DoorMode, EventKind, PassKind
from wire.passes import make_pass_id
from wire.policy import ALWAYS, Area, AssuranceHours
from wire.roster import IdentifierForm
from wire.settings import DoorSettings

pytestmark = pytest.mark.slow

# --- a door with every rule, and what may happen to it ---------------------------------------------------------

EVERYTHING = DoorSettings(
    minimum_assurance=Assurance.IDENTIFIER,
    pin_below=Assurance.PRINTED,
    pin_attempts=2,
    pin_block_s=60,
    printed_uses=2,
    anti_passback=AntiPassbackRule.ALERT,
    companion_ms=20_000,
)
PEOPLE = roster({(IdentifierForm.CARD_UID, CARD): entry(pin=VERIFIERS)})
READERS = [READER, "inside", "locker"]
STEP_S = 10
WARNING = 2
_OCCUPANCY = [EventKind.OCCUPANCY_WARNING, EventKind.OCCUPANCY_NORMAL]


@lru_cache
def rules(
    *,
    rule: AntiPassbackRule = AntiPassbackRule.ALERT,
    two: bool = False,
    mode: DoorMode = DoorMode.LOCKED,
    reset: bool = False,
) -> PolicyState:
    made = replace(EVERYTHING, anti_passback=rule, anti_passback_s=30, two_person=two, mode=mode)
    made = replace(made, forget_presence_before_s=NOW_S + STEP_S if reset else 0)
    areas = {1: Area(3, WARNING)}
    return changed(policy(made), passages={READER: INTO, "inside": OUT_OF}, areas=areas)


@lru_cache
def paper(index: int) -> bytes:
    return printed(pass_id=make_pass_id(0, index))


@dataclass
class History:
    """A door that is fed at random, and what came of it."""

    state: State
    now_ms: int = 0
    effects: list[tuple[Effect, ...]] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    questions: list[CheckPin] = field(default_factory=list)

    @property
    def now(self) -> Instant:
        return instant(self.now_ms)

    def feed(self, event: Input) -> tuple[Effect, ...]:
        self.state, effects = handle(self.state, event, self.now)
        self.effects.append(effects)
        self.grants += [effect.grant for effect in effects if isinstance(effect, CommitGrant)]
        self.questions += [effect for effect in effects if isinstance(effect, CheckPin)]
        return effects


def wallet(person: int, kind: PassKind, reader: str, now_ms: int) -> Tap:
    signed_at_s = NOW_S + now_ms // 1000 // STEP_S * STEP_S
    return tap(code(person=person, index=100 * person + kind, kind=kind, signed_at_s=signed_at_s), reader)


OTHERS: list[Input] = [tap(paper(1)), tap(paper(2)), card(), card(reader="inside"), pin()]
DOCUMENTS: list[Input] = [
    TrustReplaced(trust(lists={0: status(101)}), None),
    TrustReplaced(trust(), None),
    RosterReplaced(PEOPLE, None),
    RosterReplaced(roster({}), None),
]

people = st.integers(1, 3)
kinds_of_pass = st.sampled_from(
    [PassKind.STANDARD, PassKind.STANDARD, PassKind.STAFF, PassKind.VISITOR, PassKind.EMERGENCY]
)
readers = st.sampled_from(READERS)
rule_sets = st.builds(
    rules,
    rule=st.sampled_from(AntiPassbackRule),
    two=st.booleans(),
    mode=st.sampled_from([DoorMode.LOCKED, DoorMode.LOCKED, DoorMode.LOCKED_DOWN]),
    reset=st.booleans(),
)


def _next_input(draw: st.DrawFn, history: History) -> Input:
    """Draw what happens next; what answers an effect answers one that there was."""
    happening = draw(st.integers(0, 9))
    if happening <= 2 or (happening == 5 and not history.questions) or (happening in (3, 4) and not history.grants):
        return wallet(draw(people), draw(kinds_of_pass), draw(readers), history.now_ms)
    if happening in (3, 4):
        grant = history.grants.pop(draw(st.integers(0, len(history.grants) - 1)))
        return GrantDurable(grant, 1) if draw(st.integers(0, 3)) else GrantFailed(grant)
    if happening == 5:
        question = history.questions.pop()
        return PinChecked(question.check_id, draw(st.sampled_from(PinOutcome)))
    if happening == 6:
        return draw(st.sampled_from(OTHERS))
    if happening == 7:
        line = draw(st.sampled_from([LineState.ACTIVE, LineState.INACTIVE, LineState.INACTIVE, LineState.FAULT]))
        return LineChanged(InputLine.CONTACT, line)
    if happening == 8:
        return draw(st.one_of(st.just(TimeDue()), rule_sets.map(PolicyReplaced)))
    return draw(st.sampled_from(DOCUMENTS))


@st.composite
def histories(draw: st.DrawFn, *, start: PolicyState | None = None, most: int = 25) -> History:
    """A door after a number of inputs."""
    begin = draw(rule_sets) if start is None else start
    history = History(closed(under(begin, enrolled=PEOPLE)))
    for _ in range(draw(st.integers(0, most))):
        history.now_ms += draw(st.sampled_from([0, 0, 1_000, 4_000, 9_000, 21_000]))
        history.feed(_next_input(draw, history))
    return history


MANY = settings(max_examples=2 * settings().max_examples)


# --- memory, and what is under way -----------------------------------------------------------------------------


@MANY
@given(histories())
def test_what_is_remembered_is_what_the_journal_tells_and_what_waits_is_bounded(history: History):
    state = history.state
    events = [effect for effects in history.effects for effect in effects if isinstance(effect, Journaling)]
    assert Memory().with_memos(memo for event in events for memo in event.memos) == state.memory
    facts = state.memory.facts.items()
    counted = Counter(value[0] for (kind, _), value in facts if kind is MemoKind.PRESENCE)
    assert dict(state.memory.present) == dict(counted)
    assert len(state.companions.waiting) <= MAX_WAITING
    holders = [each.candidate.credential.holder for each in state.companions.waiting]
    assert len(holders) == len(set(holders))
    told = [event.draft.kind for event in events if event.draft.kind in _OCCUPANCY]
    assert told == (_OCCUPANCY * len(told))[: len(told)]
    assert len(told) % 2 == (counted[1] >= WARNING)


@MANY
@given(histories())
def test_once_everything_is_answered_and_over_nobody_waits_and_nothing_is_under_way(history: History):
    for grant in history.grants:
        history.feed(GrantFailed(grant))
    history.now_ms += 60_000
    history.feed(TimeDue())
    state = history.state
    assert (state.awaited, state.passing, state.companions.waiting) == ((), (), ())


# --- nobody alone ----------------------------------------------------------------------------------------------


@MANY
@given(st.data())
def test_a_door_for_two_is_never_released_for_one(data: st.DataObject):
    """Whatever is answered, however late: who is let in is let in with another person, of the same side."""
    history = History(closed(under(rules(two=True), enrolled=PEOPLE)))
    who: dict[int, tuple[bytes, str]] = {}
    for _ in range(data.draw(st.integers(0, 25))):
        history.now_ms += data.draw(st.sampled_from([0, 0, 1_000, 2_001, 9_000]))
        person, reader = data.draw(people), data.draw(st.sampled_from([READER, "inside"]))
        shows = wallet(person, data.draw(st.sampled_from([PassKind.STANDARD, PassKind.STAFF])), reader, history.now_ms)
        answers = bool(history.grants) and data.draw(st.booleans())
        event = _answer(data, history) if answers else shows
        effects = history.feed(event)
        for commit in commits(effects):
            underway = next(each for each in history.state.awaited if each.grant == commit.grant)
            who[commit.grant.grant_id] = underway.holder, commit.grant.reader
        let_in = [each for each in effects if isinstance(each, Show) and each.feedback is Feedback.GRANTED]
        assert len(let_in) in (0, 2)
        assert sum(isinstance(each, Energise) for each in effects) == len(let_in)
        if let_in:
            assert isinstance(event, GrantDurable)
            (one, side), (other, other_side) = (who[grant_id] for grant_id in _pair(event.grant))
            assert one != other
            assert side == other_side


def _answer(data: st.DataObject, history: History) -> Input:
    grant = history.grants.pop(data.draw(st.integers(0, len(history.grants) - 1)))
    return GrantDurable(grant, 1) if data.draw(st.integers(0, 4)) else GrantFailed(grant)


def _pair(grant: Grant) -> tuple[int, int]:
    """The grants of two people are numbered one after the other; only pairs are granted here."""
    return grant.grant_id // 2 * 2, grant.grant_id // 2 * 2 + 1


# --- PINs ------------------------------------------------------------------------------------------------------


@MANY
@given(st.data())
def test_one_attempt_is_one_wrong_pin_in_the_time_of_a_block(data: st.DataObject):
    """However cards, readers, PINs, answers, other people and restarts are mixed."""
    once = changed(rules(), settings=replace(EVERYTHING, pin_attempts=1))
    history = History(closed(under(once, enrolled=PEOPLE)))
    told_ms: list[int] = []
    for _ in range(data.draw(st.integers(0, 30))):
        history.now_ms += data.draw(st.sampled_from([0, 0, 0, 1_000, 30_000]))
        event = data.draw(
            st.sampled_from([card(), card(reader="inside"), pin(), pin(reader="inside"), TimeDue(), None])
        )
        if event is None:
            history.state = replace(under(once, enrolled=PEOPLE), memory=history.state.memory)
            continue
        history.feed(event)
        if bool(history.questions) and data.draw(st.booleans()):
            question = history.questions.pop(data.draw(st.integers(0, len(history.questions) - 1)))
            effects = history.feed(PinChecked(question.check_id, PinOutcome.WRONG))
            told_ms += [history.now_ms] * len(refusals(effects))
    for begin in told_ms:
        within = [at for at in told_ms if begin <= at < begin + EVERYTHING.pin_block_s * 1000]
        assert len(within) <= 1


# --- less never admits more ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """What a door goes by, as plain values that can be reduced."""

    settings: DoorSettings = field(default_factory=lambda: replace(EVERYTHING, printed_uses=0))
    levels: tuple[int, ...] = (1, 2, 3, 7)
    limit: int = 0
    demand: Assurance | None = None
    revoked: frozenset[int] = frozenset()
    enrolled: bool = True

    def policy(self) -> PolicyState:
        made = policy(self.settings, levels=dict.fromkeys(self.levels, (ALWAYS,)))
        demands = () if self.demand is None else (AssuranceHours(ALWAYS, self.demand),)
        passages, areas = {READER: INTO, "inside": OUT_OF}, {1: Area(self.limit, 0)}
        return changed(made, passages=passages, areas=areas, assurance_hours=demands)

    def trust(self) -> TrustState:
        return trust(lists={0: status(*self.revoked)})

    def over(self, state: State) -> State:
        """The same door under these rules."""
        people = PEOPLE if self.enrolled else roster({})
        return replace(state, policy=self.policy(), trust=self.trust(), roster=people)


def _stricter_uses(uses: int) -> st.SearchStrategy[int]:
    return st.integers(1, uses or 3)


_STRICTER = {
    AntiPassbackRule.OFF: list(AntiPassbackRule),
    AntiPassbackRule.ALERT: list(AntiPassbackRule),
    AntiPassbackRule.TIMED: [AntiPassbackRule.TIMED, AntiPassbackRule.ENFORCE],
    AntiPassbackRule.ENFORCE: [AntiPassbackRule.ENFORCE],
}


@st.composite
def reduced(draw: st.DrawFn, rules: Rules) -> Rules:
    """Rules that are stricter in one or two ways."""
    for way in draw(st.lists(st.integers(0, 9), min_size=1, max_size=2)):
        rules = _reduced(draw, way, rules)
    return rules


def _reduced(draw: st.DrawFn, way: int, rules: Rules) -> Rules:
    now = rules.settings
    settings_ = [
        lambda: replace(now, two_person=True),
        lambda: replace(now, escorts=draw(st.integers(now.escorts, 2)) if now.escorts else 0),
        lambda: replace(now, pin_below=draw(st.sampled_from([each for each in Assurance if each >= now.pin_below]))),
        lambda: replace(now, printed_uses=draw(_stricter_uses(now.printed_uses))),
        lambda: replace(now, anti_passback=draw(st.sampled_from(_STRICTER[now.anti_passback]))),
        lambda: replace(now, interlock=True),
        lambda: replace(now, mode=DoorMode.LOCKED_DOWN),
    ]
    if way < len(settings_):
        return replace(rules, settings=settings_[way]())
    if way == 7:
        return replace(rules, limit=draw(st.integers(1, rules.limit or 3)))
    if way == 8:
        return replace(rules, demand=draw(st.sampled_from([each for each in Assurance if each >= (rules.demand or 0)])))
    return replace(rules, revoked=rules.revoked | {101, 203}, enrolled=False)


SHOWN = [*[(person, kind) for person in (1, 2) for kind in (PassKind.STANDARD, PassKind.VISITOR, PassKind.STAFF)]]
starts = st.builds(
    Rules,
    settings=st.builds(
        replace,
        st.just(replace(EVERYTHING, printed_uses=0)),
        two_person=st.booleans(),
        escorts=st.integers(0, 2),
        printed_uses=st.integers(0, 2),
        anti_passback=st.sampled_from(AntiPassbackRule),
        anti_passback_s=st.just(20),
    ),
    limit=st.integers(0, 3),
)


@MANY
@given(st.data(), starts)
def test_revoking_and_reducing_never_turn_what_is_not_granted_into_a_grant(data: st.DataObject, start: Rules):
    """At a door with a past: people inside, people waiting, hosts who were let in, paper that was used."""
    history = data.draw(histories(start=start.policy(), most=12))
    guests = (Memo(MemoKind.PRESENCE, bytes([number]), (1, NOW_S)) for number in range(data.draw(st.integers(0, 3))))
    state = start.over(replace(history.state, memory=history.state.memory.with_memos(guests)))
    person, kind = data.draw(st.sampled_from(SHOWN))
    event = data.draw(
        st.sampled_from([wallet(person, kind, READER, history.now_ms), tap(paper(1)), card(), card(reader="inside")])
    )
    if not commits(handle(state, event, history.now)[1]):
        less = data.draw(reduced(start))
        assert not commits(handle(less.over(state), event, history.now)[1])


@MANY
@given(histories(most=12), people, kinds_of_pass, readers)
def test_asking_gives_what_a_tap_would_and_changes_nothing(history: History, person: int, kind: PassKind, reader: str):
    event = wallet(person, kind, reader, history.now_ms)
    state, _ = handle(history.state, TimeDue(), history.now)
    found = judge(state, event.presentation, history.now)
    assert judge(state, event.presentation, history.now) == found
    after, effects = handle(state, event, history.now)
    if isinstance(found, Denied):
        assert (found.step, found.reason) in refusals(effects) or state.flood.journaled
        assert not commits(effects)
        assert after.memory == state.memory
    else:
        waits = {each.candidate.credential.credential for each in after.companions.waiting}
        granted = {commit.grant.credential for commit in commits(effects)}
        assert found[0].credential in waits | granted or refusals(effects)
