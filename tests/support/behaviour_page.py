"""The generated parts of docs/behaviour.md, found by running the core: `python -m tests.support.behaviour_page`.

Invariant: between its markers the page is exactly what `sections` gives (tests/core/test_behaviour_page.py).
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core import companions, flood, memory, orders, replay, tap, trust, verify
from edge.core import door as doors
from edge.core.door import TABLE
from edge.core.door_state import DoorState, LineState, Mode, Trigger
from edge.core.effects import feedback_of
from tests.core.denials import refusals
from tests.core.doors import BASE, at, resting
from wire import command
from wire.names import AntiPassbackRule, DoorMode, EventKind, Reason, RelockRule, StalenessRule, Step, SuspectRule
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parents[2] / "docs" / "behaviour.md"

CHECKS = {
    Step.FORM: "size, alphabet, canonical form",
    Step.KIND: "a kind that this door takes; a code of another system only where numbers alone admit",
    Step.CLOCK: "the clock is good enough for this kind; a nonce or an enrolled credential needs none",
    Step.ISSUER_KEY: "the issuer's key is known, for passes, in its validity",
    Step.ISSUER_SIGNATURE: "the issuer signed this pass",
    Step.VALIDITY: "this tenant's pass, begun and not ended",
    Step.HOLDER: "the holder signed just now, for this site, or this door's own nonce",
    Step.REVOCATION: "not revoked, or enrolled, by a list or roster that is fresh enough",
    Step.REPLAY: "not accepted here before; a printed pass not used up",
    Step.DOOR_MODE: "the door is neither blocked nor locked down, and does not have to wait for another one",
    Step.ASSURANCE: "the credential is strong enough for this door at this hour",
    Step.ACCESS: "an access level of the pass admits here, now",
    Step.ANTI_PASSBACK: "the holder is not inside already, and the area is not full",
    Step.COMPANIONS: "the PIN, the second person, the visitor's hosts come in time",
    Step.GRANT: "the grant is durable, in time",
}

REMEDIES = {
    Reason.MALFORMED: "another code, or a damaged one; show the wallet's own code",
    Reason.TOO_LARGE: "no code of ours is that long",
    Reason.UNSUPPORTED_CREDENTIAL: "a code of another system",
    Reason.CLOCK_SUSPECT: "the door does not know the time: connect it, or wait for its time server",
    Reason.NO_TRUST: "the door has no trust bundle: connect it, or provision it again",
    Reason.UNKNOWN_ISSUER_KEY: "another tenant's pass, or a key younger than the door's trust bundle",
    Reason.ISSUER_KEY_NOT_VALID: "the pass was signed with a retired key: renew the pass",
    Reason.SIGNATURE_INVALID: "forged, damaged, or signed by another phone than the pass names",
    Reason.WRONG_ISSUER: "signed with this tenant's key, for another tenant: look into the issuing",
    Reason.CREDENTIAL_EXPIRED: "the pass has ended: renew it",
    Reason.CREDENTIAL_NOT_ACTIVE: "the pass begins later",
    Reason.PRESENTATION_EXPIRED: "an old code or a picture of one; if everybody's is, compare the clocks",
    Reason.PRESENTATION_FROM_FUTURE: "the phone's clock runs ahead of the door's",
    Reason.WRONG_AUDIENCE: "the wallet shows a code for another site",
    Reason.NONCE_MISMATCH: "an answer to a challenge that this door did not give",
    Reason.REVOKED: "somebody revoked this pass, or the door's list is older than the pass's place in it",
    Reason.REVOCATION_STALE: "the door's revocation list is too old or missing: connect it, or see its staleness rule",
    Reason.REPLAYED: "shown before; wait for the wallet's next code",
    Reason.REPLAY_CACHE_FULL: "more grants in a few minutes than people: look at the door",
    Reason.DOOR_BLOCKED: "policy blocks the door for everybody, or a command does for a while",
    Reason.DOOR_LOCKED_DOWN: "lockdown: only emergency passes and the way out",
    Reason.ASSURANCE_TOO_LOW: "this door asks for more than a printed pass",
    Reason.NO_POLICY: "the door was never given a policy: connect it",
    Reason.UNAUTHORIZED: "none of the pass's access levels is admitted at this door",
    Reason.NOT_PERMITTED_AT_THIS_TIME: "outside of the schedules of its access levels",
    Reason.ANTIPASSBACK_VIOLATION: "the holder was noted inside and not leaving: let them out, or reset by policy",
    Reason.OCCUPANCY_LIMIT: "as many are noted inside as the area may hold",
    Reason.SECOND_FACTOR_REQUIRED: "no PIN was keyed in in time, or none is enrolled for this credential",
    Reason.SECOND_FACTOR_WRONG: "another PIN than this holder's; present the credential again",
    Reason.SECOND_FACTOR_BLOCKED: "too many wrong PINs: wait until `pin_block_s` is over",
    Reason.SECOND_PERSON_REQUIRED: "nobody else who may pass came to the same reader in time",
    Reason.ESCORT_REQUIRED: "fewer hosts than this door asks for passed in time",
    Reason.CREDENTIAL_NOT_FOUND: "nobody is enrolled under this card or code, or not any more",
    Reason.DOOR_INTERLOCKED: "the other door is open, or its wire does not say that it is closed",
    Reason.USES_EXHAUSTED: "this printed pass has opened this door as often as it may",
    Reason.STORAGE_FAULT: "the disk did not take the event within 2 s: replace the card",
}

MEANINGS = {
    "mode": "what the door does at rest",
    "minimum_assurance": "the least assurance level that is admitted",
    "max_revocation_age_s": "how old a revocation list may be",
    "staleness": "what follows after that",
    "recently_issued_s": "for RECENTLY_ISSUED: how long ago a pass may have been issued",
    "suspect": "what schedules mean while the time is not known",
    "release_time_ms": "how long a grant or the exit button releases the lock",
    "extended_release_time_ms": "the same for passes with the extended-release flag; never less than the release time",
    "open_time_ms": "how long the door may stand open",
    "pre_alarm_ms": "how long before its end a warning is given; 0 for none",
    "relock": "when the lock secures again, at the latest after the release time",
    "unlock_schedule": "the schedule while which the door rests unlocked; 0 for none",
    "first_person_in": "that begins only with a first grant",
    "double_tap_ms": "two grants of one staff pass within this keep the door unlocked, or end that; 0 for never",
    "maintenance": "alarms are journaled and sound nowhere",
    "interlock": "nobody is admitted while the door that this one is paired with is open",
    "lock_time_ms": "how long the bolt may take to follow, by the lock monitor; 0 where there is none",
    "anti_passback": "what follows when somebody enters an area again without having left it",
    "anti_passback_s": "for TIMED: how long the same holder is refused after a grant",
    "forget_presence_before_s": "who was where before this moment is forgotten",
    "two_person": "two holders have to be granted one after the other",
    "escorts": "how many hosts a visitor needs; 0 for none",
    "companion_ms": "how long the door waits for a PIN, a second person or an escort",
    "pin_below": "credentials weaker than this need a PIN; IDENTIFIER for never",
    "pin_attempts": "wrong PINs of one credential after which none is taken",
    "pin_block_s": "and for how long",
    "printed_uses": "how often one printed pass opens this door; 0 for any number",
}

# Keyed by setting and name: members of different IntEnums compare equal.
RULES = {
    "staleness": {
        "DENY": "nobody is admitted",
        "RECENTLY_ISSUED": "passes issued within `recently_issued_s`",
        "NONCE_BOUND_ONLY": "credentials bound to the door's own nonce (AL 4)",
    },
    "suspect": {
        "DENY": "no access level admits",
        "IGNORE_SCHEDULES": "an access level admits at any time",
        "ALWAYS_LEVELS_ONLY": "only access levels with the built-in schedule 0, which always admits",
    },
    "relock": {
        "AFTER_RELEASE_TIME": "when the release time is over",
        "ON_OPEN": "as soon as the door opens",
        "ON_CLOSE": "as soon as the door closes again",
    },
    "anti_passback": {
        "OFF": "nothing follows",
        "ALERT": "who cannot come from where the reader leads out of is let in, and ANTI_PASSBACK_ALERT is journaled",
        "ENFORCE": "who cannot come from where the reader leads out of is refused",
        "TIMED": "who enters the same area again is refused for `anti_passback_s` after the last time",
    },
    "mode": {
        "LOCKED": "who holds a pass that admits, passes",
        "UNLOCKED": "free to all; taps are still decided and journaled",
        "BLOCKED": "nobody is admitted; the way out and fire stay free",
        "LOCKED_DOWN": "only emergency passes are admitted; the way out and fire stay free",
    },
}

FIGURES = (
    (verify.PAST_MS, "a rotating code is accepted for this long after it was signed (whole seconds count)"),
    (verify.FUTURE_MS, "and for this long before, for phones whose clock runs ahead"),
    (verify.WIDEST_MS, "the door's own uncertainty about the time widens both, never beyond this"),
    (replay.KEEP_MS, "an accepted code is remembered for this long by both clocks; what it stood for is refused after"),
    (tap.LATE_MS, "a grant that takes longer to become durable is refused"),
    (flood.WINDOW_MS, f"{flood.DENIALS_A_WINDOW} refused taps are journaled in full in this time, then their number"),
    (flood.WINDOW_MS, f"and {flood.COMMANDS_A_WINDOW} refused commands, counted apart"),
    (doors.UNLOCKED_HOLD_MS, "a door held unlocked by policy secures itself this long after its daemon died"),
    (doors.FIRE_HOLD_MS, "and during fire this long"),
    (orders.STAFF_HOLD_MS, "a door that staff left unlocked by a double tap secures itself after this"),
    (1000 * command.MAX_HOLD_S, "and no mode that a command orders lasts longer than this"),
)

COUNTS = (
    (replay.MAX_MARKS, "accepted codes remembered at once; beyond that the door refuses rather than forgets"),
    (tap.AWAITED_GRANTS, "grants that may wait for the disk at once"),
    (companions.MAX_WAITING, "people who may wait for a PIN or for others at once; of more, the first is refused"),
    (memory.MAX_FACTS, "facts about people (who is where, uses, wrong PINs); beyond it the oldest of a kind go"),
    (trust.MEMO_PASSES, "passes whose issuer's signature is remembered, which decides nothing but the time it takes"),
)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def steps() -> str:
    """The checks in their order, with the reasons that running every refusal gave."""
    seen = refusals()
    rows = (
        (
            f"{step.value} {step.name.lower().replace('_', ' ')}",
            CHECKS[step],
            ", ".join(each.name for each in seen[step]),
        )
        for step in Step
    )
    return _table(("step", "what must hold", "else"), rows)


def reasons() -> str:
    """Every reason that can be given, what the person is shown, and what it means to whoever looks after the door."""
    given = [reason for reasons in refusals().values() for reason in reasons]
    rows = ((each.name, feedback_of(each).value.replace("_", " "), REMEDIES[each]) for each in dict.fromkeys(given))
    return _table(("reason", "shown as", "what it means, what to do"), rows)


def settings() -> str:
    """Every setting of a door with its default."""
    defaults = DoorSettings()
    rows = (
        (f"`{each.name}`", _shown(each.name, getattr(defaults, each.name)), MEANINGS[each.name])
        for each in fields(defaults)
    )
    return _table(("setting", "default", "meaning"), rows)


def _shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_ms") and isinstance(value, int):
        return _duration(value)
    if name.endswith("_s") and isinstance(value, int):
        return _duration(value * 1000)
    return getattr(value, "name", str(value))


def _duration(milliseconds: int) -> str:
    if not milliseconds:
        return "0"
    for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= size and not milliseconds % size and (unit != "min" or milliseconds > 2 * size):
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def rules() -> str:
    """The choices of the settings that are rules."""
    rows = ((f"`{name}`", each.name, RULES[name][each.name]) for name, kind in _CHOICES.items() for each in kind)
    return _table(("setting", "choice", "meaning"), rows)


_CHOICES: dict[str, type[DoorMode | StalenessRule | SuspectRule | RelockRule | AntiPassbackRule]] = {
    "mode": DoorMode,
    "staleness": StalenessRule,
    "suspect": SuspectRule,
    "relock": RelockRule,
    "anti_passback": AntiPassbackRule,
}


def figures() -> str:
    """The limits that are not settings."""
    timed = [(_duration(value), meaning) for value, meaning in FIGURES]
    return _table(("figure", "meaning"), [*timed, *((f"{value:,}", meaning) for value, meaning in COUNTS)])


ALARMS = {
    EventKind.FORCED_OPEN: (EventKind.FORCED_OPEN_RESTORED, "the door opened while it was secure"),
    EventKind.OPEN_PRE_ALARM: (EventKind.DOOR_CLOSED, "it stands open and will soon have stood open too long"),
    EventKind.OPEN_TOO_LONG: (EventKind.OPEN_TOO_LONG_RESTORED, "it stood open for `open_time_ms`"),
    EventKind.LOCK_FAILED: (
        EventKind.LOCK_RESTORED,
        "the bolt did not follow within `lock_time_ms`, or the lock's adapter could not do what it was told",
    ),
    EventKind.CONTACT_FAULT: (EventKind.CONTACT_RESTORED, "the contact's wire is broken or short-circuited"),
    EventKind.TAMPER: (EventKind.TAMPER_RESTORED, "a case was opened, or its wire was cut"),
    EventKind.POWER_LOST: (EventKind.POWER_RESTORED, "the mains failed, or its wire was cut"),
    EventKind.READER_LOST: (EventKind.READER_RESTORED, "a reader or a display, which is named, does not answer"),
    EventKind.INPUTS_LOST: (
        EventKind.INPUTS_RESTORED,
        "the wires at one address of inputs, which is named, cannot be watched",
    ),
    EventKind.STORAGE_FAULT: (EventKind.STORAGE_RESTORED, "the journal cannot be written"),
    EventKind.FIRE: (EventKind.FIRE_RESET, "the fire input; a signed command ends it once the input is quiet"),
    EventKind.OCCUPANCY_WARNING: (EventKind.OCCUPANCY_NORMAL, "as many are inside as the area's warning says"),
}


def alarms() -> str:
    """What calls somebody, and what ends it."""
    rows = ((raised.name, meaning, ends.name) for raised, (ends, meaning) in ALARMS.items())
    return _table(("alarm", "raised when", "ended by"), rows)


# --- the diagram -----------------------------------------------------------------------------------------------

_REST = frozenset(BASE.values())
_REST_NAME = "at_rest"


def diagram() -> str:
    """The door's modes and what moves it between them, from the table, as a Mermaid state diagram."""
    edges: dict[tuple[str, str], list[str]] = {}
    for trigger in Trigger:
        targets = {mode: _targets(mode, trigger) for mode in Mode}
        for source, target in _grouped(targets):
            edges.setdefault((source, target), []).append(trigger.value.replace("_", " "))
    inside = "\n".join(f"    {mode.value}" for mode in Mode if mode in _REST)
    lines = [f"  {source} --> {target}: {', '.join(names)}" for (source, target), names in edges.items()]
    return "\n".join(
        [
            "```mermaid",
            "stateDiagram-v2",
            f'  state "at rest, as policy orders" as {_REST_NAME} {{',
            inside,
            "  }",
            f"  [*] --> {Mode.LOCKED.value}",
            *lines,
            "```",
        ]
    )


def _targets(mode: Mode, trigger: Trigger) -> frozenset[Mode]:
    """The other modes that a trigger leads to, under every order of a policy and every relock rule."""
    if trigger not in TABLE[mode]:
        return frozenset()
    before = resting(mode)
    found = {
        doors.step(_opened(before), trigger, at(mode=order, relock=rule, hold_ms=1_000))[0].mode
        for order in DoorMode
        for rule in RelockRule
    }
    return frozenset(found - {mode}) if found != _REST else _REST


def _opened(door: DoorState) -> DoorState:
    return DoorState(
        mode=door.mode,
        contact=LineState.ACTIVE,
        last_known=LineState.ACTIVE,
        fire=LineState.INACTIVE,
        relock_at_ms=door.relock_at_ms,
        renew_at_ms=door.renew_at_ms,
    )


def _grouped(targets: dict[Mode, frozenset[Mode]]) -> Iterable[tuple[str, str]]:
    """Draw from and to the whole group where all of it does the same."""
    resting_alike = len({targets[mode] for mode in _REST}) == 1
    for mode in Mode:
        if mode in _REST and resting_alike:
            continue
        yield from ((mode.value, name) for name in _names(targets[mode]))
    if resting_alike:
        yield from ((_REST_NAME, name) for name in _names(targets[Mode.LOCKED]))


def _names(found: frozenset[Mode]) -> list[str]:
    return [_REST_NAME] if found >= _REST else sorted(mode.value for mode in found)


# --- the page --------------------------------------------------------------------------------------------------


def sections() -> dict[str, str]:
    """Every generated part by the name in its markers."""
    return {
        "steps": steps(),
        "reasons": reasons(),
        "diagram": diagram(),
        "settings": settings(),
        "rules": rules(),
        "alarms": alarms(),
        "figures": figures(),
    }


def markers(name: str) -> tuple[str, str]:
    """The lines between which a part stands."""
    return f"<!-- {name}, written by tests/support/behaviour_page.py -->", f"<!-- end of {name} -->"


def shown_in(text: str, name: str) -> str:
    """What the page shows for a part, empty when its markers are missing."""
    begin, end = markers(name)
    return text.partition(begin)[2].partition(end)[0].strip()


def write() -> None:
    """Put today's parts into the page."""
    text = PAGE.read_text()
    for name, part in sections().items():
        begin, end = markers(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)


if __name__ == "__main__":
    write()
