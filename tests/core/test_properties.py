"""What holds for any bytes and any rules: nothing raises, the same gives the same, and less never admits more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.effects import Denied
from edge.core.policy import PolicyState
from edge.core.tap import State, handle, judge
from edge.core.trust import PassMemo, TrustState
from tests.core.campus import (
    DAY_S,
    KEYS,
    NOW_MS,
    NOW_S,
    bundle,
    code,
    commits,
    door,
    drafts,
    instant,
    policy,
    presented,
    printed,
    status,
    tap,
    trust,
    trusted,
)
from wire.names import Assurance, ClockState, DoorMode, KeyPurpose, PassKind, StalenessRule, SuspectRule
from wire.passes import make_pass_id
from wire.policy import ALL_DAYS, ALWAYS, Schedule, Window
from wire.settings import DoorSettings
from wire.text import PREFIX, to_text

if TYPE_CHECKING:
    from edge.core.instant import Instant

CODES = [
    code(),
    code(index=43),
    code(kind=PassKind.EMERGENCY),
    code(signed_at_s=NOW_S - 40),
    printed(access_levels=(1, 2, 3)),
    printed(kind=PassKind.EMERGENCY, access_levels=(3,), pass_id=make_pass_id(0, 43)),
    printed(access_levels=(7,), issued_at_s=NOW_S - 5 * DAY_S),
]
ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

instants = st.builds(
    instant,
    st.integers(-200_000, 200_000),
    wall_ms=st.one_of(st.none(), st.integers(NOW_MS - 9 * DAY_S * 1000, NOW_MS + 9 * DAY_S * 1000)),
    clock=st.sampled_from(ClockState),
    uncertainty_ms=st.sampled_from([0, 700, 60_000, 10**9]),
)
payloads = st.one_of(
    st.binary(max_size=700),
    st.binary(max_size=448).map(to_text),
    st.lists(st.sampled_from(ALPHABET), max_size=650).map(lambda codes: PREFIX + bytes(codes)),
    st.sampled_from(CODES),
)


# --- any bytes -------------------------------------------------------------------------------------------------


@given(payloads, instants)
def test_any_bytes_give_a_decision_and_never_an_error(payload: bytes, now: Instant):
    _, effects = handle(door(), tap(payload), now)
    decided = [draft for draft in drafts(effects) if draft.granted is not None]
    assert len(decided) == 1
    assert not commits(effects) or payload in CODES


@given(st.lists(st.tuples(payloads, instants), max_size=8))
def test_the_same_inputs_give_the_same_outcome(history: list[tuple[bytes, Instant]]):
    def run(state: State) -> list[object]:
        seen: list[object] = []
        for payload, now in history:
            state, effects = handle(state, tap(payload), now)
            seen += [state, effects]
        return seen

    assert run(door()) == run(door())


@given(st.sampled_from(CODES), instants, st.permutations(CODES))
def test_what_was_seen_before_decides_nothing(payload: bytes, now: Instant, seen: list[bytes]):
    """A memory of issuer signatures that is empty, and one that holds them all."""
    start = door()
    assert start.trust is not None
    warm = PassMemo()
    for each in seen:
        judge(replace(start, trust=replace(start.trust, memo=warm)), presented(each), now)
    warmed = replace(start, trust=replace(start.trust, memo=warm))
    assert handle(start, tap(payload), now) == handle(warmed, tap(payload), now)


@given(st.sampled_from(CODES), instants)
def test_asking_changes_nothing(payload: bytes, now: Instant):
    state = door()
    before = judge(state, presented(payload), now)
    assert judge(state, presented(payload), now) == before
    _, effects = handle(replace(state, clock=now.clock), tap(payload), now)
    assert bool(commits(effects)) is not isinstance(before, Denied)


# --- less never admits more ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """What a door goes by, as plain values that can be reduced."""

    settings: DoorSettings = field(default_factory=lambda: DoorSettings(minimum_assurance=Assurance.PRINTED))
    levels: dict[int, tuple[int, ...]] = field(default_factory=lambda: dict.fromkeys((1, 2, 3, 7), (ALWAYS,)))
    windows: tuple[Window, ...] = ()
    revoked: frozenset[int] = frozenset()
    status_age_s: int = 60
    issuer_known: bool = True
    list_held: bool = True

    def state(self) -> State:
        signer = KEYS.issuer if self.issuer_known else KEYS.stranger
        lists = {0: status(*self.revoked, issued_at_s=NOW_S - self.status_age_s)} if self.list_held else {}
        held: TrustState = trust(bundle(trusted(signer, KeyPurpose.PASS)), lists=lists)
        rules: PolicyState = policy(self.settings, levels=self.levels, schedules={1: Schedule(self.windows)})
        return replace(door(), trust=held, policy=rules)


Change: TypeAlias = Callable[[st.DrawFn, Rules], Rules]


def _with(rules: Rules, **changes: object) -> Rules:
    return replace(rules, settings=replace(rules.settings, **changes))  # type: ignore[arg-type]


_AGES = st.sampled_from([0, 3600, 5 * DAY_S, 90 * DAY_S])
_WINDOWS = st.lists(
    st.sampled_from([Window(ALL_DAYS, 480, 600), Window(1 << 3, 0, 1440), Window(ALL_DAYS, 0, 1)]), unique=True
).map(tuple)

# A door that admits, with a few rules drawn at random: each rule then decides often enough to be tested by it.
_RULES: list[Change] = [
    lambda draw, rules: _with(rules, mode=draw(st.sampled_from(DoorMode))),
    lambda draw, rules: _with(rules, minimum_assurance=draw(st.sampled_from(Assurance))),
    lambda draw, rules: _with(rules, suspect=draw(st.sampled_from(SuspectRule))),
    lambda draw, rules: replace(
        _with(rules, staleness=draw(st.sampled_from(StalenessRule)), recently_issued_s=draw(_AGES)),
        status_age_s=draw(st.sampled_from([60, DAY_S, DAY_S + 1, 2 * DAY_S])),
    ),
    lambda draw, rules: replace(
        rules, levels=dict.fromkeys(draw(st.sets(st.sampled_from([1, 2, 3, 7]))), (1,)), windows=draw(_WINDOWS)
    ),
    lambda draw, rules: replace(rules, revoked=draw(st.frozensets(st.sampled_from([41, 42, 43])))),
]
_STRICTER = {
    DoorMode.LOCKED: [DoorMode.LOCKED_DOWN, DoorMode.BLOCKED],
    DoorMode.UNLOCKED: [DoorMode.LOCKED, DoorMode.LOCKED_DOWN, DoorMode.BLOCKED],
    DoorMode.LOCKED_DOWN: [DoorMode.BLOCKED],
    DoorMode.BLOCKED: [DoorMode.BLOCKED],
}
_REDUCTIONS: list[Change] = [
    lambda draw, rules: _with(rules, mode=draw(st.sampled_from(_STRICTER[rules.settings.mode]))),
    lambda draw, rules: _with(
        rules,
        minimum_assurance=draw(
            st.sampled_from([each for each in Assurance if each >= rules.settings.minimum_assurance])
        ),
    ),
    lambda _draw, rules: _with(rules, staleness=StalenessRule.DENY),
    lambda draw, rules: _with(rules, recently_issued_s=draw(st.integers(0, rules.settings.recently_issued_s))),
    lambda draw, rules: _with(rules, max_revocation_age_s=draw(st.integers(0, rules.settings.max_revocation_age_s))),
    lambda _draw, rules: _with(rules, suspect=SuspectRule.DENY),
    lambda draw, rules: replace(
        rules, levels={level: ids for level, ids in rules.levels.items() if draw(st.booleans())}
    ),
    lambda draw, rules: replace(
        rules, levels={level: ids if draw(st.booleans()) else () for level, ids in rules.levels.items()}
    ),
    lambda draw, rules: replace(rules, windows=tuple(each for each in rules.windows if draw(st.booleans()))),
    lambda draw, rules: replace(rules, revoked=rules.revoked | draw(st.frozensets(st.sampled_from([41, 42, 43])))),
    lambda _draw, rules: replace(rules, status_age_s=rules.status_age_s + DAY_S),
    lambda _draw, rules: replace(rules, issuer_known=False),
    lambda _draw, rules: replace(rules, list_held=False),
]


@st.composite
def _changed(draw: st.DrawFn, changes: list[Change], start: Rules | None = None) -> Rules:
    """Rules after one or two of some changes."""
    rules = Rules() if start is None else start
    for change in draw(st.lists(st.sampled_from(changes), min_size=1, max_size=2)):
        rules = change(draw, rules)
    return rules


all_rules = _changed(_RULES)
near = st.builds(
    instant,
    st.sampled_from([0, 0, 0, 0, 0, 9_000, 29_000, 31_000, -11_000]),
    clock=st.sampled_from([ClockState.TRUSTED, ClockState.TRUSTED, *ClockState]),
)


@pytest.mark.slow
@settings(max_examples=4 * settings().max_examples)
@given(st.data(), all_rules, st.sampled_from(CODES), near)
def test_revoking_and_reducing_never_turn_a_denial_into_a_grant(
    data: st.DataObject, rules: Rules, payload: bytes, now: Instant
):
    if isinstance(judge(rules.state(), presented(payload), now), Denied):
        less = data.draw(_changed(_REDUCTIONS, rules))
        assert isinstance(judge(less.state(), presented(payload), now), Denied)


@pytest.mark.slow
@given(all_rules, st.sampled_from(CODES), near)
def test_no_grant_without_every_check(rules: Rules, payload: bytes, now: Instant):
    """A grant under any rules still needs its issuer's key, a list, a level, and an open mode."""
    state = rules.state()
    if isinstance(judge(state, presented(payload), now), Denied):
        return
    for take_away in (
        replace(rules, issuer_known=False),
        replace(rules, list_held=False),
        replace(rules, levels={}),
        replace(rules, revoked=frozenset({42, 43})),
        replace(rules, settings=replace(rules.settings, mode=DoorMode.BLOCKED)),
    ):
        assert isinstance(judge(take_away.state(), presented(payload), now), Denied)
    assert isinstance(judge(replace(state, trust=None), presented(payload), now), Denied)
    assert isinstance(judge(replace(state, policy=None), presented(payload), now), Denied)
