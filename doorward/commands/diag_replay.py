"""`doorward diag replay`."""

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

from doorward.edgeconfig import USUAL_CONFIG, ConfigOption
from doorward.errors import CliError, ExitCode
from doorward.output import Json, JsonOption, Output, Style
from doorward.recordings import (
    Difference,
    Divergence,
    RangeArgument,
    StateOption,
    Tally,
    open_recorded,
    parse_span,
    state_folder,
)
from wire.names import Assurance, Step

EXAMPLES: Final = """
Examples:
  sudo -u doorward doorward diag replay
  doorward diag replay 1200..1300 --state ./copy
  doorward diag replay 1207 --json

Exit codes: 0 every decision is the same, 1 one differs, 2 nothing could be compared.
"""

_MEANINGS: Final[Mapping[Divergence, str]] = {
    Divergence.CHANGED: "decided otherwise now",
    Divergence.NOT_MADE: "journaled, but does not follow from what was recorded",
    Divergence.NOT_JOURNALED: "follows from what was recorded, but is not in the journal",
    Divergence.UNREADABLE: "the journal's bytes are no event",
    Divergence.UNCHAINED: "does not carry the hash of the event before it",
    Divergence.STATE: "from here on the door's state was another one",
}


def run(
    span: RangeArgument = "..",
    *,
    state: StateOption = None,
    config: ConfigOption = USUAL_CONFIG,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Run recorded inputs through this door's rules again, and compare.

    Every decision follows from what was recorded: inputs, time, keys, lists and rules of then. Those are given to the
    same code again, and what it decides is held against the journal, field by field. Reads the door's state folder,
    beside a running daemon or in a copy; nothing is changed and nobody is asked.
    """
    out = Output(json_lines=json_lines)
    chosen = parse_span(span)
    with open_recorded(state_folder(state, config)) as recorded:
        for difference in recorded.differences(chosen, lambda inputs: _progress(out, inputs)):
            out.result(_record(difference), _line(out, difference))
        tally = recorded.tally
    if out.is_terminal:
        out.raw("\r\x1b[K")
    out.result(_summary(tally), *_summary_lines(out, tally))
    if not tally.events and not tally.differences:
        raise CliError(
            ExitCode.UNUSABLE,
            what="nothing was compared: no event of that range is in the journal together with what caused it",
            remedy="see `doorward diag events` for the numbers, or leave the range out",
        )
    return ExitCode.FAILED if tally.differences else ExitCode.OK


def _progress(out: Output, inputs: int) -> None:
    if inputs % 500 == 0 and out.is_terminal:
        out.raw(f"\r{inputs} inputs …")


def _record(difference: Difference) -> dict[str, Json]:
    fields: dict[str, Json] = {
        name: {"journal": _plain(then), "again": _plain(again)} for name, (then, again) in difference.fields.items()
    }
    return {"seq": difference.seq, "difference": difference.divergence.value, "fields": fields}


def _plain(value: object) -> Json:
    """Write a value as `doorward diag events` does."""
    if isinstance(value, Step | Assurance):
        return int(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, int | str | None) else str(value)


def _line(out: Output, difference: Difference) -> str:
    told = [f"{name} {_shown(then)} -> {_shown(again)}" for name, (then, again) in difference.fields.items()]
    meaning = out.paint(_MEANINGS[difference.divergence], Style.BAD)
    line = f"{difference.seq:>7}  {': '.join([meaning, *filter(None, [', '.join(told)])])}"
    return f"\r\x1b[K{line}" if out.is_terminal else line


def _shown(value: object) -> str:
    return value.name if isinstance(value, IntEnum) else str(_plain(value))


def _summary(tally: Tally) -> dict[str, Json]:
    return {
        "same": bool(tally.events) and not tally.differences,
        "inputs": tally.inputs,
        "events": tally.events,
        "decisions": tally.decisions,
        "differences": tally.differences,
        "first": tally.first,
        "last": tally.last,
        "unrecorded": tally.unrecorded,
        "dropped": tally.dropped,
    }


def _summary_lines(out: Output, tally: Tally) -> list[str]:
    again = f"{tally.inputs} inputs were run again"
    if tally.events:
        again += f"; events {tally.first} to {tally.last}: {tally.events} compared, of them {tally.decisions} decided"
    lines = [f"{again}."]
    if tally.unrecorded:
        lines.append(f"{tally.unrecorded} events were not recorded with what caused them.")
    if tally.dropped:
        lines.append(f"{tally.dropped} events are in the journal no more.")
    if tally.differences:
        lines.append(out.paint(f"{tally.differences} differences.", Style.BAD))
    elif tally.events:
        lines.append(out.paint("All the same.", Style.GOOD))
    return lines
