"""Negative controls: systems that break the promise in one way each, which the oracle must find.

A suite that never fails shows nothing. Each control runs the same faults, judged by the same oracle, until something
is lost; one in which nothing is lost in so many tries fails the suite.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.faults.disks import POWER_CUT
from tests.faults.odd_cloud import ACKNOWLEDGES_EARLY, COMMITS_ASYNCHRONOUSLY
from tests.faults.processes import KILL_CLOUD
from tests.faults.runner import run_fault
from tests.faults.system import running_system

if TYPE_CHECKING:
    from tests.faults.table import Fault, Row

DOORS: Final = 8
TRIES: Final = 25


@dataclass(frozen=True, slots=True)
class Control:
    """A broken system.

    Attributes:
        odd: the oddity of its cloud.
        fault: what brings its fault to light.
        doors_believe: its doors take the broker's word.
    """

    name: str
    odd: tuple[str, ...]
    fault: Fault
    doors_believe: bool = False


CONTROLS: Final = (
    Control("the cloud acknowledges before it commits", (ACKNOWLEDGES_EARLY,), KILL_CLOUD),
    Control("doors delete when the broker confirms (PUBACK)", (), KILL_CLOUD, doors_believe=True),
    Control("PostgreSQL with synchronous_commit=off", (COMMITS_ASYNCHRONOUSLY,), POWER_CUT),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a control came to.

    Attributes:
        row: of the fault, up to the first loss.
        skipped: why it could not be run here.
    """

    control: str
    fault: str
    row: Row

    @property
    def skipped(self) -> str | None:
        """Why the fault could not be injected here; None when it could."""
        return self.row.skipped

    @property
    def found(self) -> bool:
        """Whether the oracle found what is wrong: events that were acknowledged and are not there."""
        return self.row.lost > 0

    def cells(self) -> tuple[str, ...]:
        """Give it for people."""
        if self.skipped is not None:
            return (self.control, self.fault, "-", "-", f"skipped: {self.skipped}")
        verdict = "found, as it must be" if self.found else f"NOT FOUND: {self.row.failed or 'nothing was lost'}"
        return (self.control, self.fault, str(self.row.times), str(self.row.lost), verdict)


HEADERS: Final = ("CONTROL", "FAULT", "TIMES", "LOST", "THE ORACLE")


async def run_control(control: Control, seed: int, *, tries: int = TRIES) -> Outcome:
    """Run a broken system until the oracle finds a loss."""
    async with running_system(seed, doors=DOORS, spare=0, odd=control.odd, believing=control.doors_believe) as system:
        row = await run_fault(system, control.fault, tries, random.Random(f"{seed}/{control.name}"))
    return Outcome(control.name, control.fault.name, row)
