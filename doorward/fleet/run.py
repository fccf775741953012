"""A whole fleet: several processes, started, followed and ended together.

Invariant: no process outlives the block that started it.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Any, Final

from doorward.errors import CliError, ExitCode
from doorward.fleet.campus import Campus
from doorward.fleet.crew import Orders
from doorward.fleet.figures import Figures
from doorward.fleet.worker import Shift

_END_S: Final = 10.0
_WAIT_S: Final = 0.5
_QUEUED: Final = 100_000
_SEEDS_APART: Final = 1_000_003

Line = tuple[int, dict[str, Any] | None]
"""A process's place, and what it said; None for its end."""
Progress = Callable[[str, Figures], None]


def share_out(
    campus: Campus, orders: Orders, *, processes: int, taps_per_s: float, seconds: float | None, drain_s: float
) -> list[Shift]:
    """Share doors and people out among processes."""
    parts = [campus.doors[place::processes] for place in range(min(processes, len(campus.doors)))]
    return [
        Shift(
            campus=Campus(campus.folder, campus.tenant, part),
            orders=Orders(
                url=orders.url,
                way=orders.way,
                broker=orders.broker,
                seed=orders.seed + _SEEDS_APART * place,
                starts_per_s=orders.starts_per_s / len(parts),
            ),
            taps_per_s=taps_per_s * len(part) / len(campus.doors),
            seconds=seconds,
            drain_s=drain_s,
        )
        for place, part in enumerate(parts)
    ]


class Fleet:
    """Processes that run; made by `open_fleet`."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes
        self._lines: Queue[Line] = Queue(_QUEUED)
        self._latest = [Figures() for _ in processes]
        self._stage = ["connecting"] * len(processes)
        self.records: list[dict[str, Any]] = []

    def stop(self) -> None:
        """Send everybody home: no more taps; the doors hand over what they have."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def follow(self, progress: Progress) -> Figures:
        """Follow until all processes have ended; gives the sums.

        Raises:
            CliError: FAILED when a process ended without its figures.
            KeyboardInterrupt: as it comes; call `follow` again to go on.
        """
        open_ends = self._open_ends()
        while open_ends:
            try:
                place, told = self._lines.get(timeout=_WAIT_S)
            except Empty:
                continue
            if told is None:
                open_ends.discard(place)
                self._require_done(place)
            elif told["at"] == "record":
                self.records.append(told)
            else:
                self._note(place, told)
                progress(min(self._stage, key=_STAGES.index), self._sum())
        return self._sum()

    def read(self, place: int) -> None:
        """Read what a process says to its end; run in a thread."""
        output = self._processes[place].stdout
        if output is not None:
            for line in output:
                self._lines.put((place, json.loads(line)))
        self._processes[place].wait()
        self._lines.put((place, None))

    def _open_ends(self) -> set[int]:
        return {place for place, stage in enumerate(self._stage) if stage != "ended"}

    def _note(self, place: int, told: dict[str, Any]) -> None:
        if told["at"] != "running":
            self._stage[place] = told["at"]
        if "figures" in told:
            self._latest[place] = Figures.from_json(told["figures"])

    def _require_done(self, place: int) -> None:
        done, self._stage[place] = self._stage[place] == "done", "ended"
        if not done:
            what = f"process {place + 1} of the fleet ended with code {self._processes[place].returncode}"
            raise CliError(ExitCode.FAILED, what=what, remedy="its words above say why")

    def _sum(self) -> Figures:
        found = Figures()
        for each in self._latest:
            found.add(each)
        return found


_STAGES: Final = ("connecting", "ready", "draining", "done", "ended")


@contextmanager
def open_fleet(shifts: Sequence[Shift]) -> Iterator[Fleet]:
    """Start the processes; whatever is left of them at the end of the block is killed."""
    processes = [_start(shift) for shift in shifts]
    fleet = Fleet(processes)
    readers = [threading.Thread(target=fleet.read, args=(place,), daemon=True) for place in range(len(processes))]
    try:
        for reader in readers:
            reader.start()
        yield fleet
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
        for reader in readers:
            reader.join(_END_S)


def _start(shift: Shift) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "doorward.fleet.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us, who send everybody home in order
    )
    if process.stdin is not None:
        process.stdin.write(json.dumps(shift.to_json()) + "\n")
        process.stdin.close()
    return process
