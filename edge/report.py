"""What diagnostics say: events and state as plain JSON values.

Invariant: nothing here that the journal itself does not hold: no payload, no key, no name.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import dropwhile
from typing import Final, TypeAlias

from edge.controller import LineSaid
from edge.core.companions import Need
from edge.core.door_state import InputLine, LineState, Mode
from edge.core.outcome import settings_of
from edge.core.tap import State
from edge.database import Journaled
from edge.explain import Explanation, Foreseen, explain
from edge.sentences import say_line
from wire.event import parse_event
from wire.names import EventKind
from wire.policy import OUTSIDE
from wire.roster import Roster

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_OF_COMMANDS: Final = frozenset({EventKind.COMMAND_EXECUTED, EventKind.COMMAND_REFUSED})
_FLOODED: Final = "Too much is refused at this door just now: the command went under with it. Deliver it again in 10 s."


def rfc3339(wall_ms: int) -> str:
    """Write a Unix millisecond as RFC 3339 in UTC."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain_event(seq: int, data: bytes) -> dict[str, Json]:
    """Give an event by its names; absent values are left out.

    Raises:
        WireError: the bytes are no event.
    """
    event = parse_event(data)
    row: dict[str, Json] = {
        "seq": seq,
        "at": rfc3339(event.wall_ms),
        "kind": event.kind.name,
        "granted": event.granted,
        "step": None if event.step is None else int(event.step),
        "check": None if event.step is None else event.step.name,
        "reason": None if event.reason is None else event.reason.name,
        "credential": None if event.credential is None else event.credential.hex(),
        "assurance": None if event.assurance is None else int(event.assurance),
        "reader": event.reader,
        "rule": event.rule,
        "count": event.count,
        "elapsed_ms": None if event.elapsed_us is None else event.elapsed_us / 1000,
        "policy_version": event.policy_version,
        "trust_version": event.trust_version,
        "status_sequence": event.status_sequence,
        "status_age_s": event.status_age_s,
        "clock": event.clock.name,
        "boot": event.boot,
        "device": event.device,
        "door": event.door,
        "access_point": event.access_point,
    }
    return {name: value for name, value in row.items() if value is not None}


def plain_explanation(explanation: Explanation) -> dict[str, Json]:
    """Give an explanation: the sentence, and each check with its number, question, outcome and fact."""
    checks: list[Json] = [
        {"step": int(each.step), "check": each.question, "outcome": each.outcome, "fact": each.fact}
        for each in explanation.checks
    ]
    return {"sentence": explanation.sentence, "checks": checks}


def plain_journaled(journaled: Journaled) -> dict[str, Json]:
    """Give an event that was just committed."""
    return plain_event(journaled.seq, journaled.data)


def plain_state(state: State, now_s: int) -> dict[str, Json]:
    """Give the door and what it decides by, with the age of each revocation list; of people only how many."""
    trust, policy, roster, door = state.trust, state.policy, state.roster, state.door
    alarms: list[Json] = [kind.name for kind in sorted(door.alarms)]
    return {
        "tenant": state.place.tenant,
        "site": state.place.site,
        "door": state.place.door,
        "mode": door.mode.value,
        "rests": state.orders.rest.name.lower(),
        "rests_by": state.orders.rule,
        "ordered_until": None if state.orders.ordered is None else rfc3339(state.orders.ordered.ends_at_s * 1000),
        "fire": door.mode is Mode.LOCKED_OPEN,
        "contact": door.contact.value,
        "alarms": alarms,
        "alarms_muted": settings_of(state).maintenance,
        "waiting": {need.value: _waiting_for(state, need) for need in Need},
        "areas": _plain_areas(state),
        "trust_version": 0 if trust is None else trust.bundle.version,
        "policy_version": 0 if policy is None else policy.bundle.version,
        "roster": None if roster is None else _plain_roster(roster, now_s),
        "status_lists": _plain_lists(state, now_s),
    }


def _plain_roster(roster: Roster, now_s: int) -> dict[str, Json]:
    return {
        "version": roster.version,
        "entries": roster.count,
        "as_of": rfc3339(roster.issued_at_s * 1000),
        "age_s": max(0, now_s - roster.issued_at_s),
    }


def _waiting_for(state: State, need: Need) -> int:
    return sum(each.need is need for each in state.companions.waiting)


def _plain_areas(state: State) -> list[Json]:
    """Give how many are in each area that is limited, or that somebody was noted in."""
    limits = {} if state.policy is None else state.policy.bundle.areas
    numbers = sorted({*limits, *state.memory.present} - {OUTSIDE})
    return [
        {
            "area": number,
            "present": state.memory.present.get(number, 0),
            "limit": limits[number].limit if number in limits else None,
            "warning": limits[number].warning if number in limits else None,
        }
        for number in numbers
    ]


def _plain_lists(state: State, now_s: int) -> list[Json]:
    if state.trust is None:
        return []
    return [
        {
            "list": number,
            "sequence": held.sequence,
            "as_of": rfc3339(held.issued_at_s * 1000),
            "age_s": max(0, now_s - held.issued_at_s),
        }
        for number, held in sorted(state.trust.statuses.items())
    ]


def plain_lines(lines: Mapping[InputLine, LineSaid]) -> list[Json]:
    """Give what each wire says, and since when; a wire that was never heard of is unknown."""
    return [_plain_line(line, lines.get(line)) for line in InputLine]


def _plain_line(line: InputLine, said: LineSaid | None) -> Json:
    state = LineState.UNKNOWN if said is None else said.state
    since = None if said is None else rfc3339(said.since_ms)
    return {"line": line.value, "state": state.value, "means": say_line(line, state), "since": since}


def plain_foreseen(foreseen: Foreseen) -> dict[str, Json]:
    """Give what a door would do: granted, or why not, or what it would wait for first."""
    return {
        "granted": foreseen.granted,
        "reason": None if foreseen.reason is None else foreseen.reason.name,
        "rule": foreseen.rule,
        "waits_for": None if foreseen.waits_for is None else foreseen.waits_for.value,
        **plain_explanation(foreseen.explanation),
    }


def plain_command(written: Sequence[Journaled], state: State) -> dict[str, Json]:
    """Give what the journal says of a command that was delivered, and what the door does now."""
    told = list(dropwhile(lambda each: each.event.kind not in _OF_COMMANDS, written))  # before it: what time changed
    if not told:
        return {"carried_out": False, "reason": None, "sentence": _FLOODED, "mode": state.door.mode.value, "events": []}
    last = [each.event for each in told if each.event.kind in _OF_COMMANDS][-1]
    events: list[Json] = [plain_journaled(each) for each in told]
    return {
        "carried_out": last.kind is EventKind.COMMAND_EXECUTED,
        "reason": None if last.reason is None else last.reason.name,
        "sentence": explain(last).sentence,
        "mode": state.door.mode.value,
        "events": events,
    }
