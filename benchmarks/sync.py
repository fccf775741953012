"""Synchronisation with many doors: revocations, the backlog of an outage, what an event and an idle hour cost.

A real service process with its private cluster, a real broker, and simulated doors (`doorward.fleet`) with the real
synchronisation in two processes beside them. All share the machine, so that what the doors cost is part of every
figure: real doors have processors of their own. So that the service is measured and not they, their requests over HTTPS
are lean (`lean_uplink.py`) but where it is said.
"""

import asyncio
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks import ingest
from benchmarks.result import Result
from doorward.api import CloudApi, connect
from doorward.fleet.campus import Campus, enrol_fleet, open_campus
from doorward.fleet.crew import Crew, Orders, open_crew
from doorward.fleet.people import draw_visit
from doorward.fleet.run import share_out
from doorward.fleet.uplink import Way
from tests.support.tcp_proxy import Connection, tcp_proxy
from wire.mqtt import LANES

SIZES: Final = (100, 300, 1_000)
"""Numbers of doors at which the growth is measured."""
_TAPS_A_DOOR_S: Final = 0.05
"""Three a minute at each door: ten times a campus's mean."""
_PEOPLE_S: Final = 15.0
_REVOCATIONS: Final = 6
_OWN_DOORS: Final = 20
"""So few that their own clients leave the processors alone."""
_APART_S: Final = 2.0
_INGEST_BATCHES: Final = 45
"""Of each door, of 100 events."""
_BACKLOG: Final = 250_000
_BACKLOG_DOORS: Final = 250
_STARTS_PER_S: Final = 60.0
_COST_EVENTS: Final = 400
_IDLE_S: Final = 300.0
"""What a door does at the longest intervals, every five minutes, is in it once."""
_IDLE_DOORS: Final = 20
_SUFFIX: Final = {Way.HTTPS: "", Way.MQTT: "-mqtt"}
_START_S: Final = 120.0
_POLL_S: Final = 0.1
_SESSIONS_S: Final = 10.0
"""Until all doors have a session with the broker, beside that with the cloud."""
_ANSWER_S: Final = 300.0
_ROOT: Final = Path(__file__).parent.parent
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_SHARED: Final = "service, PostgreSQL and two processes of simulated doors share the machine"


def run(*, sizes: Sequence[int] = SIZES, backlog: int = _BACKLOG) -> Iterable[Result]:
    """Measure; gives the figures in the order of docs/performance.md."""
    floor = next(iter(ingest.run(batches=_INGEST_BATCHES)))
    with _service() as service:
        yield _ingest_by_broker(service, floor.value)
        campus = service.enrol(max(*sizes, _BACKLOG_DOORS))
        for size in sizes:
            yield from _growth(service, campus.first(size))
        yield from _growth(service, campus.first(max(sizes)), Way.MQTT)
        yield _own_client(service, campus.first(_OWN_DOORS))
        for way in Way:
            yield _catch_up(service, campus.first(_BACKLOG_DOORS), backlog, floor.value, way)
        for way in Way:
            yield from asyncio.run(_costs(service, campus, way))


@dataclass(frozen=True, slots=True)
class Service:
    """A running cloud and its broker."""

    folder: Path
    pid: int
    api_url: str
    device_url: str
    broker: str

    def api(self) -> CloudApi:
        """Connect as the operator."""
        return connect(url=None, token_file=None, state=self.folder / "cloud")

    def enrol(self, count: int) -> Campus:
        """Make a fleet of so many doors."""
        with self.api() as api:
            return enrol_fleet(api, self.device_url, open_campus(self.folder / "fleet"), count, lambda *_: None)

    def cpu_s(self) -> float:
        """Give the processor seconds of the service process, without its PostgreSQL."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def rss_mb(self) -> float:
        """Give its memory."""
        words = Path(f"/proc/{self.pid}/status").read_text().partition("VmRSS:")[2].split()
        return int(words[0]) / 1024


@contextmanager
def _service() -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="doorward-bench-"))
    folder.chmod(0o711)
    place = f"127.0.0.1:{_free_port()}"
    broker = f"mqtts://{place}"
    listen = ("--api", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--broker", broker)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        process, ready = _start(stack, folder, "serve", *listen)
        # After the cloud: it makes the device CA that certifies the broker.
        _start(stack, folder, "broker", "--listen", place)
        service = Service(folder, process.pid, ready["api_url"], ready["device_url"], broker)
        with service.api() as api:
            while api.health()["checks"]["broker"]["value"] <= LANES:
                time.sleep(_POLL_S)
        yield service


def _start(stack: ExitStack, folder: Path, *words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start a command of the cloud, which ends with the stack; gives what it says when it is ready."""
    program = Path(sys.executable).with_name("doorward")
    command = [str(program), "cloud", words[0], "--state", str(folder / "cloud"), *words[1:], "--json"]
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603 - our own program
    stack.callback(process.wait, _START_S)
    stack.callback(process.terminate)
    assert process.stdout is not None  # noqa: S101 - for the type checker
    return process, next(line for line in map(json.loads, process.stdout) if line["event"] == "ready")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Doors:
    """The processes that run doors, ordered in step."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def order(self, line: str) -> None:
        """Give all the same order."""
        for process in self._processes:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def answers(self, at: str) -> list[dict[str, Any]]:
        """Read from each what it has to say next, which must be `at`."""
        found = []
        for process in self._processes:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            told = json.loads(process.stdout.readline() or '{"at": "ended"}')
            if told["at"] != at:
                message = f"a process of doors said {told['at']!r} instead of {at!r}"
                raise AssertionError(message)
            found.append(told)
        return found


@contextmanager
def _doors(
    service: Service, campus: Campus, taps_per_s: float = 0.0, way: Way = Way.HTTPS, *, lean: bool = True
) -> Iterator[Doors]:
    orders = Orders(url=service.device_url, way=way, broker=service.broker, starts_per_s=_STARTS_PER_S)
    shifts = share_out(campus, orders, processes=2, taps_per_s=taps_per_s, seconds=None, drain_s=_ANSWER_S)
    with ExitStack() as stack:
        processes = []
        for shift in shifts:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "benchmarks.sync_doors", *(["--lean"] if lean else [])],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait, _ANSWER_S)
            stack.callback(process.kill)
            processes.append(process)
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.write(json.dumps(shift.to_json()) + "\n")
            process.stdin.flush()
        doors = Doors(processes)
        doors.answers("ready")
        if way is Way.MQTT:
            time.sleep(_SESSIONS_S)
        yield doors


# --- growth ------------------------------------------------------------------------------------------------------


def _growth(service: Service, campus: Campus, way: Way = Way.HTTPS) -> Iterator[Result]:
    """Measure one number of doors: how long events take to be durable, and a revocation to be in force."""
    count: int | str = len(campus.doors)
    must = "p95 <= 1,000 ms" if count == max(SIZES) else ""
    taps_per_s = len(campus.doors) * _TAPS_A_DOOR_S
    if way is Way.MQTT:
        count = f"mqtt-{count}"
    with _doors(service, campus, taps_per_s, way) as doors:
        began_cpu_s = service.cpu_s()
        doors.order(f"people {_PEOPLE_S}")
        told = doors.answers("people")
        cpu_s, rss_mb = service.cpu_s() - began_cpu_s, service.rss_mb()
        events = sum(each["events"] for each in told)
        waits_ms = [wait_ms for each in told for wait_ms in each["waits_ms"]]
        note = f"one tap every {1 / _TAPS_A_DOOR_S:.0f} s at each door; {_SHARED}"
        yield _quantiles(f"sync-durable-{count}", waits_ms, must="", note=note)
        yield _plain(f"sync-service-cpu-{count}", cpu_s / events * 1e6, "us/event", n=events, note="without PostgreSQL")
        yield _plain(
            f"sync-service-rss-{count}", rss_mb, "MB", n=len(campus.doors), note="with up to three connections a door"
        )
        delays_ms = [delay for _ in range(_REVOCATIONS) for delay in _revoke(service, campus, doors)]
        yield _quantiles(
            f"sync-revocation-{count}",
            delays_ms,
            must=must,
            note=f"from the operator's request to the list in force at a door, and journaled there; {_SHARED}",
        )


def _own_client(service: Service, campus: Campus) -> Result:
    """Measure a revocation with the client that doors have."""
    with _doors(service, campus, lean=False) as doors:
        delays_ms = [delay for _ in range(_REVOCATIONS) for delay in _revoke(service, campus, doors)]
    note = f"{len(campus.doors)} doors with the product's own client, where the others make leaner requests"
    return _quantiles("sync-revocation-own-client", delays_ms, must="", note=note)


def _revoke(service: Service, campus: Campus, doors: Doors) -> list[float]:
    """Revoke a pass; gives after how many milliseconds each door had the list in force."""
    with service.api() as api:
        passes = ("institutions", campus.tenant, "passes")
        body = {"kind": "temporary", "accessLevels": [1]}
        name = api.post(*passes, body=body)["passId"]
        time.sleep(_APART_S)
        doors.order("watch")
        doors.answers("watching")
        began_s = time.monotonic()
        api.post(*passes, name, "revoke")
    return [(at_s - began_s) * 1000 for told in doors.answers("watched") for at_s in told["in_force_s"]]


def _ingest_by_broker(service: Service, floor: float) -> Result:
    """Measure the ingest of batches that were made beforehand, through the broker."""
    place = (service.folder / "cloud", service.api_url, service.device_url)
    loaded = ingest.load(*place, batches=_INGEST_BATCHES, broker=service.broker)
    note = f"{ingest.DOORS} doors, batches of {ingest.SIZE}; floor: the same over HTTPS in the same run; {_SHARED}"
    return ingest.figure("sync-ingest-mqtt", loaded, floor, must="", note=note)


# --- an outage's backlog -----------------------------------------------------------------------------------------


def _catch_up(service: Service, campus: Campus, backlog: int, floor: float, way: Way) -> Result:
    with _doors(service, campus, way=way) as doors:
        doors.order(f"write {backlog // len(campus.doors)}")
        doors.answers("written")
        doors.order("")
        told = doors.answers("drained")
    events = sum(each["events"] for each in told)
    seconds = max(each["ended_s"] for each in told) - min(each["began_s"] for each in told)
    value = events / seconds
    return Result(
        name=f"sync-catch-up{_SUFFIX[way]}",
        value=round(value),
        unit="events/s",
        floor=round(floor),
        ratio=round(value / floor, 3),
        n=events,
        must=">= 0.5 of the floor",
        note=f"{len(campus.doors)} doors with {events // len(campus.doors)} events each, {seconds:.1f} s in all; floor:"
        f" ingest of batches made beforehand, in the same run; the doors sign and verify meanwhile; {_SHARED}",
    )


# --- what it costs a door ----------------------------------------------------------------------------------------


class _Line:
    """Counts what goes over the connections of a proxy."""

    def __init__(self) -> None:
        self._connections: list[Connection] = []

    def greet(self, connection: Connection) -> None:
        """Take a new connection along."""
        self._connections.append(connection)

    def total_bytes(self) -> int:
        """Give the bytes of TCP's payload in both directions."""
        return sum(each.up.passed + each.down.passed for each in self._connections)


async def _costs(service: Service, campus: Campus, way: Way) -> list[Result]:
    """Measure what an event costs a door that sends each at once, and what an hour costs in which nothing happens."""
    line = _Line()
    async with tcp_proxy(*_place(service.device_url)) as cloud, tcp_proxy(*_place(service.broker)) as broker:
        cloud.greet = broker.greet = line.greet
        orders = Orders(url=cloud.url, way=way, broker=f"mqtts://127.0.0.1:{broker.port}")
        async with _quiet_crew(campus.first(1), orders) as crew:
            each = await _one_by_one(next(iter(crew.doors.values())), line, way)
        async with _quiet_crew(campus.first(_IDLE_DOORS), orders):
            idle = await _idle(line, way)
    return [*each, *idle]


def _place(url: str) -> tuple[str, int]:
    found = urlsplit(url)
    return str(found.hostname), int(found.port or 0)


@asynccontextmanager
async def _quiet_crew(campus: Campus, orders: Orders) -> AsyncIterator[Crew]:
    """Run doors that have brought up what there is, with a session at the broker if that is their way."""
    async with open_crew(campus, orders) as crew:
        await crew.ready()
        if orders.way is Way.MQTT:
            await asyncio.sleep(_SESSIONS_S)
        await crew.drained()
        yield crew


async def _one_by_one(door: Any, line: _Line, way: Way) -> list[Result]:  # noqa: ANN401 - a FleetDoor
    chance = random.Random(1)  # noqa: S311 - a load that is the same each time
    began_bytes, began_cpu_s, began = line.total_bytes(), time.process_time(), door.journal.last
    while door.journal.last - began < _COST_EVENTS:
        door.visit(draw_visit(chance))
        door.leave_alone()
        while not door.drained():  # noqa: ASYNC110 - as the door itself does not tell
            await asyncio.sleep(0.001)
    events = door.journal.last - began
    cpu_us = (time.process_time() - began_cpu_s) / events * 1e6
    note = "each event its own batch, signed, sent, its acknowledgement verified; the proxy that counts is in it"
    size = (line.total_bytes() - began_bytes) / events
    return [
        _plain(f"sync-door-cpu{_SUFFIX[way]}", cpu_us, "us/event", n=events, note=note),
        _plain(f"sync-door-bytes{_SUFFIX[way]}", size, "bytes/event", n=events, note="both directions, with TLS"),
    ]


async def _idle(line: _Line, way: Way) -> list[Result]:
    began_bytes, began_cpu_s = line.total_bytes(), time.process_time()
    await asyncio.sleep(_IDLE_S)
    doors_hours = _IDLE_DOORS * _IDLE_S / 3600
    size = (line.total_bytes() - began_bytes) / doors_hours
    cpu_s = (time.process_time() - began_cpu_s) / doors_hours
    note = f"{_IDLE_DOORS} doors for {_IDLE_S:.0f} s, to which nothing happens"
    return [
        _plain(f"sync-idle-bytes{_SUFFIX[way]}", size / 1000, "kB/hour", n=_IDLE_DOORS, note=note),
        _plain(f"sync-idle-cpu{_SUFFIX[way]}", cpu_s, "s/hour", n=_IDLE_DOORS, note=note),
    ]


def _quantiles(name: str, values_ms: Sequence[float], *, must: str, note: str) -> Result:
    cuts = statistics.quantiles(values_ms, n=100)
    p50, p95, p99 = (round(cuts[place], 1) for place in (49, 94, 98))
    return Result(
        name=name,
        value=p95,
        unit="ms",
        floor=None,
        ratio=None,
        n=len(values_ms),
        p50=p50,
        p95=p95,
        p99=p99,
        must=must,
        note=f"the 95th percentile; {note}",
    )


def _plain(name: str, value: float, unit: str, *, n: int, note: str) -> Result:
    return Result(name=name, value=round(value, 1), unit=unit, floor=None, ratio=None, n=n, note=note)


if __name__ == "__main__":
    for result in run():
        print(json.dumps(result.to_json()), flush=True)
