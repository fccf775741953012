"""The sentences for people: one for every reason, every kind of event, every wire, and all that a door may wait for.

Invariant: none is missing (tests/edge/test_explain.py); a sentence names no person and no number of a card.
Must not: hold anything but text.
"""

from collections.abc import Mapping
from typing import Final

from edge.core.companions import Need
from edge.core.door_state import InputLine, LineState
from wire.names import EventKind, Reason

REASONS: Final[Mapping[Reason, str]] = {
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
    Reason.ANTIPASSBACK_VIOLATION: "the holder was noted on the other side already, and not as coming back",
    Reason.OCCUPANCY_LIMIT: "the area is full",
    Reason.SECOND_FACTOR_REQUIRED: "a PIN is asked for, and none was keyed in or none is enrolled",
    Reason.ESCORT_REQUIRED: "a visitor's host did not come along in time",
    Reason.NO_TRUST: "this door has not learned yet whom to trust",
    Reason.NO_POLICY: "this door has no rules yet",
    Reason.STORAGE_FAULT: "the journal could not be written in time",
    Reason.COMMAND_EXPIRED: "the command came too late",
    Reason.COMMAND_REPLAYED: "the command was carried out before",
    Reason.FIRE_INPUT_ACTIVE: "the fire input is not quiet, so the fire lasts: nothing was reset",
    Reason.COMMAND_FOREIGN: "the command was not meant for this door, or not signed by its institution",
    Reason.CREDENTIAL_NOT_FOUND: "nobody is enrolled at this door under what was read",
    Reason.DOOR_INTERLOCKED: "another door has to be closed first, and is not known to be",
    Reason.SECOND_PERSON_REQUIRED: "a second person is asked for, and nobody came in time who may enter",
    Reason.SECOND_FACTOR_WRONG: "the PIN was wrong",
    Reason.SECOND_FACTOR_BLOCKED: "too many PINs were wrong; none is taken of this holder for a while",
    Reason.USES_EXHAUSTED: "the printed pass was used as often as this door lets it be",
    Reason.COMMAND_UNSUPPORTED: "this door has no camera that keeps pictures, or no cloud, for it",
    Reason.FIRE_LASTS: "fire holds the door open, and a restart would close it for a moment",
    Reason.LOCKS_EVERYONE_OUT: "they would let nobody in, or nobody of those whom the rules in force let in",
}

KINDS: Final[Mapping[EventKind, str]] = {
    EventKind.ACCESS_GRANTED: "Granted",
    EventKind.ACCESS_DENIED: "Denied",
    EventKind.DENIALS_SUPPRESSED: "More taps were refused than are journaled one by one; this event counts them.",
    EventKind.COMMANDS_SUPPRESSED: "More commands were refused than are journaled one by one; this event counts them.",
    EventKind.ACCESS_NOT_TAKEN: "Somebody was let in and did not open the door.",
    EventKind.DURESS: "A PIN under duress was keyed in: help is needed; the door does as with a right one.",
    EventKind.ANTI_PASSBACK_ALERT: "Somebody was let in who was noted on the other side already.",
    EventKind.OCCUPANCY_WARNING: "So many people are in the area now that a warning is given.",
    EventKind.OCCUPANCY_NORMAL: "Fewer people are in the area than a warning is given for.",
    EventKind.PRESENCE_RESET: "Who is where was forgotten, as the rules order.",
    EventKind.MODE_CHANGED: "From now on the door rests otherwise.",
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
    EventKind.TAMPER: "The controller's case is open, or the wire that watches it is broken.",
    EventKind.TAMPER_RESTORED: "The controller's case is closed again.",
    EventKind.POWER_LOST: "The mains failed, or the wire that watches them is broken.",
    EventKind.POWER_RESTORED: "The mains are back.",
    EventKind.STARTED: "The door's program started.",
    EventKind.STOPPED: "The door's program was stopped.",
    EventKind.READER_LOST: "A reader or a display does not answer: the one that is named.",
    EventKind.READER_RESTORED: "The reader or display that is named answers again.",
    EventKind.CLOCK_CHANGED: "The door began to know the time better, or worse.",
    EventKind.INPUTS_LOST: "Some of the door's wires cannot be watched: those of the inputs that are named.",
    EventKind.INPUTS_RESTORED: "The wires of the inputs that are named are watched again.",
    EventKind.MAINTENANCE_STARTED: "Maintenance began: alarms are journaled and call nobody.",
    EventKind.MAINTENANCE_ENDED: "Maintenance is over.",
    EventKind.TRUST_UPDATED: "A newer list of trusted keys is in force.",
    EventKind.STATUS_UPDATED: "A newer list of revoked passes is in force.",
    EventKind.POLICY_UPDATED: "Newer rules are in force.",
    EventKind.POLICY_REFUSED: "Newer rules were refused.",
    EventKind.ROSTER_UPDATED: "A newer list of enrolled credentials is in force.",
    EventKind.COMMAND_EXECUTED: "A signed command was carried out.",
    EventKind.COMMAND_REFUSED: "A command was refused.",
    EventKind.STORAGE_FAULT: "The journal could not be written, or was damaged.",
    EventKind.STORAGE_RESTORED: "The journal is written again.",
}


COUNTED: Final[Mapping[EventKind, str]] = {EventKind.PRESENCE_RESET: "people"}
"""What a count counts, where it is not times."""
MISSING: Final[Mapping[Need, str]] = {
    Need.PIN: "the holder's PIN has to be keyed in",
    Need.SECOND_PERSON: "a second person who may enter has to present a credential",
    Need.HOST: "the visitor's host has to be let in (each of them, if the door asks for two)",
}
LINES: Final[Mapping[InputLine, tuple[str, str]]] = {
    InputLine.CONTACT: ("the door is closed", "the door is open"),
    InputLine.REX: ("nobody asks to leave", "somebody asks to leave"),
    InputLine.FIRE: ("no fire is reported", "fire is reported"),
    InputLine.LOCK_MONITOR: ("the bolt is home", "the bolt is withdrawn"),
    InputLine.INTERLOCK: ("the other door is closed", "the other door is open"),
    InputLine.TAMPER: ("the case is closed", "the case is open"),
    InputLine.POWER: ("the mains are there", "the mains failed"),
}
"""What a wire tells when it is inactive, and when it is active."""


def say_line(line: InputLine, state: LineState) -> str:
    """Say what a wire tells."""
    quiet, active = LINES[line]
    return {
        LineState.INACTIVE: quiet,
        LineState.ACTIVE: active,
        LineState.UNKNOWN: "nobody reads this wire",
        LineState.FAULT: "the wire is broken",
    }[state]
