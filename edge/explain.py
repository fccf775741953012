"""Saying why: one plain sentence and the chain of checks, from what the journal holds of an event.

Invariant: every reason and every kind of event has a sentence (tests/edge/test_explain.py); a check that was not
reached is said to be so, never guessed.
Must not: ask anything but the event; what it was decided under is written in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from edge.core.credential import Medium, Presentation
from edge.core.effects import CommitGrant, EventDraft, Record
from edge.core.flood import Flood
from edge.core.instant import Instant
from edge.core.tap import State, Tap, handle
from wire.event import Event
from wire.names import ClockState, EventKind, Reason, Step

_REASONS: Final[Mapping[Reason, str]] = {
    Reason.MALFORMED: "what was read is not a code of this system, or it was damaged",
    Reason.TOO_LARGE: "what was read is longer than any code of this system",
    Reason.UNSUPPORTED_CREDENTIAL: "this door does not take that kind of credential",
    Reason.CLOCK_SUSPECT: "this door does not know the time well enough for it",
    Reason.UNKNOWN_ISSUER_KEY: "the pass was issued under a key that this door does not know",
    Reason.ISSUER_KEY_NOT_VALID: "the key that issued the pass is not valid now",
    Reason.SIGNATURE_INVALID: "a signature does not hold: the code was altered or forged",
    Reason.WRONG_ISSUER: "the pass belongs to another institution",
    Reason.CREDENTIAL_EXPIRED: "the pass has ended",
    Reason.CREDENTIAL_NOT_ACTIVE: "the pass has not begun",
    Reason.PRESENTATION_EXPIRED: "the code was shown too late: an old screenshot, or a phone whose clock is behind",
    Reason.PRESENTATION_FROM_FUTURE: "the code is dated in the future: a phone whose clock is ahead",
    Reason.WRONG_AUDIENCE: "the code was made for another site",
    Reason.NONCE_MISMATCH: "the answer does not belong to this door's question",
    Reason.REVOKED: "the pass was revoked",
    Reason.REVOCATION_STALE: "this door's list of revoked passes is missing or too old",
    Reason.REPLAYED: "the same code was accepted before",
    Reason.REPLAY_CACHE_FULL: "this door cannot remember more codes for the moment",
    Reason.DOOR_LOCKED_DOWN: "the door is locked down",
    Reason.DOOR_BLOCKED: "the door is blocked",
    Reason.ASSURANCE_TOO_LOW: "this door asks for a stronger credential",
    Reason.UNAUTHORIZED: "none of the pass's access levels is admitted at this door",
    Reason.NOT_PERMITTED_AT_THIS_TIME: "the pass's access levels are not admitted at this time",
    Reason.ANTIPASSBACK_VIOLATION: "the holder is inside already",
    Reason.OCCUPANCY_LIMIT: "the area is full",
    Reason.SECOND_FACTOR_REQUIRED: "a second factor is asked for and was not given",
    Reason.ESCORT_REQUIRED: "a host must be there and was not",
    Reason.NO_TRUST: "this door has not learned yet whom to trust",
    Reason.NO_POLICY: "this door has no rules yet",
    Reason.STORAGE_FAULT: "the journal could not be written in time",
    Reason.COMMAND_EXPIRED: "the command came too late",
    Reason.COMMAND_REPLAYED: "the command was carried out before",
    Reason.COMMAND_FOREIGN: "the command was not meant for this door, or not signed by its institution",
}

_KINDS: Final[Mapping[EventKind, str]] = {
    EventKind.ACCESS_GRANTED: "Granted",
    EventKind.ACCESS_DENIED: "Denied",
    EventKind.DENIALS_SUPPRESSED: "More was refused than is journaled one by one; this event counts it.",
    EventKind.DOOR_RELOCKED: "The lock secured the door again.",
    EventKind.DOOR_OPENED: "The door was opened.",
    EventKind.DOOR_CLOSED: "The door was closed.",
    EventKind.EGRESS: "Somebody asked to leave; the door was released.",
    EventKind.FORCED_OPEN: "The door was opened although nobody had been let in or out.",
    EventKind.FORCED_OPEN_RESTORED: "The forced door is closed again.",
    EventKind.OPEN_TOO_LONG: "The door stood open for too long.",
    EventKind.OPEN_TOO_LONG_RESTORED: "The door that stood open for too long is closed again.",
    EventKind.OPEN_PRE_ALARM: "The door stands open and will raise an alarm soon.",
    EventKind.LOCK_FAILED: "The lock did not do what it was told.",
    EventKind.LOCK_RESTORED: "The lock works again.",
    EventKind.FIRE: "The fire input released the door; it stays released until a person resets it.",
    EventKind.FIRE_RESET: "The state of fire was ended.",
    EventKind.CONTACT_FAULT: "The wire of the door's contact is broken or short-circuited.",
    EventKind.CONTACT_RESTORED: "The wire of the door's contact works again.",
    EventKind.STARTED: "The door's program started.",
    EventKind.STOPPED: "The door's program was stopped.",
    EventKind.READER_LOST: "A reader does not answer; nobody can use it.",
    EventKind.READER_RESTORED: "The reader answers again.",
    EventKind.CLOCK_CHANGED: "The door began to know the time better, or worse.",
    EventKind.INPUTS_LOST: "The door's wires (contact, exit button, fire) cannot be watched.",
    EventKind.INPUTS_RESTORED: "The door's wires are watched again.",
    EventKind.TRUST_UPDATED: "A newer list of trusted keys is in force.",
    EventKind.STATUS_UPDATED: "A newer list of revoked passes is in force.",
    EventKind.POLICY_UPDATED: "Newer rules are in force.",
    EventKind.ROSTER_UPDATED: "A newer list of enrolled cards and codes is in force.",
    EventKind.COMMAND_EXECUTED: "A signed command was carried out.",
    EventKind.COMMAND_REFUSED: "A command was refused.",
    EventKind.STORAGE_FAULT: "The journal could not be written, or was damaged.",
    EventKind.STORAGE_RESTORED: "The journal is written again.",
}


Decided: TypeAlias = Event | EventDraft
"""What is explained: an event of the journal, or one that would be."""


def _always(fact: str) -> Callable[[Decided], str]:
    return lambda _event: fact


def _revocation(event: Decided) -> str:
    if event.status_sequence is None:
        return "no list of revoked passes was at hand"
    return f"list of revoked passes at sequence {event.status_sequence}, {event.status_age_s} s old"


def _clock(event: Decided) -> ClockState:
    return event.clock if isinstance(event, Event) else event.at.clock


def _assurance(event: Decided) -> str:
    return "not known" if event.assurance is None else f"level {int(event.assurance)} ({event.assurance.name.lower()})"


_CHECKS: Final[Mapping[Step, tuple[str, Callable[[Decided], str]]]] = {
    Step.FORM: ("size and form", _always("a code of this system")),
    Step.KIND: ("kind of credential", _assurance),
    Step.CLOCK: ("this door's clock", lambda event: f"clock {_clock(event).name.lower()}"),
    Step.ISSUER_KEY: ("issuer's key", lambda event: f"known keys at version {event.trust_version}"),
    Step.ISSUER_SIGNATURE: ("issuer's signature", _always("the institution signed the pass")),
    Step.VALIDITY: ("the pass's dates", _always("begun, and not ended")),
    Step.HOLDER: ("the holder's fresh signature", _always("fresh, for this site, by the pass's holder")),
    Step.REVOCATION: ("revocation", _revocation),
    Step.REPLAY: ("shown before", _always("not accepted before")),
    Step.DOOR_MODE: ("the door's mode", _always("the door takes credentials")),
    Step.ASSURANCE: ("strength of the credential", _assurance),
    Step.ACCESS: ("access level and schedule", lambda event: f"rules at version {event.policy_version}"),
    Step.GRANT: ("grant", lambda event: f"by {event.rule}"),
}
"""The checks that this release makes, in order; the numbers between are kept for those to come."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the chain.

    Attributes:
        outcome: "passed", "failed" or "not reached".
        fact: what it saw, or why it failed; empty when it was not reached.
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


def explain(event: Decided) -> Explanation:
    """Say why an event is what it is."""
    if event.granted is None or event.step is None:
        return Explanation(_plain_sentence(event), ())
    checks = tuple(_check(event, event.step, step) for step in _CHECKS)
    return Explanation(_sentence(event, event.step), checks)


def why(state: State, payload: bytes, now: Instant) -> tuple[EventDraft, Explanation]:
    """Tell what a door in this state would decide on a credential at a moment, and why. Nothing moves by it.

    Args:
        state: the door's.
        payload: the text form, as a reader would read it.
        now: the moment in question.
    """
    presentation = Presentation("asked", Medium.QR, payload, now.monotonic_ms)
    _, effects = handle(replace(state, flood=Flood(), clock=now.clock), Tap(presentation), now)
    draft = next(effect.draft for effect in effects if isinstance(effect, Record | CommitGrant))
    return draft, explain(draft)


def _plain_sentence(event: Decided) -> str:
    sentence = _KINDS[event.kind]
    if event.reason is not None:
        sentence = f"{sentence.removesuffix('.')}: {_REASONS[event.reason]}."
    if event.count is not None:
        sentence = f"{sentence} ({event.count} times)"
    return sentence


def _sentence(event: Decided, step: Step) -> str:
    if event.granted or event.reason is None:
        return f"Granted by {event.rule}, under rules at version {event.policy_version}."
    return f"Denied at check {int(step)} ({_CHECKS[step][0]}): {_REASONS[event.reason]}."


def _check(event: Decided, reached: Step, step: Step) -> Check:
    question, fact = _CHECKS[step]
    if step > reached:
        return Check(step, question, "not reached", "")
    if step is reached and not event.granted:
        return Check(step, question, "failed", _failure(event, step))
    return Check(step, question, "passed", fact(event))


def _failure(event: Decided, step: Step) -> str:
    why = "" if event.reason is None else _REASONS[event.reason]
    return f"{why} ({_revocation(event)})" if step is Step.REVOCATION else why
