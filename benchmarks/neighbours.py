"""How much of the machine others use while a benchmark runs: a figure from a shared machine means nothing without it.

Invariant: reads /proc only (proc(5)).
Must not: change a figure; it is told beside it.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)
"""Fields of /proc/stat's first line that are not work: idle and iowait."""
_QUIET = 0.1
_SAMPLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds since boot: of the whole machine, and of some processes."""

    at_s: float
    machine_s: float
    ours_s: float

    def others_since(self, before: "Usage") -> float:
        """Give the share of all processors that others used since then, 0 to 1."""
        others_s = (self.machine_s - before.machine_s) - (self.ours_s - before.ours_s)
        return max(0.0, others_s / ((self.at_s - before.at_s) * (os.cpu_count() or 1)))


def usage(ours: Iterable[int]) -> Usage:
    """Read the counters."""
    return Usage(time.monotonic(), _machine_s(), sum(map(_process_s, ours)))


def family(pid: int) -> set[int]:
    """Give a process and all below it."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def wait_for_quiet(*, limit_s: float) -> None:
    """Return once others leave the machine alone for a second, at the latest after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        before = usage(())
        time.sleep(_SAMPLE_S)
        if usage(()).others_since(before) < _QUIET:
            return


def _machine_s() -> float:
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks for place, ticks in enumerate(fields) if place not in _IDLE) * _TICK_S


def _process_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
