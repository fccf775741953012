"""From a tap to a grant: judged, perhaps waiting for companions, committed, carried out; or refused where it fails.

Invariant: nothing moves before the journal holds the grant, and what was noted for a grant that is not carried out,
or not used, is taken back.
Must not: decide what `verify` and `decide` decide; it orders them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from edge.core import companions as waits
from edge.core import door as doors
from edge.core import flood as floods
from edge.core import orders
from edge.core.anti_passback import crossed, put_back
from edge.core.companions import Candidate, Need, PinOutcome, Waiting
from edge.core.credential import PinEntry, Presentation, PresentedCredential, read_credential
from edge.core.door import is_interlocked
from edge.core.door_state import LineState, Mode, Trigger
from edge.core.effects import CommitGrant, Denied, EventDraft, Feedback, Grant, Record, Show, feedback_of
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind
from edge.core.outcome import Outcome, circumstances, emit, for_each, move, settings_of, then
from edge.core.policy import Granted, Situation, decide, is_printed, refused_by_mode
from edge.core.replay import make_mark
from edge.core.state import Awaited, Passing, State
from edge.core.trust import Revocation
from edge.core.verify import VerifiedCredential, refused_by_clock, roster_revocation, verify, verify_identifier
from wire.names import Assurance, EventKind, PassId, PassKind, Reason, Step
from wire.passes import PASS_ID_BYTES

LATE_MS: Final = 2_000
"""A grant that becomes durable later than this is refused: nobody stands at a door longer without trying again."""
AWAITED_GRANTS: Final = 64
"""Grants whose commit is awaited; of more, which no person causes, the oldest are not carried out."""


# --- judging -----------------------------------------------------------------------------------------------------


def judge(state: State, presentation: Presentation, now: Instant) -> tuple[VerifiedCredential, Granted] | Denied:
    """Run every check of one tap that needs nobody else, in order, without changing anything."""
    settings = settings_of(state)
    takes_barcodes = settings.minimum_assurance is Assurance.IDENTIFIER
    presented = read_credential(presentation, takes_barcodes=takes_barcodes)
    if isinstance(presented, Denied):
        return presented
    if isinstance(presented, PresentedCredential):
        verified = _verify(state, presented, now)
    else:
        verified = verify_identifier(presented, state.roster, settings, now)
    if isinstance(verified, Denied):
        return verified
    # 9 replay
    reason = _replayed(state, verified, now)
    if reason is not None:
        return _deny(Step.REPLAY, reason, verified)
    if state.policy is None:
        return _deny(Step.ACCESS, Reason.NO_POLICY, verified)
    granted = decide(verified, state.policy, _situation(state, presentation.reader), now)
    if isinstance(granted, Denied):
        return granted
    return waits.refused_by_pin(verified, settings, state.memory, now) or (verified, granted)


def _verify(state: State, presented: PresentedCredential, now: Instant) -> VerifiedCredential | Denied:
    if state.trust is None:
        unknown = Denied(Step.ISSUER_KEY, Reason.NO_TRUST, presented.unverified_pass_id, presented.assurance)
        return refused_by_clock(presented, now) or unknown
    return verify(presented, state.trust, state.place, settings_of(state), now)


def _replayed(state: State, verified: VerifiedCredential, now: Instant) -> Reason | None:
    """Check step 9: shown before, or a printed pass that was used up."""
    if verified.replay_key is not None:
        if state.replay.seen(verified.replay_key, signed_at_ms=verified.signed_at_s * 1000):
            return Reason.REPLAYED
        return Reason.REPLAY_CACHE_FULL if state.replay.full(now) else None
    allowed = settings_of(state).printed_uses
    used, *_ = state.memory.get(MemoKind.USES, verified.credential) or (0,)
    used_up = is_printed(verified) and 0 < allowed <= used
    return Reason.USES_EXHAUSTED if used_up else None


def _situation(state: State, reader: str) -> Situation:
    interlocked = is_interlocked(state.door, settings_of(state))
    return Situation(reader=reader, interlocked=interlocked, memory=state.memory)


def _deny(step: Step, reason: Reason, verified: VerifiedCredential) -> Denied:
    return Denied(step, reason, verified.credential, verified.assurance)


# --- a tap, and those who wait -----------------------------------------------------------------------------------


def tap(state: State, presentation: Presentation, now: Instant) -> Outcome:
    """Take one tap as far as it goes: to a denial, to waiting for companions, or to a grant that is to be committed."""
    found = judge(state, presentation, now)
    if isinstance(found, Denied):
        return refuse(state, found, presentation.reader, now)
    verified, granted = found
    candidate = Candidate(credential=verified, reader=presentation.reader)
    need = waits.missing(candidate, settings_of(state), state.companions, now)
    if need is not None:
        return _let_wait(state, candidate, need, now)
    if _partner(state, candidate) is not None:
        return _admit(state, candidate, now)
    return _grant_with_visitors(state, candidate, granted, now)


def _let_wait(state: State, candidate: Candidate, need: Need, now: Instant) -> Outcome:
    """Ask for what is missing; the code that was shown is used up for anybody else."""
    companions, over = waits.wait(state.companions, candidate, need, settings_of(state), now)
    state = _remember(replace(state, companions=companions), candidate.credential, now)
    outcome = for_each(state, over, lambda before, each: refuse_waiting(before, each, now))
    return then(outcome, lambda before: emit(before, Show(candidate.reader, waits.FEEDBACK[need])))


def _remember(state: State, verified: VerifiedCredential, now: Instant) -> State:
    if verified.replay_key is None:
        return state
    return replace(state, replay=state.replay.add(make_mark(verified.replay_key, now), now))


def refuse_waiting(state: State, each: Waiting, now: Instant) -> Outcome:
    """Refuse somebody who waited in vain."""
    state = replace(state, companions=state.companions.without(each))
    return refuse(state, waits.refusal(each), each.candidate.reader, now)


def _partner(state: State, candidate: Candidate) -> Waiting | None:
    """Find who waits for this second person, at a door that asks for two."""
    alone = candidate.credential.kind in (PassKind.VISITOR, PassKind.EMERGENCY)
    return None if alone or not settings_of(state).two_person else waits.partner_of(candidate, state.companions)


def _admit(state: State, candidate: Candidate, now: Instant) -> Outcome:
    """Take a candidate on that has what could be missing of itself: to waiting for others, or to a grant."""
    need = waits.missing(candidate, settings_of(state), state.companions, now)
    if need is not None:
        return _let_wait(state, candidate, need, now)
    partner = _partner(state, candidate)
    if partner is not None:
        together = (partner.candidate, candidate)
        return _admit_together(replace(state, companions=state.companions.without(partner)), together, now)
    found = _decide_again(state, candidate, now)
    if isinstance(found, Denied):
        return refuse(state, found, candidate.reader, now)
    return _grant_with_visitors(state, candidate, found, now)


def _decide_again(state: State, candidate: Candidate, now: Instant) -> Granted | Denied:
    """Decide for somebody who waited: the rules, and who is where, may have changed meanwhile."""
    credential = candidate.credential
    if state.policy is None:
        return _deny(Step.ACCESS, Reason.NO_POLICY, credential)
    if _revoked_meanwhile(state, credential, now):
        return _deny(Step.REVOCATION, Reason.REVOKED, credential)
    return decide(credential, state.policy, _situation(state, candidate.reader), now)


def _revoked_meanwhile(state: State, credential: VerifiedCredential, now: Instant) -> bool:
    if state.trust is None or credential.expires_at_s is None:
        return False
    found = state.trust.revocation(PassId(credential.credential), now.wall_s)
    return found is not None and found.revoked


def _admit_together(state: State, candidates: Sequence[Candidate], now: Instant) -> Outcome:
    """Grant two people at once, or neither: a door that asks for two never opens for one."""
    after, decided = state, []
    for candidate in candidates:
        found = _decide_again(after, candidate, now)
        decided.append((candidate, found))
        if isinstance(found, Granted):
            after = replace(after, memory=after.memory.with_memos(found.memos))
    if all(isinstance(found, Granted) for _, found in decided):
        return for_each(state, decided, lambda before, each: _settle(before, *each, now))
    return for_each(state, decided, lambda before, each: _refuse_together(before, *each, now))


def _settle(state: State, candidate: Candidate, found: Granted | Denied, now: Instant) -> Outcome:
    if isinstance(found, Denied):
        return refuse(state, found, candidate.reader, now)
    return _grant_with_visitors(state, candidate, found, now)


def _refuse_together(state: State, candidate: Candidate, found: Granted | Denied, now: Instant) -> Outcome:
    if isinstance(found, Granted):
        found = _deny(Step.COMPANIONS, Reason.SECOND_PERSON_REQUIRED, candidate.credential)
    return refuse(state, found, candidate.reader, now)


def _grant_with_visitors(state: State, candidate: Candidate, granted: Granted, now: Instant) -> Outcome:
    """Grant one person; visitors who waited for this host come along, each on a grant of their own."""
    settings = settings_of(state)
    outcome = _grant(state, candidate, granted, now)
    state, _ = outcome
    companions = waits.with_host(state.companions, candidate.credential, settings, now)
    visitors = waits.escorted(settings, companions, now)
    for each in visitors:
        companions = companions.without(each)
    outcome = then(outcome, lambda before: (replace(before, companions=companions), ()))
    return then(outcome, lambda before: for_each(before, visitors, lambda a, each: _admit(a, each.candidate, now)))


# --- PINs --------------------------------------------------------------------------------------------------------


def ask_pin(state: State, entry: PinEntry) -> Outcome:
    """Have a PIN checked, if somebody waits at that reader to give one."""
    companions, question = waits.ask_pin(state.companions, entry)
    if question is None:
        return state, (Show(entry.reader, Feedback.TRY_AGAIN),)
    return replace(state, companions=companions), (question,)


def answer_pin(state: State, check_id: int, outcome: PinOutcome, now: Instant) -> Outcome:
    """Go on with somebody whose PIN was checked; under duress exactly so, and a call for help beside it."""
    each = waits.find_check(state.companions, check_id)
    if each is None:
        return state, ()
    state = replace(state, companions=state.companions.without(each))
    credential, reader = each.candidate.credential, each.candidate.reader
    if outcome is PinOutcome.WRONG:
        memos = (
            *state.memory.room_for(MemoKind.WRONG_PINS),
            waits.count_wrong(credential, settings_of(state), state.memory, now),
        )
        return refuse(state, waits.refuse_pin(credential), reader, now, memos=memos)
    help_call = (Record(EventDraft(kind=EventKind.DURESS, at=now, credential=credential.credential, reader=reader)),)
    called = emit(state, *(help_call if outcome is PinOutcome.DURESS else ()))
    known = replace(each.candidate, pin_known=True)
    return then(called, lambda before: _admit(before, known, now))


# --- grants ------------------------------------------------------------------------------------------------------


def _grant(state: State, candidate: Candidate, granted: Granted, now: Instant) -> Outcome:
    verified = candidate.credential
    forgiven = _forgive(state, candidate)
    memos = (*granted.memos, *forgiven)
    grant = Grant(
        grant_id=state.grants,
        hold_ms=granted.hold_ms,
        credential=verified.credential,
        assurance=verified.assurance,
        rule=granted.rule,
        reader=candidate.reader,
    )
    draft = EventDraft(
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
    mark = None if verified.replay_key is None else make_mark(verified.replay_key, now)
    undo = tuple(put_back(memo, state.memory) for memo in granted.memos)
    awaited = Awaited(grant.grant_id, verified.kind, now.monotonic_ms, undo)
    state = _remember(state, verified, now)
    state = replace(state, grants=state.grants + 1, awaited=(*state.awaited, awaited)[-AWAITED_GRANTS:])
    notices = tuple(Record(_about(grant, kind, now)) for kind in granted.notices)
    return emit(state, CommitGrant(draft, mark, grant, memos), *notices)


def _about(grant: Grant, kind: EventKind, now: Instant) -> EventDraft:
    return EventDraft(kind=kind, at=now, credential=grant.credential, reader=grant.reader, rule=grant.rule)


def _forgive(state: State, candidate: Candidate) -> tuple[Memo, ...]:
    """A right PIN ends the count of wrong ones."""
    credential = candidate.credential.credential
    wrong = candidate.pin_known and state.memory.get(MemoKind.WRONG_PINS, credential) is not None
    return (Memo(MemoKind.WRONG_PINS, credential, None),) if wrong else ()


def answer_grant(state: State, grant: Grant, seq: int | None, now: Instant) -> Outcome:
    """Carry a grant out once it is durable (`seq`; None when it failed), in time, and still allowed by the mode.

    The first answer counts: a second one finds nothing that is awaited.
    """
    awaited = next((each for each in state.awaited if each.grant_id == grant.grant_id), None)
    if awaited is None:
        return state, ()
    state = replace(state, awaited=tuple(each for each in state.awaited if each is not awaited))
    if seq is None or now.monotonic_ms - awaited.decided_ms > LATE_MS:
        return _take_back(state, grant, awaited, Step.GRANT, Reason.STORAGE_FAULT, now)
    interlocked = is_interlocked(state.door, settings_of(state))
    reason = refused_by_mode(settings_of(state).mode, awaited.kind, interlocked=interlocked)
    if reason is not None:
        return _take_back(state, grant, awaited, Step.DOOR_MODE, reason, now)
    ordered = orders.admitted(state.orders, grant.credential, awaited.kind, settings_of(state), now)
    if ordered is not state.orders:
        state = replace(state, orders=ordered)
    at = circumstances(state, now, hold_ms=grant.hold_ms, cause_seq=seq)
    state, effects = move(state, *doors.step(state.door, Trigger.GRANT, at))
    passing = (*state.passing, Passing(grant, awaited.undo))[-AWAITED_GRANTS:]
    return replace(state, passing=passing), (*effects, Show(grant.reader, Feedback.GRANTED))


def _take_back(state: State, grant: Grant, awaited: Awaited, step: Step, reason: Reason, now: Instant) -> Outcome:
    """Take a grant back, always journaled in full: the journal may hold the grant."""
    denied = Denied(step, reason, grant.credential, grant.assurance)
    record = Record(_denial(state, denied, grant.reader, now), awaited.undo)
    return emit(state, Show(grant.reader, feedback_of(reason)), record, *crossings(state, awaited.undo, now))


def follow_passages(state: State, now: Instant) -> Outcome:
    """Forget grants that were used; take back what was noted of those that were not, once the door is secure again."""
    door = state.door
    may_still = door.mode is Mode.ACCESSED and door.last_known is LineState.INACTIVE
    if not state.passing or may_still:
        return state, ()
    unused = door.last_known is LineState.INACTIVE and door.mode not in (Mode.UNLOCKED, Mode.LOCKED_OPEN)
    over = state.passing if unused else ()
    return for_each(replace(state, passing=()), over, lambda before, each: _not_taken(before, each, now))


def _not_taken(state: State, passing: Passing, now: Instant) -> Outcome:
    grant = passing.grant
    record = Record(_about(grant, EventKind.ACCESS_NOT_TAKEN, now), passing.undo)
    return emit(state, record, *crossings(state, passing.undo, now))


def crossings(state: State, memos: tuple[Memo, ...], now: Instant) -> tuple[Record, ...]:
    """Give the warnings of occupancy that begin or end with some memos."""
    if state.policy is None:
        return ()
    kinds = crossed(state.policy.bundle, state.memory, state.memory.with_memos(memos))
    return tuple(Record(EventDraft(kind=kind, at=now)) for kind in kinds)


# --- refusals ----------------------------------------------------------------------------------------------------


def refuse(state: State, denied: Denied, reader: str, now: Instant, *, memos: tuple[Memo, ...] = ()) -> Outcome:
    """Show and journal a refusal; of a flood only the number, unless there is something to remember."""
    flood, journaled = floods.admit(state.flood, now)
    show = Show(reader, feedback_of(denied.reason))
    state = replace(state, flood=flood)
    if not journaled and not memos:
        return state, (show,)
    return emit(state, show, Record(_denial(state, denied, reader, now), memos))


def _denial(state: State, denied: Denied, reader: str, now: Instant) -> EventDraft:
    asked = _revocation_asked(state, denied, now)
    return EventDraft(
        kind=EventKind.ACCESS_DENIED,
        at=now,
        step=denied.step,
        reason=denied.reason,
        granted=False,
        credential=denied.credential,
        assurance=denied.assurance,
        reader=reader,
        status_sequence=None if asked is None else asked.sequence,
        status_age_s=None if asked is None else asked.age_s,
    )


def _revocation_asked(state: State, denied: Denied, now: Instant) -> Revocation | None:
    """Give the list (or the roster) that a refusal at step 8 or later had asked."""
    if denied.step < Step.REVOCATION or denied.credential is None:
        return None
    if len(denied.credential) != PASS_ID_BYTES:
        return None if state.roster is None else roster_revocation(state.roster, now)
    return None if state.trust is None else state.trust.revocation(PassId(denied.credential), now.wall_s)
