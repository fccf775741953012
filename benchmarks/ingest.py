"""Cloud ingest: signed batches of 100 over mutual TLS, verified, durable in PostgreSQL, acknowledged.

A real service process with its private cluster on one side, a load process with really enrolled twin doors on the
other; both, and PostgreSQL, share the machine. The floor is PostgreSQL alone: one server-side COPY, from a binary file
on the server, of the very rows that were just stored, into the same partitions with the same indexes, commit included.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.result import Result
from cloud.cluster import PrivateCluster
from cloud.events.rows import COLUMNS

DOORS = 64
BATCHES = 90
WARM_UP = 15
SIZE = 100
PATIENCE_S = 20.0
_FLOOR_RUNS = 3
_START_S = 120
_LOAD_S = 600
_ROOT = Path(__file__).parent.parent
_MUST = ">= 0.2 of the floor and > 50,000 events/s"
_NOTE = (
    "floor: server-side COPY FROM a binary server file of the same rows into the same day partitions and indexes, "
    "one transaction with its commit, best of 3; service, load and PostgreSQL share the machine; "
    "fsync, full_page_writes and synchronous_commit on"
)


def run(*, doors: int = DOORS, batches: int = BATCHES) -> Iterable[Result]:
    """Measure, and give the throughput with the latencies of single batches."""
    state = Path(tempfile.mkdtemp(prefix="doorward-bench-"))
    state.chmod(0o711)
    try:
        with _service(state) as (api, devices):
            loaded = load(state, api, devices, doors=doors, batches=batches)
            floor, rows = asyncio.run(_floor(state))
    finally:
        shutil.rmtree(state, ignore_errors=True)
    sent = doors * batches * SIZE
    if rows != sent:
        message = f"{sent} events were acknowledged, {rows} are stored"
        raise AssertionError(message)
    note = f"{_NOTE}; other programs used {loaded['others']:.0%} of the processors meanwhile"
    yield figure("ingest", loaded, floor, must=_MUST, note=note)


def figure(name: str, loaded: dict[str, Any], floor: float, *, must: str, note: str) -> Result:
    """Make the figure of what `load` gives; `floor` in events a second."""
    value = loaded["events"] / loaded["elapsed_s"]
    cuts = statistics.quantiles(loaded["latencies_ms"], n=100)
    return Result(
        name=name,
        value=round(value),
        unit="events/s",
        floor=round(floor),
        ratio=round(value / floor, 3),
        n=loaded["events"],
        p50=round(cuts[49], 2),
        p95=round(cuts[94], 2),
        p99=round(cuts[98], 2),
        must=must,
        note=note,
    )


@contextmanager
def _service(state: Path) -> Iterator[tuple[str, str]]:
    """Run a service process; gives the URLs of its two listeners."""
    listen = ("--api", "127.0.0.1:0", "--devices", "127.0.0.1:0")
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*_service_command(), "--state", str(state), *listen], cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=_log(state)
    )
    try:
        yield _addresses(state, process)
    finally:
        process.terminate()
        process.wait(timeout=_START_S)


def _service_command() -> list[str]:
    """Give the command; DOORWARD_BENCH_PROFILE=FILE runs it under cProfile."""
    profile = os.environ.get("DOORWARD_BENCH_PROFILE")
    watched = ["-m", "cProfile", "-o", profile] if profile else []
    return [sys.executable, *watched, "-m", "cloud"]


def _log(state: Path) -> Any:  # noqa: ANN401 - a file or a number, as subprocess takes it
    return (state / "bench.log").open("wb")


def _addresses(state: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            found = json.loads((state / "cloud.json").read_text())
        except (FileNotFoundError, ValueError):
            time.sleep(0.1)
            continue
        return found["api_url"], found["device_url"]
    message = f"the service did not start: {(state / 'bench.log').read_text()[-2000:]}"
    raise AssertionError(message)


def load(
    state: Path, api: str, devices: str, *, doors: int = DOORS, batches: int = BATCHES, broker: str = ""
) -> dict[str, Any]:
    """Let doors send batches to a service, over HTTPS or through a broker; gives what `ingest_load.py` tells."""
    command = [sys.executable, "-m", "benchmarks.ingest_load", "--state", str(state), "--api", api]
    command += ["--broker", broker] if broker else []
    command += ["--devices", devices, "--doors", str(doors), "--batches", str(batches)]
    command += ["--warm-up", str(WARM_UP), "--size", str(SIZE), "--patience-s", str(PATIENCE_S)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, timeout=_LOAD_S, check=True)  # noqa: S603 - as above
    result: dict[str, Any] = json.loads(done.stdout)
    return result


async def _floor(state: Path) -> tuple[float, int]:
    """Copy the stored rows out, empty the table, and time COPY putting them back; rows a second, and their number."""
    connection = await asyncpg.connect(PrivateCluster(state).url())
    try:
        folder = await connection.fetchval("SHOW data_directory")
        file = f"{folder}/floor.copy"
        columns = ", ".join(COLUMNS)
        rows_out = f"COPY (SELECT {columns} FROM events) TO '{file}' (FORMAT binary)"  # noqa: S608 - all constants
        done = await connection.execute(rows_out)
        rows = int(done.split()[1])
        times_s = []
        for _ in range(_FLOOR_RUNS):
            await connection.execute("TRUNCATE events")
            await connection.execute("CHECKPOINT")
            started_s = time.perf_counter()
            await connection.execute(f"COPY events ({columns}) FROM '{file}' (FORMAT binary)", timeout=_LOAD_S)
            times_s.append(time.perf_counter() - started_s)
        return rows / min(times_s), rows
    finally:
        await connection.close()


if __name__ == "__main__":
    for result in run():
        print(json.dumps(result.to_json()))
