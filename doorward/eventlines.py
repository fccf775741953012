"""One journaled event as a line for people.

Invariant: programs get the event as the daemon gave it; this is only for reading.
"""

from doorward.diag import Answer
from doorward.output import Output, Style, local_instant

_ALARMS = frozenset({"FORCED_OPEN", "OPEN_TOO_LONG", "LOCK_FAILED", "FIRE", "CONTACT_FAULT", "READER_LOST"})
_ALARMS |= frozenset({"INPUTS_LOST", "STORAGE_FAULT", "TAMPER", "POWER_LOST", "DURESS"})
_ALARMS |= frozenset({"ANTI_PASSBACK_ALERT", "OCCUPANCY_WARNING", "COMMAND_REFUSED", "POLICY_REFUSED"})
_PASS_ID_DIGITS = 12


def event_line(out: Output, event: Answer) -> str:
    """Write an event: when, its number, what, and why."""
    kind = str(event["kind"])
    return (
        f"{local_instant(event['at'])}  {event['seq']:>7}  " + out.paint(f"{kind:<22}", _style(kind)) + _details(event)
    )


def _style(kind: str) -> Style:
    if kind == "ACCESS_GRANTED":
        return Style.GOOD
    if kind == "ACCESS_DENIED" or kind in _ALARMS:
        return Style.BAD
    return Style.QUIET


def _named(event: Answer) -> str:
    """Say what the member `credential` names; of a command it is the id (docs/spec/event.md)."""
    if event["kind"] in {"COMMAND_EXECUTED", "COMMAND_REFUSED"}:
        return "command"
    return "pass" if len(event["credential"]) == _PASS_ID_DIGITS else "enrolled"


def _details(event: Answer) -> str:
    parts = []
    if "reason" in event:
        parts.append(f"{event['reason']} (step {event['step']})" if "step" in event else str(event["reason"]))
    parts += [str(event[name]) for name in ("rule", "reader") if name in event]
    if "credential" in event:
        parts.append(f"{_named(event)} {event['credential']}")
    if "count" in event:
        parts.append(f"{event['count']} times")
    if "snapshots" in event:
        parts.append("pictures " + " ".join(event["snapshots"]))
    if "elapsed_ms" in event:
        parts.append(f"{event['elapsed_ms']:.1f} ms")
    return "  ".join(parts)
