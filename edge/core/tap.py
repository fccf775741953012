"""One tap, composed: credential, verify, replay, policy, door, effects. The whole decision is `handle`.

Invariant: `handle` is a function of its arguments alone; replaying the same inputs gives the same decisions.
Must not: read a clock, a file or a socket; the shell (edge/controller.py) does.
"""

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, assert_never

from edge.core import door as doors
from edge.core import flood as floods
from edge.core.credential import Presentation, PresentedCredential, read_credential
from edge.core.door import Circumstances, DoorState, InputLine, LineState, Trigger
from edge.core.effects import (
    CommitGrant,
    Denied,
    Effect,
    EventDraft,
    Feedback,
    Grant,
    Record,
    Show,
    feedback_of,
)
from edge.core.flood import Flood
from edge.core.instant import Instant
from edge.core.policy import Granted, PolicyState, decide, refused_by_mode
from edge.core.replay import ReplayMarks, make_mark
from edge.core.trust import Revocation, TrustState
from edge.core.verify import Place, VerifiedCredential, refused_by_clock, verify
from wire.names import ClockState, EventKind, PassId, PassKind, Reason, Step
from wire.roster import Roster
from wire.settings import DoorSettings

LATE_MS: Final = 2_000
"""A grant that becomes durable later than this is refused: nobody stands at a door longer without trying again."""
AWAITED_GRANTS: Final = 64
"""Grants whose commit is awaited; of more, which no person causes, the oldest are not carried out."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A grant whose commit is awaited; `decided_ms` is monotonic."""

    grant_id: int
    kind: PassKind
    decided_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a decision depends on besides the tap and the time."""

    place: Place
    trust: TrustState | None = None
    policy: PolicyState | None = None
    roster: Roster | None = None
    replay: ReplayMarks = field(default_factory=ReplayMarks)
    door: DoorState = field(default_factory=DoorState)
    flood: Flood = field(default_factory=Flood)
    clock: ClockState | None = None
    grants: int = 0
    awaited: tuple[Awaited, ...] = ()


@dataclass(frozen=True, slots=True)
class Tap:
    """Something was presented at a reader."""

    presentation: Presentation


@dataclass(frozen=True, slots=True)
class GrantDurable:
    """The journal holds a grant; the door may move. `seq` is its journal number."""

    grant: Grant
    seq: int


@dataclass(frozen=True, slots=True)
class GrantFailed:
    """The journal could not take a grant in time."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class LineChanged:
    """A wire of the door changed."""

    line: InputLine
    state: LineState


@dataclass(frozen=True, slots=True)
class FireReset:
    """A person ended the state of fire; it has an effect once the fire input is quiet."""


@dataclass(frozen=True, slots=True)
class TimeDue:
    """A deadline that `next_deadline_ms` named has come."""


@dataclass(frozen=True, slots=True)
class TrustReplaced:
    """Newer keys or revocation lists are in force; `kind` is journaled, None for a mere refresh."""

    trust: TrustState
    kind: EventKind | None


@dataclass(frozen=True, slots=True)
class PolicyReplaced:
    """A newer policy is in force; `kind` is journaled, None when it was only loaded again."""

    policy: PolicyState
    kind: EventKind | None = EventKind.POLICY_UPDATED


@dataclass(frozen=True, slots=True)
class RosterReplaced:
    """A newer roster is in force; `kind` is journaled, None for a mere refresh."""

    roster: Roster
    kind: EventKind | None


@dataclass(frozen=True, slots=True)
class Noted:
    """The shell noticed something that belongs into the journal and changes no decision."""

    kind: EventKind
    reader: str | None = None


Input: TypeAlias = (
    Tap
    | GrantDurable
    | GrantFailed
    | LineChanged
    | FireReset
    | TimeDue
    | TrustReplaced
    | PolicyReplaced
    | RosterReplaced
    | Noted
)
Outcome: TypeAlias = tuple[State, tuple[Effect, ...]]


def handle(state: State, event: Input, now: Instant) -> Outcome:
    """Give the next state and what to do, for one input at one moment."""
    state, before = _notice_time(state, now)
    state, effects = _dispatch(state, event, now)
    return state, (*before, *(_versioned(effect, state) for effect in effects))


def _dispatch(state: State, event: Input, now: Instant) -> Outcome:
    match event:
        case Tap(presentation):
            return _tap(state, presentation, now)
        case GrantDurable(grant, seq):
            return _answer_grant(state, grant, seq, now)
        case GrantFailed(grant):
            return _answer_grant(state, grant, None, now)
        case LineChanged(line, line_state):
            moved, effects = doors.on_line(state.door, line, line_state, _circumstances(state, now))
            return replace(state, door=moved), effects
        case FireReset():
            moved, effects = doors.reset_fire(state.door, _circumstances(state, now))
            return replace(state, door=moved), effects
        case TimeDue():
            moved, effects = doors.on_time(state.door, _circumstances(state, now))
            return replace(state, door=moved), effects
        case TrustReplaced() | RosterReplaced():
            return _replace_known(state, event, now)
        case PolicyReplaced(policy, kind):
            return _replace_policy(state, policy, kind, now)
        case Noted(kind, reader):
            return state, (Record(EventDraft(kind=kind, at=now, reader=reader)),)
    assert_never(event)


def next_deadline_ms(state: State) -> int | None:
    """Give the monotonic millisecond at which the shell must send `TimeDue`, None when nothing runs."""
    due = (doors.next_deadline_ms(state.door), floods.deadline_ms(state.flood))
    return min((each for each in due if each is not None), default=None)


def _notice_time(state: State, now: Instant) -> Outcome:
    """Journal a change of the clock's state and the end of a flood window."""
    effects: list[Effect] = []
    if state.clock is not now.clock:
        if state.clock is not None:
            effects.append(_versioned(Record(EventDraft(kind=EventKind.CLOCK_CHANGED, at=now)), state))
        state = replace(state, clock=now.clock)
    flood, suppressed = floods.roll(state.flood, now)
    if suppressed:
        draft = EventDraft(kind=EventKind.DENIALS_SUPPRESSED, at=now, count=suppressed)
        effects.append(_versioned(Record(draft), state))
    return replace(state, flood=flood), tuple(effects)


def _circumstances(state: State, now: Instant) -> Circumstances:
    return Circumstances(settings=_settings(state), now=now)


def _settings(state: State) -> DoorSettings:
    return DoorSettings() if state.policy is None else state.policy.bundle.settings


def _replace_known(state: State, event: TrustReplaced | RosterReplaced, now: Instant) -> Outcome:
    if isinstance(event, TrustReplaced):
        state = replace(state, trust=event.trust)
    else:
        state = replace(state, roster=event.roster)
    return state, () if event.kind is None else (Record(EventDraft(kind=event.kind, at=now)),)


def _replace_policy(state: State, policy: PolicyState, kind: EventKind | None, now: Instant) -> Outcome:
    state = replace(state, policy=policy)
    moved, effects = doors.step(state.door, Trigger.POLICY, _circumstances(state, now))
    record = () if kind is None else (Record(EventDraft(kind=kind, at=now)),)
    return replace(state, door=moved), (*effects, *record)


def _tap(state: State, presentation: Presentation, now: Instant) -> Outcome:
    found = judge(state, presentation.payload, now)
    if isinstance(found, Denied):
        return _refuse(state, found, presentation.reader, now)
    verified, granted = found
    grant = Grant(
        grant_id=state.grants,
        hold_ms=granted.hold_ms,
        credential=verified.claims.pass_id,
        assurance=verified.assurance,
        rule=granted.rule,
        reader=presentation.reader,
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
    replay = state.replay if mark is None else state.replay.add(mark, now)
    awaited = (*state.awaited, Awaited(grant.grant_id, verified.claims.kind, now.monotonic_ms))[-AWAITED_GRANTS:]
    state = replace(state, replay=replay, grants=state.grants + 1, awaited=awaited)
    return state, (CommitGrant(draft, mark, grant),)


def _answer_grant(state: State, grant: Grant, seq: int | None, now: Instant) -> Outcome:
    """Carry a grant out once it is durable (`seq`; None when it failed), in time, and still allowed by the mode.

    The first answer counts: a second one finds nothing that is awaited.
    """
    awaited = next((each for each in state.awaited if each.grant_id == grant.grant_id), None)
    if awaited is None:
        return state, ()
    state = replace(state, awaited=tuple(each for each in state.awaited if each is not awaited))
    if seq is None or now.monotonic_ms - awaited.decided_ms > LATE_MS:
        return _refuse_grant(state, grant, Step.GRANT, Reason.STORAGE_FAULT, now)
    reason = refused_by_mode(_settings(state).mode, awaited.kind)
    if reason is not None:
        return _refuse_grant(state, grant, Step.DOOR_MODE, reason, now)
    at = Circumstances(settings=_settings(state), now=now, hold_ms=grant.hold_ms, cause_seq=seq)
    moved, effects = doors.step(state.door, Trigger.GRANT, at)
    return replace(state, door=moved), (*effects, Show(grant.reader, Feedback.GRANTED))


def _refuse_grant(state: State, grant: Grant, step: Step, reason: Reason, now: Instant) -> Outcome:
    """Take a grant back, always journaled in full: the journal may hold the grant."""
    denied = Denied(step, reason, grant.credential, grant.assurance)
    return state, (Show(grant.reader, feedback_of(reason)), Record(_denial(state, denied, grant.reader, now)))


def judge(state: State, payload: bytes, now: Instant) -> tuple[VerifiedCredential, Granted] | Denied:
    """Run every check of one tap, in order, without changing anything (also what `diag why` asks)."""
    credential = read_credential(payload)
    if isinstance(credential, Denied):
        return credential
    if state.trust is None:
        return refused_by_clock(credential, now) or _because(Step.ISSUER_KEY, Reason.NO_TRUST, credential)
    verified = verify(credential, state.trust, state.place, _settings(state), now)
    if isinstance(verified, Denied):
        return verified
    # 9 replay
    if credential.rotating is not None:
        signed_at_ms = credential.rotating.issued_at_s * 1000
        if state.replay.seen(credential.rotating.replay_key, signed_at_ms=signed_at_ms):
            return _because(Step.REPLAY, Reason.REPLAYED, credential)
        if state.replay.full(now):
            return _because(Step.REPLAY, Reason.REPLAY_CACHE_FULL, credential)
    if state.policy is None:
        return _because(Step.ACCESS, Reason.NO_POLICY, credential)
    granted = decide(verified, state.policy, now)
    return granted if isinstance(granted, Denied) else (verified, granted)


def _because(step: Step, reason: Reason, credential: PresentedCredential) -> Denied:
    return Denied(step, reason, credential.unverified_pass_id, credential.assurance)


def _refuse(state: State, denied: Denied, reader: str, now: Instant) -> Outcome:
    flood, journaled = floods.admit(state.flood, now)
    show = Show(reader, feedback_of(denied.reason))
    state = replace(state, flood=flood)
    return state, (show, Record(_denial(state, denied, reader, now))) if journaled else (show,)


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
    """Give the list that a refusal at step 8 or later had asked."""
    if state.trust is None or denied.credential is None or denied.step < Step.REVOCATION:
        return None
    return state.trust.revocation(PassId(denied.credential), now.wall_s)


def _versioned(effect: Effect, state: State) -> Effect:
    """Stamp an event with the versions it was decided under."""
    if not isinstance(effect, Record | CommitGrant):
        return effect
    policy = 0 if state.policy is None else state.policy.bundle.version
    trust = 0 if state.trust is None else state.trust.bundle.version
    return replace(effect, draft=replace(effect.draft, policy_version=policy, trust_version=trust))
