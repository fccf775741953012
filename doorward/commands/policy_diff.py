"""`doorward policy diff`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.files import unusable
from doorward.output import Json, JsonOption, Output, Style, local_time, rfc3339, table
from doorward.policies import load_policies
from doorward.taps import MAX_LINE_BYTES, DecidedTap, TapError, parse_tap
from doorward.whatif import Change, PolicyDiff, compare_policies, unseen_settings
from edge.core.effects import Denied
from edge.core.policy import Granted
from wire.names import Reason

EXAMPLES: Final = """
Examples:
  doorward diag taps --json > taps.jsonl
  doorward policy diff old.json new.json --timezone Europe/Vienna --events taps.jsonl
  doorward policy diff held.cose new.json --events taps.jsonl --json

Exit codes: 0 nothing would change, 1 something would, 2 nothing could be compared.
"""


def run(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The rules of now: a JSON document or a signed bundle.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The rules to be, in either form.")],
    *,
    events: Annotated[
        Path, typer.Option("--events", metavar="FILE", help="Taps, as `doorward diag taps --json` writes them.")
    ],
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            metavar="NAME",
            help="Where a JSON document's schedules are read; that of the signed bundle beside it when absent.",
        ),
    ] = None,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Tell what other rules would have decided on taps of the past.

    Every tap whose credential was verified is decided twice, under OLD and under NEW, by the door's own code: who would
    stand outside, and who would get in. What a door remembers from one tap to the next is not asked. A JSON document is
    what operators write (its name ends in .json); the signature of a bundle is not checked.
    """
    out = Output(json_lines=json_lines)
    before, after = load_policies(old, new, timezone)
    diff = compare_policies(before, after, _read_taps(events))
    if not diff.compared:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"{events} holds no tap that came as far as the rules",
            remedy="write more with: doorward diag taps --json",
        )
    for change in diff.closing + diff.opening:
        if json_lines:
            out.result(_record(change))
    unseen = unseen_settings(before, after)
    out.result(_summary(diff, unseen), *_lines(out, diff, unseen))
    return ExitCode.FAILED if diff.closing or diff.opening else ExitCode.OK


def _read_taps(path: Path) -> Iterator[DecidedTap]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
                if line.strip():
                    yield _read_tap(path, number, line)
    except OSError as error:
        raise unusable(path, error, doing="read") from error


def _read_tap(path: Path, number: int, line: bytes) -> DecidedTap:
    try:
        return parse_tap(line)
    except TapError as error:
        remedy = "write the file anew with: doorward diag taps --json"
        raise CliError(ExitCode.UNUSABLE, what=f"{path}, line {number}: {error}", remedy=remedy) from error


def _record(change: Change) -> dict[str, Json]:
    tap = change.tap
    return {
        "seq": tap.seq,
        "at": rfc3339(tap.at_ms),
        "reader": tap.reader,
        "credential": None if tap.credential is None else tap.credential.hex(),
        "old": _outcome(change.old),
        "new": _outcome(change.new),
    }


def _outcome(outcome: Granted | Denied) -> dict[str, Json]:
    if isinstance(outcome, Granted):
        return {"granted": True, "rule": outcome.rule, "step": None, "reason": None}
    return {"granted": False, "rule": None, "step": int(outcome.step), "reason": outcome.reason.name}


def _summary(diff: PolicyDiff, unseen: list[str]) -> dict[str, Json]:
    return {
        "same": not (diff.closing or diff.opening),
        "compared": diff.compared,
        "opened": diff.opened,
        "denied": diff.denied,
        "closing": len(diff.closing),
        "closing_reasons": _counts(diff.closing_reasons()),
        "opening": len(diff.opening),
        "opening_reasons": _counts(diff.opening_reasons()),
        "not_asked": diff.not_asked,
        "otherwise": diff.otherwise,
        "unseen_settings": unseen,
    }


def _counts(reasons: Counter[Reason]) -> dict[str, Json]:
    return {reason.name: count for reason, count in reasons.most_common()}


def _lines(out: Output, diff: PolicyDiff, unseen: list[str]) -> list[str]:
    closing, opening = len(diff.closing), len(diff.opening)
    lines = table(
        ("", "NEW opens", "NEW denies"),
        [("OLD opens", str(diff.opened), str(closing)), ("OLD denies", str(opening), str(diff.denied))],
    )
    lines += _part(out, f"{closing} would not get in any more:", Style.BAD, diff.closing, diff.closing_reasons())
    lines += _part(out, f"{opening} would get in who did not:", Style.CAUTION, diff.opening, diff.opening_reasons())
    if not closing and not opening:
        lines += ["", out.paint("Nothing would change.", Style.GOOD)]
    if diff.not_asked:
        lines += ["", f"{diff.not_asked} more taps were denied before the rules were asked."]
    if diff.otherwise:
        lines += ["", f"{diff.otherwise} of these taps the door decided otherwise than OLD: other rules were in force."]
    if unseen:
        lines += ["", f"Not seen in these taps: what changes by {', '.join(unseen)}."]
    return lines


def _part(out: Output, title: str, style: Style, changes: list[Change], reasons: Counter[Reason]) -> list[str]:
    if not changes:
        return []
    counts = [f"  {count:>7}  {reason.name}" for reason, count in reasons.most_common()]
    return ["", out.paint(title, style), *counts, *(f"  {_line(change)}" for change in changes)]


def _line(change: Change) -> str:
    tap = change.tap
    credential = "" if tap.credential is None else f"pass {tap.credential.hex()}  "
    return (
        f"{local_time(tap.at_ms)}  {tap.seq:>7}  {tap.reader}  {credential}{_word(change.old)} -> {_word(change.new)}"
    )


def _word(outcome: Granted | Denied) -> str:
    return outcome.rule if isinstance(outcome, Granted) else outcome.reason.name
