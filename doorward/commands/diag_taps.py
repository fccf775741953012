"""`doorward diag taps`."""

from typing import Final

from doorward.edgeconfig import USUAL_CONFIG, ConfigOption
from doorward.output import JsonOption, Output, Style, local_time
from doorward.recordings import RangeArgument, StateOption, open_recorded, parse_span, state_folder
from doorward.taps import DecidedTap, decided_taps, tap_record

EXAMPLES: Final = """
Examples:
  sudo -u doorward doorward diag taps --json > taps.jsonl
  doorward diag taps 1200.. --state ./copy
  doorward policy diff old.json new.json --timezone Europe/Vienna --events taps.jsonl
"""


def run(
    span: RangeArgument = "..",
    *,
    state: StateOption = None,
    config: ConfigOption = USUAL_CONFIG,
    json_lines: JsonOption = False,
) -> None:
    """Show recorded taps with what policy is told of the credential.

    The kind of pass, its flags, its access levels and the assurance: what `doorward policy diff` needs to say what
    other rules would have decided. No name and no key. Reads the door's state folder as `doorward diag replay` does.
    """
    out = Output(json_lines=json_lines)
    chosen = parse_span(span)
    seen = False
    with open_recorded(state_folder(state, config)) as recorded:
        for tap in decided_taps(recorded, chosen, lambda _inputs: None):
            seen = True
            out.result(tap_record(tap), _line(out, tap))
    if not seen:
        out.say("No taps.")


def _line(out: Output, tap: DecidedTap) -> str:
    outcome = out.paint("granted", Style.GOOD) if tap.granted else out.paint("denied ", Style.BAD)
    why = tap.rule if tap.reason is None else tap.reason.name
    parts = [f"{local_time(tap.at_ms)}  {tap.seq:>7}  {outcome}", str(why), tap.reader]
    if tap.credential is not None:
        parts.append(f"pass {tap.credential.hex()}")
    if tap.facts is not None:
        levels = ", ".join(map(str, tap.facts.access_levels)) or "none"
        parts.append(f"{tap.facts.kind.name.lower()}, levels {levels}")
    return "  ".join(parts)
