"""Doors of a simulated fleet in a process of their own, for `benchmarks/sync.py`: told on input what to do.

With `--lean` they make requests that cost little (`lean_uplink.py`).

Orders, a line each, after the shift (`doorward.fleet.worker.Shift`) on the first: `people SECONDS`, `write COUNT` (each
door journals so many events while nothing goes out, and goes on at the next line), `watch` (until every door has a
newer revocation list), `end`. Answers are one JSON object a line; instants are of the machine's monotonic clock, which
all processes share.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import replace
from typing import Any, Final

import uvloop

from benchmarks.lean_uplink import LeanUplink
from doorward.fleet.crew import Crew, open_crew
from doorward.fleet.people import draw_visit
from doorward.fleet.worker import Shift, allow_many_connections
from sync.https_uplink import HttpsUplink

_POLL_S: Final = 0.01
_LIST: Final = 0
_MAX_LINE_BYTES: Final = 1 << 20
_PATIENCE_S: Final = 120.0


async def work(https: type[HttpsUplink] | None) -> None:
    """Run the doors and do what is asked; `https` makes their requests, the product's client if None."""
    lines = await _input()
    shift = Shift.from_json(json.loads(await lines.readline()))
    async with open_crew(shift.campus, replace(shift.orders, https=https)) as crew:
        await crew.ready()
        await crew.drained()
        _say(at="ready")
        while order := (await lines.readline()).decode().split():
            match order:
                case ["people", seconds]:
                    await _people(crew, shift.taps_per_s, float(seconds))
                case ["write", count]:
                    await _write(crew, int(count))
                case ["watch"]:
                    await _watch(crew)
                case _:
                    return


async def _people(crew: Crew, taps_per_s: float, seconds: float) -> None:
    """Let people come for a while; tells how long events waited to be durable, and what it cost this process."""
    crew.forget_waits()
    before = sum(door.journal.last for door in crew.doors.values())
    began_cpu_s = time.process_time()
    people = asyncio.create_task(crew.people(taps_per_s))
    await asyncio.sleep(seconds)
    people.cancel()
    for door in crew.doors.values():
        door.leave_alone()
    await crew.drained()
    cpu_s = time.process_time() - began_cpu_s
    waits_ms = [wait_ms for door in crew.doors.values() for wait_ms in door.journal.waits_ms]
    events = sum(door.journal.last for door in crew.doors.values()) - before
    _say(at="people", events=events, cpu_s=cpu_s, waits_ms=[round(wait_ms, 2) for wait_ms in waits_ms])


async def _write(crew: Crew, count: int) -> None:
    """Journal events as in an outage; tells when they began to go out and when all were durable."""
    chance = random.Random(1)  # noqa: S311 - a load that is the same each time
    for door in crew.doors.values():
        wanted = door.journal.last + count
        while door.journal.last < wanted:
            door.visit(draw_visit(chance))
            door.leave_alone()
    crew.forget_waits()
    _say(at="written")
    _stand_still()
    began_s = time.monotonic()
    await crew.drained()
    _say(at="drained", began_s=began_s, ended_s=time.monotonic(), events=count * len(crew.doors))


async def _watch(crew: Crew) -> None:
    """Tell when each door had a newer revocation list in force."""
    left = [(door, _sequence(door)) for door in crew.doors.values()]
    at_s: list[float] = []
    _say(at="watching")
    async with asyncio.timeout(_PATIENCE_S):
        while left:
            await asyncio.sleep(_POLL_S)
            waiting = [(door, before) for door, before in left if _sequence(door) == before]
            at_s += [time.monotonic()] * (len(left) - len(waiting))
            left = waiting
    _say(at="watched", in_force_s=at_s)
    await crew.drained()


def _sequence(door: Any) -> int:  # noqa: ANN401 - a FleetDoor
    held = door.materials.statuses.get(_LIST)
    return 0 if held is None else int(held.sequence)


def _stand_still() -> None:
    """Wait for a line with the whole event loop: the outage."""
    handle = sys.stdin.fileno()
    os.set_blocking(handle, True)
    while os.read(handle, 1) != b"\n":
        pass
    os.set_blocking(handle, False)


async def _input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(_MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(**told: Any) -> None:  # noqa: ANN401 - JSON
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    allow_many_connections()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(LeanUplink if "--lean" in sys.argv[1:] else None))
