"""What diagnostics say: events and state as plain JSON values.

Invariant: nothing here that the journal itself does not hold: no payload, no key, no name.
"""

from datetime import UTC, datetime
from typing import TypeAlias

from edge.core.tap import State
from edge.database import Journaled
from edge.explain import Explanation
from wire.event import parse_event

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


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
    """Give the door and what it decides by, with the age of each revocation list."""
    trust, policy, door = state.trust, state.policy, state.door
    statuses: list[Json] = []
    if trust is not None:
        statuses = [
            {
                "list": number,
                "sequence": held.sequence,
                "as_of": rfc3339(held.issued_at_s * 1000),
                "age_s": max(0, now_s - held.issued_at_s),
            }
            for number, held in sorted(trust.statuses.items())
        ]
    roster = state.roster
    alarms: list[Json] = [kind.name for kind in sorted(door.alarms)]
    return {
        "tenant": state.place.tenant,
        "site": state.place.site,
        "door": state.place.door,
        "mode": door.mode.value,
        "contact": door.contact.value,
        "alarms": alarms,
        "trust_version": 0 if trust is None else trust.bundle.version,
        "policy_version": 0 if policy is None else policy.bundle.version,
        "status_lists": statuses,
        "roster": None
        if roster is None
        else {
            "version": roster.version,
            "entries": roster.count,
            "as_of": rfc3339(roster.issued_at_s * 1000),
            "age_s": max(0, now_s - roster.issued_at_s),
        },
    }
