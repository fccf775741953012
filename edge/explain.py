"""Saying why: one plain sentence and the chain of checks, from what the journal holds of an event.

Invariant: a check that was not reached is said to be so, never guessed.
Must not: ask anything but the event; what it was decided under is written in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from edge.core.companions import Need, Waiting, refusal
from edge.core.credential import Presentation
from edge.core.door import MUTED
from edge.core.effects import CommitGrant, Denied, EventDraft, Record
from edge.core.flood import Flood
from edge.core.instant import Instant
from edge.core.tap import State, Tap, handle, judge
from edge.sentences import COUNTED, KINDS, MISSING, REASONS
from wire.event import Event
from wire.names import ClockState, EventKind, Reason, Step
from wire.passes import PASS_ID_BYTES

Decided: TypeAlias = Event | EventDraft
"""What is explained: an event of the journal, or one that would be."""


def _always(fact: str) -> Callable[[Decided], str]:
    return lambda _event: fact


def _is_enrolled(event: Decided) -> bool:
    """Tell whether the roster was asked, and not an issuer's key."""
    if event.credential is None:
        return event.reason is Reason.CREDENTIAL_NOT_FOUND
    return len(event.credential) != PASS_ID_BYTES


def _signed(fact: Callable[[Decided], str]) -> Callable[[Decided], str]:
    return lambda event: "nothing is signed: the credential is enrolled" if _is_enrolled(event) else fact(event)


def _revocation(event: Decided) -> str:
    what = "list of enrolled credentials" if _is_enrolled(event) else "list of revoked passes"
    if event.status_sequence is None:
        return (
            f"no {what} was at hand, or it says nothing of this one"
            if _is_enrolled(event)
            else f"no {what} was at hand"
        )
    return f"{what} at sequence {event.status_sequence}, {event.status_age_s} s old"


def _clock(event: Decided) -> ClockState:
    return event.clock if isinstance(event, Event) else event.at.clock


def _assurance(event: Decided) -> str:
    return "not known" if event.assurance is None else f"level {int(event.assurance)} ({event.assurance.name.lower()})"


def _rules(event: Decided) -> str:
    return f"rules at version {event.policy_version}"


_CHECKS: Final[Mapping[Step, tuple[str, Callable[[Decided], str]]]] = {
    Step.FORM: ("size and form", _always("a code of this system, or an identifier")),
    Step.KIND: ("kind of credential", _assurance),
    Step.CLOCK: ("this door's clock", lambda event: f"clock {_clock(event).name.lower()}"),
    Step.ISSUER_KEY: ("issuer's key", _signed(lambda event: f"known keys at version {event.trust_version}")),
    Step.ISSUER_SIGNATURE: ("issuer's signature", _signed(_always("the institution signed the pass"))),
    Step.VALIDITY: ("the pass's dates", _signed(_always("begun, and not ended"))),
    Step.HOLDER: ("the holder's fresh signature", _signed(_always("fresh, for this site, by the pass's holder"))),
    Step.REVOCATION: ("revocation", _revocation),
    Step.REPLAY: ("shown before", _always("not accepted before, or not too often")),
    Step.DOOR_MODE: ("the door's mode", _always("the door takes credentials")),
    Step.ASSURANCE: ("strength of the credential", _assurance),
    Step.ACCESS: ("access level and schedule", _rules),
    Step.ANTI_PASSBACK: ("anti-passback and occupancy", _rules),
    Step.COMPANIONS: ("companions", lambda event: f"nobody and no PIN was missing, by {_rules(event)}"),
    Step.GRANT: ("grant", lambda event: f"by {event.rule}"),
}
"""The checks, in order."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the chain.

    Attributes:
        outcome: "passed", "failed", "waits" or "not reached".
        fact: what it saw, what it waits for, or why it failed; empty when it was not reached.
    """

    step: Step
    question: str
    outcome: str
    fact: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why, in one sentence, and the chain of checks (empty for an event that decides nothing)."""

    sentence: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a door would do.

    Attributes:
        granted: whether it would open at once.
        reason: why it would refuse, now or when nothing came of waiting; None when granted.
        waits_for: what else it would wait for; None when it would decide at once.
    """

    granted: bool
    reason: Reason | None
    rule: str | None
    waits_for: Need | None
    explanation: Explanation


def explain(event: Decided) -> Explanation:
    """Say why an event is what it is."""
    if event.granted is None or event.step is None:
        return Explanation(_plain_sentence(event), ())
    checks = tuple(_check(event, event.step, step) for step in _CHECKS)
    return Explanation(_sentence(event, event.step), checks)


def why(state: State, presentation: Presentation, now: Instant) -> Foreseen:
    """Tell what a door in this state would decide on a presentation at a moment, and why. Nothing moves by it.

    Who waits there for companions counts, the holder's own earlier try aside: as at the reader, it would be replaced.
    """
    judged = judge(state, presentation, now)
    asked = replace(state, flood=Flood(), clock=now.clock)
    if not isinstance(judged, Denied):
        credential = judged[0].credential
        others = (each for each in state.companions.waiting if each.candidate.credential.credential != credential)
        asked = replace(asked, companions=replace(state.companions, waiting=tuple(others)))
    after, effects = handle(asked, Tap(presentation), now)
    drafts = [effect.draft for effect in effects if isinstance(effect, Record | CommitGrant)]
    decided = [draft for draft in drafts if draft.granted is not None]
    if not isinstance(judged, Denied):
        decided = [draft for draft in decided if draft.credential == judged[0].credential]
    if not decided:
        return _foresee_waiting(after, after.companions.waiting[-1], now)
    draft = decided[-1]
    explained = explain(draft)
    return Foreseen(
        granted=bool(draft.granted), reason=draft.reason, rule=draft.rule, waits_for=None, explanation=explained
    )


def _foresee_waiting(state: State, each: Waiting, now: Instant) -> Foreseen:
    """Tell what is missing; in vain, it would be refused for that."""
    credential, in_vain = each.candidate.credential, refusal(each)
    draft = EventDraft(
        kind=EventKind.ACCESS_DENIED,
        at=now,
        step=in_vain.step,
        reason=in_vain.reason,
        granted=False,
        credential=credential.credential,
        assurance=credential.assurance,
        policy_version=0 if state.policy is None else state.policy.bundle.version,
        trust_version=0 if state.trust is None else state.trust.bundle.version,
        status_sequence=credential.revocation.sequence,
        status_age_s=credential.revocation.age_s,
    )
    missing = MISSING[each.need]
    checks = tuple(
        replace(check, outcome="waits", fact=missing) if check.step is in_vain.step else check
        for check in explain(draft).checks
    )
    for_s = (each.until_ms - now.monotonic_ms) // 1000
    sentence = f"Waits at check {int(in_vain.step)} (companions), up to {for_s} s: {missing}."
    explained = Explanation(sentence, checks)
    return Foreseen(granted=False, reason=in_vain.reason, rule=None, waits_for=each.need, explanation=explained)


def _plain_sentence(event: Decided) -> str:
    sentence = KINDS[event.kind]
    if event.reason is not None:
        sentence = f"{sentence.removesuffix('.')}: {REASONS[event.reason]}."
    if event.rule is not None:
        sentence = f"{sentence} ({'calls nobody: maintenance' if event.rule == MUTED else event.rule})"
    if event.count is not None:
        sentence = f"{sentence} ({event.count} {COUNTED.get(event.kind, 'times')})"
    return sentence


def _sentence(event: Decided, step: Step) -> str:
    if event.granted or event.reason is None:
        return f"Granted by {event.rule}, under rules at version {event.policy_version}."
    return f"Denied at check {int(step)} ({_CHECKS[step][0]}): {REASONS[event.reason]}."


def _check(event: Decided, reached: Step, step: Step) -> Check:
    question, fact = _CHECKS[step]
    if step > reached:
        return Check(step, question, "not reached", "")
    if step is reached and not event.granted:
        return Check(step, question, "failed", _failure(event, step))
    return Check(step, question, "passed", fact(event))


def _failure(event: Decided, step: Step) -> str:
    why = "" if event.reason is None else REASONS[event.reason]
    return f"{why} ({_revocation(event)})" if step is Step.REVOCATION else why
