"""What wires and commands do, tables of docs/behaviour.md found by running: `python -m tests.support.wires_page`.

Invariant: between its markers the page is exactly what `sections` gives (tests/core/test_wires_page.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.door import is_interlocked
from edge.core.door_state import InputLine, LineState
from edge.core.outcome import settings_of
from edge.core.tap import LineChanged, PolicyReplaced, State, TimeDue, handle
from tests.core.campus import KEYS, NOW, NOW_S, command, commanded, door, drafts, instant, policy
from tests.core.doors import CLOSED_DOOR, kinds
from wire.names import Action, ClockState, DoorId, DoorMode, EventKind
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parents[2] / "docs" / "behaviour.md"

_LOCK_MS = 1_000
_TOLD = {
    InputLine.CONTACT: "the door is open",
    InputLine.REX: "somebody presses the exit button",
    InputLine.FIRE: "fire",
    InputLine.LOCK_MONITOR: "the bolt is withdrawn",
    InputLine.INTERLOCK: "the other door is open",
    InputLine.TAMPER: "a case is open",
    InputLine.POWER: "the mains are lost",
}
"""What a wire says while it is active."""


def _quiet(line: InputLine) -> State:
    """A closed door at rest, all of whose wires are quiet; its bolt is watched only where its wire is looked at."""
    lock_time_ms = _LOCK_MS if line is InputLine.LOCK_MONITOR else 0
    state = replace(door(DoorSettings(interlock=True, lock_time_ms=lock_time_ms)), door=CLOSED_DOOR)
    for each in InputLine:
        state, _ = handle(state, LineChanged(each, LineState.INACTIVE), NOW)
    return state


def _after(state: State, line: InputLine, says: LineState) -> tuple[State, list[EventKind]]:
    """What a wire leads to at once, and when the bolt has had its time."""
    state, at_once = handle(state, LineChanged(line, says), NOW)
    state, later = handle(state, TimeDue(), instant(_LOCK_MS))
    return state, kinds((*at_once, *later))


def _cell(line: InputLine, says: LineState) -> str:
    before = _quiet(line)
    state, events = _after(before, line, says)
    moved = [] if state.door.mode is before.door.mode else [f"**{state.door.mode.value}**"]
    waits = ["nobody is admitted"] if is_interlocked(state.door, settings_of(state)) else []
    return ", ".join([*moved, *waits, *(kind.name for kind in events)]) or "·"


def _ends(line: InputLine) -> str:
    """What ends when an active wire is quiet again."""
    state, _ = _after(_quiet(line), line, LineState.ACTIVE)
    _, effects = handle(state, LineChanged(line, LineState.INACTIVE), instant(_LOCK_MS))
    return ", ".join(kind.name for kind in kinds(effects)) or "·"


def wires() -> str:
    """A row a wire: what follows at a locked door when it is active, broken, or not read."""
    rows = (
        (
            f"`{line.value}`",
            _TOLD[line],
            *(_cell(line, says) for says in (LineState.ACTIVE, LineState.FAULT, LineState.UNKNOWN)),
            _ends(line),
        )
        for line in InputLine
    )
    return _table(("wire", "active means", "active", "broken", "not read", "quiet again"), rows)


# --- commands --------------------------------------------------------------------------------------------------

_MEANINGS = {
    "NO_TRUST": "the door has no trust bundle: connect it, or provision it again",
    "CLOCK_SUSPECT": "the door does not know the time, so it cannot know whether the command still holds",
    "MALFORMED": "no command at all",
    "UNKNOWN_ISSUER_KEY": "signed with a key that may not sign commands now, or that the door does not know yet",
    "SIGNATURE_INVALID": "forged or damaged",
    "COMMAND_FOREIGN": "meant for another door",
    "COMMAND_REPLAYED": "its counter is not above that of the last command this door took: issue a new one",
    "COMMAND_EXPIRED": "it holds no more, or not yet; compare the clocks, and deliver commands at once",
    "COMMAND_UNSUPPORTED": "a snapshot where no camera keeps pictures (`snapshots`), a refresh where there is no cloud",
    "DOOR_LOCKED_DOWN": "no unlock and no mode undoes a lockdown",
    "DOOR_BLOCKED": "nor a policy that blocks the door; and no unlock a mode that does: release it",
    "DOOR_INTERLOCKED": "an unlock, a mode that frees: the other door is not known to be closed, and none waits for it",
    "FIRE_INPUT_ACTIVE": "the fire input is not quiet, so the fire lasts",
    "NO_POLICY": "a mode, before the door was given a policy, which could be a lockdown: connect it",
    "FIRE_LASTS": "a restart would close for seconds what the fire holds open",
}


def _refused() -> Iterable[tuple[State, bytes]]:
    """Doors and commands that they refuse."""
    usual, unlock = door(), command(Action.UNLOCK)
    yield replace(usual, trust=None), unlock
    yield replace(usual, clock=ClockState.SUSPECT), unlock
    yield usual, b"garbage"
    yield usual, command(signer=KEYS.stranger)
    yield usual, bytes([*unlock[:-1], unlock[-1] ^ 1])
    yield usual, command(target=DoorId("side-entrance"))
    yield commanded(usual, unlock)[0], unlock
    yield usual, command(Action.UNLOCK, issued_at_s=NOW_S - 60)
    yield replace(usual, unequipped=frozenset({Action.SNAPSHOT})), command(Action.SNAPSHOT)
    for mode in (DoorMode.LOCKED_DOWN, DoorMode.BLOCKED):
        yield handle(usual, PolicyReplaced(policy(DoorSettings(mode=mode)), None), NOW)[0], unlock
    yield door(DoorSettings(interlock=True)), unlock
    on_fire, _ = handle(usual, LineChanged(InputLine.FIRE, LineState.ACTIVE), NOW)
    yield on_fire, command(Action.RESET_FIRE)
    yield replace(usual, policy=None), command(Action.MODE)
    yield on_fire, command(Action.REBOOT)


def reasons() -> list[str]:
    """Why a command can be refused, in the order in which it is checked."""
    seen: dict[str, None] = {}
    for state, data in _refused():
        clock = ClockState.SUSPECT if state.clock is ClockState.SUSPECT else ClockState.TRUSTED
        _, effects = commanded(state, data, instant(clock=clock))
        seen |= {draft.reason.name: None for draft in drafts(effects) if draft.reason is not None}
    return list(seen)


def commands() -> str:
    """Every reason for which a command is refused, and what it means."""
    return _table(("reason", "what it means"), ((name, _MEANINGS[name]) for name in reasons()))


# --- the page --------------------------------------------------------------------------------------------------


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, *rows)]
    return "\n".join([lines[0], "|---" * len(titles) + "|", *lines[1:]])


def sections() -> dict[str, str]:
    """Every generated part by the name in its markers."""
    return {"wires": wires(), "commands": commands()}


def shown_in(text: str, name: str) -> str:
    """What the page shows for a part, empty when its markers are missing."""
    begin, end = _markers(name)
    return text.partition(begin)[2].partition(end)[0].strip()


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}, written by tests/support/wires_page.py -->", f"<!-- end of {name} -->"


def write() -> None:
    """Put today's parts into the page."""
    text = PAGE.read_text()
    for name, part in sections().items():
        begin, end = _markers(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)


if __name__ == "__main__":
    write()
