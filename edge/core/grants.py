"""A grant under way: committed, then carried out, then used; or taken back.

Invariant: nothing moves before the journal holds the grant; what was noted for a grant that is not carried out, or not
used, is taken back, and what grants after it noted stands; of two people who pass together, neither passes alone.
Must not: decide who is granted (edge/core/admission.py).
"""

from dataclasses import replace
from typing import Final

from edge.core import door as doors
from edge.core import orders
from edge.core.anti_passback import crossed, put_back
from edge.core.companions import Candidate, Host, with_host
from edge.core.door_state import LineState, Mode, Trigger
from edge.core.effects import CommitGrant, Denied, EventDraft, Feedback, Grant, Record, Show, feedback_of
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind
from edge.core.outcome import Outcome, circumstances, emit, for_each, mode_of, move, rules_of, settings_of, then
from edge.core.policy import Granted, refused_by_mode
from edge.core.printed import give_back
from edge.core.refusals import denial
from edge.core.replay import make_mark
from edge.core.state import State, Underway
from edge.core.verify import VerifiedCredential
from wire.names import EventKind, Reason, Step

LATE_MS: Final = 2_000
"""A grant that becomes durable later than this is refused: nobody stands at a door longer without trying again."""
AWAITED_GRANTS: Final = 64
"""Grants whose commit is awaited; of more, which no person causes, the oldest are taken back."""


# --- deciding and committing -------------------------------------------------------------------------------------


def commit_grant(
    state: State, candidate: Candidate, granted: Granted, now: Instant, *, together: int | None = None
) -> Outcome:
    """Have a grant committed; `together` is the grant of the other of two people."""
    verified = candidate.credential
    grant = Grant(
        grant_id=state.grants,
        hold_ms=granted.hold_ms,
        credential=verified.credential,
        assurance=verified.assurance,
        rule=granted.rule,
        reader=candidate.reader,
    )
    underway = Underway(
        grant=grant,
        kind=verified.kind,
        holder=verified.holder,
        decided_ms=now.monotonic_ms,
        undo=tuple(replace(memo, value=state.memory.get(memo.kind, memo.key)) for memo in granted.memos),
        together=together,
    )
    memos = state.memory.with_room((*granted.memos, *_forgive(state, candidate)))
    mark = None if verified.replay_key is None else make_mark(verified.replay_key, now)
    notices = tuple(Record(_about(grant, kind, now)) for kind in granted.notices)
    warnings = crossings(state, memos, now)
    state = remember(state, verified, now)
    state = replace(
        state,
        grants=state.grants + 1,
        awaited=(*state.awaited, underway),
        companions=state.companions.without_waiting(verified.holder),
    )
    outcome = emit(state, CommitGrant(_draft(grant, verified, now), mark, grant, memos), *notices, *warnings)
    return then(outcome, lambda before: _bound(before, now))


def remember(state: State, verified: VerifiedCredential, now: Instant) -> State:
    """Let a code that was accepted be of no use to anybody else."""
    if verified.replay_key is None:
        return state
    return replace(state, replay=state.replay.add(make_mark(verified.replay_key, now), now))


def _draft(grant: Grant, verified: VerifiedCredential, now: Instant) -> EventDraft:
    return EventDraft(
        kind=EventKind.ACCESS_GRANTED,
        at=now,
        step=Step.GRANT,
        granted=True,
        credential=grant.credential,
        assurance=grant.assurance,
        reader=grant.reader,
        rule=grant.rule,
        status_sequence=verified.revocation.sequence,
        status_age_s=verified.revocation.age_s,
    )


def _about(grant: Grant, kind: EventKind, now: Instant) -> EventDraft:
    return EventDraft(kind=kind, at=now, credential=grant.credential, reader=grant.reader, rule=grant.rule)


def _forgive(state: State, candidate: Candidate) -> tuple[Memo, ...]:
    """A right PIN ends the count of wrong ones."""
    credential = candidate.credential.credential
    wrong = candidate.pin_known and state.memory.get(MemoKind.WRONG_PINS, credential) is not None
    return (Memo(MemoKind.WRONG_PINS, credential, None),) if wrong else ()


def _bound(state: State, now: Instant) -> Outcome:
    if len(state.awaited) <= AWAITED_GRANTS:
        return state, ()
    return _take_back(state, state.awaited[0], Step.GRANT, Reason.STORAGE_FAULT, now)


# --- carrying out ------------------------------------------------------------------------------------------------


def conclude_grant(state: State, grant: Grant, seq: int | None, now: Instant) -> Outcome:
    """Carry a grant out once it is durable (`seq`; None when it failed), in time, and still allowed by the mode.

    The first answer counts: a second one finds nothing that is awaited. Of two people the second's answer counts for
    both, the first's only if it refuses them.
    """
    awaited = _find(state, grant.grant_id)
    if awaited is None or awaited.seq:
        return state, ()
    if seq is None or now.monotonic_ms - awaited.decided_ms > LATE_MS:
        return _take_back(state, awaited, Step.GRANT, Reason.STORAGE_FAULT, now)
    interlocked = doors.is_interlocked(state.door, settings_of(state))
    reason = refused_by_mode(mode_of(state), awaited.kind, interlocked=interlocked)
    if reason is not None:
        return _take_back(state, awaited, Step.DOOR_MODE, reason, now)
    durable = replace(awaited, seq=seq)
    other = _find(state, awaited.together)
    if other is not None and not other.seq:
        return replace(state, awaited=tuple(durable if each is awaited else each for each in state.awaited)), ()
    people = (durable,) if other is None else (other, durable)
    return for_each(state, people, lambda before, each: _carry_out(before, each, now))


def _find(state: State, grant_id: int | None) -> Underway | None:
    return next((each for each in state.awaited if each.grant.grant_id == grant_id), None)


def _without(state: State, grant_id: int) -> State:
    return replace(state, awaited=tuple(each for each in state.awaited if each.grant.grant_id != grant_id))


def _carry_out(state: State, durable: Underway, now: Instant) -> Outcome:
    grant, settings = durable.grant, settings_of(state)
    host = Host(holder=durable.holder, reader=grant.reader, at_ms=now.monotonic_ms)
    state = replace(
        _without(state, grant.grant_id),
        orders=orders.admitted(state.orders, grant, durable.kind, rules_of(state), now),
        companions=with_host(state.companions, durable.kind, host, settings),
        passing=(*state.passing, durable)[-AWAITED_GRANTS:],
    )
    at = circumstances(state, now, hold_ms=grant.hold_ms, cause_seq=durable.seq)
    state, effects = move(state, *doors.step(state.door, Trigger.GRANT, at))
    return state, (*effects, Show(grant.reader, Feedback.GRANTED))


# --- taking back -------------------------------------------------------------------------------------------------


def _take_back(state: State, awaited: Underway, step: Step, reason: Reason, now: Instant) -> Outcome:
    """Take a grant back, and with it that of the other of two people."""
    other = _find(state, awaited.together)
    people = (awaited,) if other is None else (awaited, other)
    denied = [Denied(step, reason, each.grant.credential, each.grant.assurance) for each in people]
    return for_each(state, zip(people, denied, strict=True), lambda before, each: _refuse_granted(before, *each, now))


def _refuse_granted(state: State, awaited: Underway, denied: Denied, now: Instant) -> Outcome:
    """Refuse who was granted, always journaled in full: the journal may hold the grant."""
    reader = awaited.grant.reader
    state, memos = _undo(_without(state, awaited.grant.grant_id), awaited)
    record = Record(denial(state, denied, reader, now), memos)
    return emit(state, Show(reader, feedback_of(denied.reason)), record, *crossings(state, memos, now))


def follow_passages(state: State, now: Instant) -> Outcome:
    """Forget grants that were used; take back what was noted of those that were not, once the door is secure again.

    A door whose contact says anything but closed may have been used.
    """
    closed = state.door.contact is LineState.INACTIVE
    if not state.passing or (closed and state.door.mode is Mode.ACCESSED):
        return state, ()
    over, state = state.passing, replace(state, passing=())
    if closed and state.door.mode not in (Mode.UNLOCKED, Mode.LOCKED_OPEN):
        newest_first = sorted(over, key=_number, reverse=True)  # so that each is put back to before the next
        return for_each(state, newest_first, lambda before, each: _not_taken(before, each, now))
    return replace(state, awaited=tuple(_behind(each, over) for each in state.awaited)), ()


def _behind(awaited: Underway, used: tuple[Underway, ...]) -> Underway:
    """Where somebody passed on a later grant, that is where they are: an earlier one puts nobody back."""
    if not any(_is_later(each, awaited) for each in used):
        return awaited
    return replace(awaited, undo=tuple(memo for memo in awaited.undo if memo.kind is not MemoKind.PRESENCE))


def _not_taken(state: State, passing: Underway, now: Instant) -> Outcome:
    state, memos = _undo(state, passing)
    state = replace(state, companions=state.companions.without_host(passing.holder))
    record = Record(_about(passing.grant, EventKind.ACCESS_NOT_TAKEN, now), memos)
    return emit(state, record, *crossings(state, memos, now))


def _undo(state: State, taken_back: Underway) -> tuple[State, tuple[Memo, ...]]:
    """Give the memos that take a grant's memos back.

    Where a later grant of the same holder is under way, what that one noted stands, and if it goes too it puts the
    holder back to before both.
    """
    memos: list[Memo] = []
    for fact in taken_back.undo:
        later = _later(state, taken_back)
        if fact.kind is not MemoKind.PRESENCE:
            memos.append(give_back(fact.key, state.memory))
        elif later is None:
            memos.append(put_back(fact, settings_of(state)))
        else:
            state = _hand_on(state, later, fact)
    return state, tuple(memos)


def _later(state: State, taken_back: Underway) -> Underway | None:
    others = (each for each in (*state.passing, *state.awaited) if _is_later(each, taken_back))
    return min((each for each in others if _noted_presence(each)), key=_number, default=None)


def _is_later(one: Underway, other: Underway) -> bool:
    return one.holder == other.holder and _number(one) > _number(other)


def _number(underway: Underway) -> int:
    return underway.grant.grant_id


def _noted_presence(underway: Underway) -> bool:
    return any(memo.kind is MemoKind.PRESENCE for memo in underway.undo)


def _hand_on(state: State, later: Underway, fact: Memo) -> State:
    heir = replace(later, undo=tuple(fact if memo.kind is MemoKind.PRESENCE else memo for memo in later.undo))
    return replace(
        state,
        awaited=tuple(heir if each is later else each for each in state.awaited),
        passing=tuple(heir if each is later else each for each in state.passing),
    )


def crossings(state: State, memos: tuple[Memo, ...], now: Instant) -> tuple[Record, ...]:
    """Give the warnings of occupancy that begin or end with some memos."""
    kinds = crossed(rules_of(state), state.memory, state.memory.with_memos(memos))
    return tuple(Record(EventDraft(kind=kind, at=now)) for kind in kinds)
