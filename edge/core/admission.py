"""From a tap to a decision: judged, perhaps waiting for companions, then granted, or refused where it fails.

Invariant: whoever waited is judged again before a grant, by all that may have changed meanwhile.
Must not: decide what `verify` and `decide` decide; it orders them. Nor carry anything out (edge/core/grants.py).
"""

from collections.abc import Sequence
from dataclasses import replace

from edge.core import companions as waits
from edge.core.companions import Candidate, Need, PinOutcome, Waiting
from edge.core.credential import PinEntry, Presentation, PresentedCredential, read_credential
from edge.core.door import is_interlocked
from edge.core.effects import Denied, EventDraft, Feedback, Grant, Record, Show
from edge.core.grants import commit_grant, conclude_grant, remember
from edge.core.instant import Instant
from edge.core.outcome import Outcome, emit, for_each, mode_of, rules_of, settings_of, then
from edge.core.policy import Granted, Situation, decide
from edge.core.printed import refused_by_uses
from edge.core.refusals import refuse
from edge.core.state import State
from edge.core.verify import (
    VerifiedCredential,
    refused_by_clock,
    refused_meanwhile,
    verify,
    verify_identifier,
)
from wire.names import Assurance, DoorMode, EventKind, Reason, Step

# --- judging -----------------------------------------------------------------------------------------------------


def identify(state: State, presentation: Presentation, now: Instant) -> VerifiedCredential | Denied:
    """Run steps 1 to 8 of a tap: what was presented, and that it holds."""
    presented = read_credential(presentation, takes_barcodes=takes_barcodes(state))
    if isinstance(presented, Denied):
        return presented
    if isinstance(presented, PresentedCredential):
        return _verify(state, presented, now)
    return verify_identifier(presented, state.roster, settings_of(state), now)


def judge(state: State, presentation: Presentation, now: Instant) -> tuple[VerifiedCredential, Granted] | Denied:
    """Run every check of one tap that needs nobody else, in order, without changing anything."""
    verified = identify(state, presentation, now)
    if isinstance(verified, Denied):
        return verified
    # 9 replay
    reason = _replayed(state, verified, now)
    if reason is not None:
        return _deny(Step.REPLAY, reason, verified)
    granted = _decide(state, Candidate(credential=verified, reader=presentation.reader), now)
    return granted if isinstance(granted, Denied) else (verified, granted)


def takes_barcodes(state: State) -> bool:
    """Tell whether a code of another system may stand for an enrolled credential: only where numbers alone admit."""
    return settings_of(state).minimum_assurance is Assurance.IDENTIFIER


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
    return refused_by_uses(verified, settings_of(state), state.memory)


def _decide(state: State, candidate: Candidate, now: Instant) -> Granted | Denied:
    """Check steps 10 to 13, and of 14 what nobody could bring."""
    credential = candidate.credential
    if state.policy is None:
        return _deny(Step.ACCESS, Reason.NO_POLICY, credential)
    interlocked = is_interlocked(state.door, settings_of(state))
    blocked = mode_of(state) is DoorMode.BLOCKED
    situation = Situation(reader=candidate.reader, interlocked=interlocked, memory=state.memory, blocked=blocked)
    granted = decide(credential, state.policy, situation, now)
    if isinstance(granted, Denied) or candidate.pin_known:
        return granted
    return waits.refused_by_pin(credential, settings_of(state), state.memory, now) or granted


def decide_again(state: State, candidate: Candidate, now: Instant) -> Granted | Denied:
    """Decide for somebody who waited: trust, rules, time, and who is where, may have changed meanwhile."""
    credential, settings = candidate.credential, settings_of(state)
    refused = refused_meanwhile(credential, state.trust, state.roster, settings, now)
    if refused is not None:
        return refused
    reason = refused_by_uses(credential, settings, state.memory)
    return _decide(state, candidate, now) if reason is None else _deny(Step.REPLAY, reason, credential)


def _deny(step: Step, reason: Reason, verified: VerifiedCredential) -> Denied:
    return Denied(step, reason, verified.credential, verified.assurance)


# --- a tap, and those who wait -----------------------------------------------------------------------------------


def tap(state: State, presentation: Presentation, now: Instant) -> Outcome:
    """Take one tap as far as it goes: to a denial, to waiting for companions, or to a grant that is to be committed."""
    found = judge(state, presentation, now)
    if isinstance(found, Denied):
        return refuse(state, found, presentation.reader, now)
    verified, granted = found
    return _admit(state, Candidate(credential=verified, reader=presentation.reader), granted, now)


def _admit_again(state: State, candidate: Candidate, now: Instant) -> Outcome:
    """Take somebody on who waited."""
    found = decide_again(state, candidate, now)
    if isinstance(found, Denied):
        return refuse(state, found, candidate.reader, now)
    return _admit(state, candidate, found, now)


def _admit(state: State, candidate: Candidate, granted: Granted, now: Instant) -> Outcome:
    """Take a candidate on that was just judged: to waiting for what is missing, or to a grant."""
    bundle = rules_of(state)
    need = waits.missing(candidate, bundle, state.companions, now)
    if need is not None:
        return _let_wait(state, candidate, need, now)
    partner = waits.partner_of(candidate, bundle, state.companions)
    if partner is None:
        return commit_grant(state, candidate, granted, now)
    state = replace(state, companions=state.companions.without(partner))
    return _admit_together(state, (partner.candidate, candidate), now)


def _let_wait(state: State, candidate: Candidate, need: Need, now: Instant) -> Outcome:
    """Ask for what is missing; the code that was shown is used up for anybody else."""
    companions, over = waits.wait(state.companions, candidate, need, settings_of(state), now)
    state = remember(replace(state, companions=companions), candidate.credential, now)
    outcome = for_each(state, over, lambda before, each: refuse_waiting(before, each, now))
    return then(outcome, lambda before: emit(before, Show(candidate.reader, waits.FEEDBACK[need])))


def refuse_waiting(state: State, each: Waiting, now: Instant) -> Outcome:
    """Refuse somebody who waited in vain."""
    state = replace(state, companions=state.companions.without(each))
    return refuse(state, waits.refusal(each), each.candidate.reader, now)


def _admit_together(state: State, candidates: Sequence[Candidate], now: Instant) -> Outcome:
    """Grant two people at once, or neither: a door that asks for two never opens for one."""
    after, decided = state, []
    for candidate in candidates:
        found = decide_again(after, candidate, now)
        decided.append((candidate, found))
        if isinstance(found, Granted):
            after = replace(after, memory=after.memory.with_memos(found.memos))
    granted = [(candidate, found) for candidate, found in decided if isinstance(found, Granted)]
    if len(granted) < len(decided):
        return for_each(state, decided, lambda before, each: _refuse_together(before, *each, now))
    (one, its), (other, others) = granted
    first, second = state.grants, state.grants + 1
    outcome = commit_grant(state, one, its, now, together=second)
    return then(outcome, lambda before: commit_grant(before, other, others, now, together=first))


def _refuse_together(state: State, candidate: Candidate, found: Granted | Denied, now: Instant) -> Outcome:
    if isinstance(found, Granted):
        found = _deny(Step.COMPANIONS, Reason.SECOND_PERSON_REQUIRED, candidate.credential)
    return refuse(state, found, candidate.reader, now)


def answer_grant(state: State, grant: Grant, seq: int | None, now: Instant) -> Outcome:
    """Carry a grant out that is durable, or take it back; visitors who waited for this host come along."""
    concluded = conclude_grant(state, grant, seq, now)
    return then(concluded, lambda before: _let_visitors_in(before, now))


def _let_visitors_in(state: State, now: Instant) -> Outcome:
    """Let those visitors in, each on a grant of their own, whose hosts are there."""
    visitors = waits.escorted(rules_of(state), state.companions, now)
    return for_each(state, visitors, lambda before, each: _let_visitor_in(before, each, now))


def _let_visitor_in(state: State, each: Waiting, now: Instant) -> Outcome:
    state = replace(state, companions=state.companions.without(each))
    return _admit_again(state, each.candidate, now)


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
        counted = waits.count_wrong(credential, settings_of(state), state.memory, now)
        memos = state.memory.with_room((counted,))
        return refuse(state, waits.refuse_pin(credential), reader, now, memos=memos)
    help_call = (Record(EventDraft(kind=EventKind.DURESS, at=now, credential=credential.credential, reader=reader)),)
    called = emit(state, *(help_call if outcome is PinOutcome.DURESS else ()))
    known = replace(each.candidate, pin_known=True)
    return then(called, lambda before: _admit_again(before, known, now))
