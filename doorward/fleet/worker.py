"""One process of a fleet: `python -m doorward.fleet.worker`, orders on its input, one JSON object a line on its output.

Invariant: after the first SIGTERM nobody comes any more and what is journaled is still handed over; it then ends.
Must not: print anything else, or read the operators' token.
"""

import asyncio
import contextlib
import json
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from doorward.fleet.campus import Campus, Enrolled
from doorward.fleet.crew import Crew, Orders, open_crew
from doorward.fleet.uplink import Way

_TELL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What one process does.

    Attributes:
        taps_per_s: at its doors in all.
        seconds: how long people come; None until it is told to stop.
        drain_s: how long the doors may take afterwards to hand over what they have.
    """

    campus: Campus
    orders: Orders
    taps_per_s: float
    seconds: float | None
    drain_s: float

    def to_json(self) -> dict[str, Any]:
        """Write it for the process."""
        return {
            "folder": str(self.campus.folder),
            "tenant": self.campus.tenant,
            "doors": [[each.door, each.device] for each in self.campus.doors],
            "url": self.orders.url,
            "way": self.orders.way.value,
            "broker": self.orders.broker,
            "seed": self.orders.seed,
            "starts_per_s": self.orders.starts_per_s,
            "taps_per_s": self.taps_per_s,
            "seconds": self.seconds,
            "drain_s": self.drain_s,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Shift":
        """Read what `to_json` wrote."""
        orders = Orders(
            url=told["url"],
            way=Way(told["way"]),
            broker=told["broker"],
            seed=told["seed"],
            starts_per_s=told["starts_per_s"],
        )
        doors = tuple(Enrolled(door, device) for door, device in told["doors"])
        return cls(
            campus=Campus(Path(told["folder"]), told["tenant"], doors),
            orders=orders,
            taps_per_s=told["taps_per_s"],
            seconds=told["seconds"],
            drain_s=told["drain_s"],
        )


async def work(shift: Shift) -> None:
    """Run the doors, tell how they stand every second, and give each door's record at the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_crew(shift.campus, shift.orders) as crew:
        telling = asyncio.create_task(_tell_again_and_again(crew))
        # It ends by itself when who listens is gone, killed perhaps: nobody else would ever tell us to stop.
        telling.add_done_callback(lambda _: stop.set())
        try:
            await _until(stop, crew.ready(), None)
            await _until(stop, crew.drained(), shift.drain_s)
            crew.forget_waits()
            _say({"at": "ready"})
            await _until(stop, crew.people(shift.taps_per_s), shift.seconds)
            for door in crew.doors.values():
                door.leave_alone()
            _say({"at": "draining"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(shift.drain_s):
                    await crew.drained()
        finally:
            telling.cancel()
        _say({"at": "done", "figures": crew.figures().to_json()})
        _tell_records(crew)


async def _until(stop: asyncio.Event, doing: Any, seconds: float | None) -> None:  # noqa: ANN401 - any coroutine
    """Do something until it is done, until so many seconds have passed, or until the stop."""
    task, stopping = asyncio.create_task(doing), asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in (task, stopping):
        each.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _tell_again_and_again(crew: Crew) -> None:
    while True:
        await asyncio.sleep(_TELL_S)
        _say({"at": "running", "figures": crew.figures().to_json()})


def _tell_records(crew: Crew) -> None:
    for name, door in crew.doors.items():
        record = door.record()
        failed = crew.failed.get(name)
        _say(
            {
                "at": "record",
                "door": name,
                "device": record.device,
                "epoch": record.epoch.hex(),
                "last": record.last,
                "durable": record.durable,
                "head": record.head(record.last).hex(),
                "fault": str(failed) if failed else None,
            }
        )


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def allow_many_connections() -> None:
    """Two connections a door: take as many files as the system lets us."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    allow_many_connections()
    asyncio.run(work(Shift.from_json(json.loads(sys.stdin.readline()))))
