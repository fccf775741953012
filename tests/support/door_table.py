"""The door's table as a page shows it, found by running the core: `python -m tests.support.door_table` writes it.

Invariant: the page between the markers is exactly what `render` gives (tests/unit/test_docs.py).
"""

from __future__ import annotations

from pathlib import Path

from edge.core.door import step
from edge.core.door_state import Circumstances, DoorState, LineState, Mode, Trigger
from edge.core.effects import Effect, Energise, Record, Secure
from edge.core.instant import Instant
from wire.names import ClockState, DoorMode, RelockRule
from wire.settings import DoorSettings

PAGE = Path(__file__).parents[2] / "docs" / "behaviour.md"
BEGIN = "<!-- the door's table, written by tests/support/door_table.py -->"
END = "<!-- end of the door's table -->"

_NOW = Instant(wall_ms=1_700_000_000_000, monotonic_ms=1_000_000, clock=ClockState.TRUSTED)
_RESTING = {
    Mode.BLOCKED: DoorMode.BLOCKED,
    Mode.LOCKED_DOWN: DoorMode.LOCKED_DOWN,
    Mode.UNLOCKED: DoorMode.UNLOCKED,
}


def render() -> str:
    """Give the table as Markdown: a row a trigger, a column a mode, with the next mode and what is done."""
    lines = ["| what happens | " + " | ".join(mode.value for mode in Mode) + " |", "|---" * (len(Mode) + 1) + "|"]
    for trigger in Trigger:
        if trigger is not Trigger.POLICY:  # its outcome is the mode that the policy orders, whatever the mode before
            cells = " | ".join(_cell(mode, trigger) for mode in Mode)
            lines.append(f"| {trigger.value.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


def _cell(mode: Mode, trigger: Trigger) -> str:
    settings = DoorSettings(
        mode=_RESTING.get(mode, DoorMode.LOCKED), relock=RelockRule.AFTER_RELEASE_TIME, lock_time_ms=1_000
    )
    before = DoorState(mode=mode, contact=LineState.INACTIVE, lock_monitor=_monitor(mode, trigger))
    after, effects = step(
        before, trigger, Circumstances(settings=settings, rest=settings.mode, now=_NOW, hold_ms=5_000, cause_seq=1)
    )
    said = [name for effect in effects if (name := _name(effect))]
    moved = [] if after.mode is mode else [f"**{after.mode.value}**"]
    return ", ".join(moved + said) or "·"


def _monitor(mode: Mode, trigger: Trigger) -> LineState:
    """Only where the bolt's time is over does its wire contradict the order."""
    if trigger is not Trigger.LOCK_DUE:
        return LineState.UNKNOWN
    return LineState.INACTIVE if mode in (Mode.ACCESSED, Mode.UNLOCKED, Mode.LOCKED_OPEN) else LineState.ACTIVE


def _name(effect: Effect) -> str:
    match effect:
        case Energise():
            return "energise"
        case Secure():
            return "secure"
        case Record(draft):
            return draft.kind.name
        case _:
            return ""


def write() -> None:
    """Put the table of today's core into the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{render()}\n{END}{after}")


if __name__ == "__main__":
    write()
