"""`python -m tests.faults`: inject faults into a running system, ask the oracle, print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cloud.errors import CloudError
from doorward.errors import CliError
from doorward.output import table
from tests.faults import negative
from tests.faults.catalogue import ALL, SELECTION
from tests.faults.runner import run_fault
from tests.faults.system import running_system
from tests.faults.table import HEADERS, Fault, Row, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.system import System
    from tests.faults.table import Own


def main() -> int:
    """Run what was asked for; 1 when something was lost, doubled, broken, or did not recover."""
    options = _options()
    chosen = [fault for fault in ALL if not options.only or any(name in fault.name for name in options.only)]
    if options.selection:
        chosen = [replace(fault, times=SELECTION[fault.name]) for fault in chosen if fault.name in SELECTION]
    if options.list:
        for fault in chosen:
            sys.stdout.write(f"{fault.times:4}  {fault.name}\n")
        return 0
    if not chosen:
        sys.stderr.write("No fault has such a name; --list names them.\n")
        return 2
    sys.stderr.write(f"seed {options.seed}\n")
    if options.negative:
        return _negative(options.seed, json_lines=options.json)
    began_s = time.monotonic()
    rows = asyncio.run(_run(chosen, times=options.times, share=options.share, seed=options.seed))
    everything = total(rows)
    if options.json:
        for row in rows:
            sys.stdout.write(json.dumps(row.to_json()) + "\n")
        told = {"seed": options.seed, "seconds": round(time.monotonic() - began_s), **everything.to_json()}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        lines = table(HEADERS, [row.cells() for row in (*rows, everything)])
        sys.stdout.write("\n".join([*lines, "", f"{time.monotonic() - began_s:.0f} s, seed {options.seed}"]) + "\n")
    return 0 if all(row.ok for row in rows) else 1


def _negative(seed: int, *, json_lines: bool) -> int:
    """Run the negative controls; 1 when the oracle finds nothing in one."""
    outcomes = []
    for control in negative.CONTROLS:
        outcomes.append(asyncio.run(negative.run_control(control, seed)))
        sys.stderr.write("  ".join(outcomes[-1].cells()) + "\n")
    if json_lines:
        for each in outcomes:
            told = {"control": each.control, "found": each.found, **each.row.to_json()}
            sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stdout.write("\n".join(table(negative.HEADERS, [each.cells() for each in outcomes])) + "\n")
    return 0 if all(each.found or each.skipped for each in outcomes) else 1


async def _run(faults: Sequence[Fault], *, times: int | None, share: float, seed: int) -> list[Row]:
    rows = []
    wanted = {fault.name: times or max(1, round(fault.times * share)) for fault in faults}
    shared = [fault for fault in faults if fault.own is None]
    if shared:
        async with running_system(seed) as system:
            rows += [await _row(system, fault, wanted[fault.name], seed) for fault in shared]
    for fault in faults:
        if fault.own is not None:
            rows.append(await _own_row(fault, fault.own, wanted[fault.name], seed))
    return rows


async def _own_row(fault: Fault, own: Own, times: int, seed: int) -> Row:
    """Give the row of a fault that brings its own system; one that does not start fails this row only."""
    skipped = own.why_not()
    if skipped is not None:
        return Row(fault.name, skipped=skipped)
    try:
        async with own.running(seed) as system:
            return await _row(system, fault, times, seed)
    except (AssertionError, CliError, CloudError, OSError) as error:
        return Row(fault.name, failed=str(error) or type(error).__name__)


async def _row(system: System, fault: Fault, times: int, seed: int) -> Row:
    # Each fault draws for itself, so that --only repeats what it did among the others.
    began_s = time.monotonic()
    row = await run_fault(system, fault, times, random.Random(f"{seed}/{fault.name}"))
    row.seconds = time.monotonic() - began_s
    sys.stderr.write("  ".join((f"{row.seconds:5.1f} s", *row.cells())) + "\n")
    return row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="faults whose name has this; may be repeated")
    parser.add_argument("--times", type=int, help="inject each so often, instead of its usual number")
    parser.add_argument("--share", type=float, default=1.0, help="of each fault's usual number")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="to repeat a run")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--selection", action="store_true", help="what script/test injects, in about a minute")
    parser.add_argument("--negative", action="store_true", help="run the systems in which the oracle must find losses")
    parser.add_argument("--list", action="store_true", help="name the faults")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
