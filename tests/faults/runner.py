"""Inject one fault as often as wanted, wait for recovery each time, and let the oracle judge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from doorward.errors import CliError
from tests.faults.system import LostError
from tests.faults.table import Fault, Row

if TYPE_CHECKING:
    import random

from tests.faults.system import System

_MOMENT_S: Final = 0.4
_MISSES: Final = 20
"""Rounds in a row in which a fault found nothing to break."""


async def run_fault(system: System, fault: Fault, times: int, chance: random.Random) -> Row:
    """Give the row of a fault.

    After one that the system does not survive, those that follow fail as well.
    """
    row = Row(fault.name, skipped=fault.why_not(system))
    if row.skipped is not None:
        return row
    misses = 0
    try:
        while row.times < times and misses < _MISSES:
            await asyncio.sleep(chance.uniform(0.0, _MOMENT_S))
            injected = await fault.inject(system, chance, times - row.times)
            recovery_s = await system.recovered()
            misses = 0 if injected.times else misses + 1
            if injected.times:
                row.times += injected.times
                row.recovery_s += (recovery_s,) if injected.recovery_s is None else injected.recovery_s
        report = await system.check()
    except LostError as error:
        report, row.failed = error.report, str(error)
        row.times += 1
    except (AssertionError, CliError, OSError) as error:  # a TimeoutError is an OSError
        row.failed = str(error) or type(error).__name__
        system.join()
        return row
    row.events, row.lost, row.duplicate, row.broken = report.events, report.lost, report.duplicate, report.broken
    if row.failed:
        system.join()
        return row
    if misses:
        row.failed = f"only {row.times} of {times} could be injected"
    elif not report.complete:
        row.failed = "; ".join(report.sentences())
    return row
