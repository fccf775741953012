"""`doorward fleet`."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.api import ADDRESS_FILE, CloudUrl, StateFolder, TokenFile, connect
from doorward.errors import CliError, ExitCode
from doorward.files import read_bounded
from doorward.fleet.audit import Audited, audit
from doorward.fleet.campus import MAX_DOORS, enrol_fleet, open_campus
from doorward.fleet.crew import Orders
from doorward.fleet.figures import Figures
from doorward.fleet.run import Fleet, open_fleet, share_out
from doorward.fleet.uplink import Traffic, Way, check_way
from doorward.output import Json, JsonOption, Output, pairs
from doorward.places import cloud_state

EXAMPLES: Final = """
Examples:
  doorward fleet --doors 100 --taps-per-s 50 --seconds 30
  doorward fleet --doors 1000 --taps-per-s 200 --processes 2 --keep ~/fleet
  doorward fleet --doors 20 --taps-per-s 5 --url https://cloud.example:8443 --cloud https://cloud.example \\
      --token-file operator.token
"""
Doors = Annotated[int, typer.Option("--doors", metavar="N", min=1, max=MAX_DOORS, help="How many doors.")]
TapsPerS = Annotated[
    float, typer.Option("--taps-per-s", metavar="R", min=0.0, help="Taps a second at all doors together.")
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", metavar="S", min=0.0, help="End after so long; else at Ctrl-C.")
]
Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Where doors connect; else as the running cloud says.")
]
Broker = Annotated[
    str | None, typer.Option("--broker", metavar="URL", help="The broker of --way mqtt, mqtts://HOST:PORT.")
]
Processes = Annotated[
    int | None, typer.Option("--processes", metavar="P", min=1, max=64, help="Share the doors out among so many.")
]
Keep = Annotated[
    Path | None,
    typer.Option("--keep", metavar="DIR", help="Keep keys and certificates here, and use those that are there."),
]
DrainS = Annotated[
    float, typer.Option("--drain-s", metavar="S", min=0.0, help="How long doors may take to hand over the rest.")
]

_MAX_FILE_BYTES: Final = 4096
_TELL_S: Final = 1.0
_MIB: Final = 1024 * 1024


def run(
    *,
    doors: Doors = 100,
    taps_per_s: TapsPerS = 20.0,
    seconds: Seconds = None,
    url: Url = None,
    way: Annotated[Way, typer.Option("--way", help="How events go up.")] = Way.HTTPS,
    broker: Broker = None,
    processes: Processes = None,
    keep: Keep = None,
    drain_s: DrainS = 120.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of who comes where, for a run to repeat.")] = 0,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Run many simulated doors against a cloud, for load.

    Makes an institution with doors, enrols a device for each by its claim code, and lets people come to them at random.
    Keys, certificates, events, batches, acknowledgements and documents are real, and so is all synchronisation; who is
    let in is drawn. With --keep, journals go on where the run before ended.

    Ctrl-C, or the end of --seconds, lets the doors hand over what they have. The cloud is then asked to verify each
    journal. Exit code 0 means that nothing is lost or stored twice, and with --way mqtt that batches did go through the
    broker; a second Ctrl-C ends at once, without a verdict.
    """
    check_way(way, broker)
    out = Output(json_lines=json_lines)
    with _folder(keep) as folder, connect(url=cloud, token_file=token_file, state=state) as api:
        address = url or _device_url(cloud_state() if state is None else state)
        began_s = time.monotonic()
        campus = open_campus(folder)
        campus = enrol_fleet(api, address, campus, doors, _every_second(out, "enrolled"))
        enrolled_s = time.monotonic() - began_s
        orders = Orders(url=address, way=way, broker=broker, seed=seed)
        shifts = share_out(
            campus,
            orders,
            processes=processes or max(1, os.cpu_count() or 1),
            taps_per_s=taps_per_s,
            seconds=seconds,
            drain_s=drain_s,
        )
        with open_fleet(shifts) as fleet:
            figures = _follow(out, fleet)
        faults = [record for record in fleet.records if record["fault"]]
        audited = list(audit(api, campus.tenant, fleet.records, told=_asked(out, len(fleet.records))))
    code = _report(out, figures, audited, faults=faults, tenant=campus.tenant, enrolled_s=enrolled_s, way=way)
    if way is Way.MQTT and not figures.traffic.by_broker:
        what = f"no batch went through the broker at {broker}; all {figures.traffic.batches:,} went over HTTPS"
        remedy = "see that the broker runs and that the cloud follows it: doorward cloud serve --broker URL"
        raise CliError(ExitCode.FAILED, what=what, remedy=remedy)
    return code


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    made = Path(tempfile.mkdtemp(prefix="doorward-fleet-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _device_url(state: Path) -> str:
    path = state / ADDRESS_FILE
    try:
        return str(json.loads(read_bounded(path, _MAX_FILE_BYTES))["device_url"])
    except (CliError, ValueError, KeyError, TypeError) as error:
        what = f"{path} does not say where doors connect"
        raise CliError(ExitCode.UNREACHABLE, what=what, remedy="start the cloud, or name the address --url") from error


def _follow(out: Output, fleet: Fleet) -> Figures:
    """Follow the fleet; the first Ctrl-C sends everybody home, the second ends at once."""
    last_s = 0.0

    def progress(stage: str, figures: Figures) -> None:
        nonlocal last_s
        if time.monotonic() - last_s < _TELL_S:
            return
        last_s = time.monotonic()
        record: dict[str, Json] = {
            "at": stage,
            "connected": figures.connected,
            "events": figures.events,
            "acknowledged": figures.acknowledged,
        }
        line = (
            f"{stage}: {figures.connected} of {figures.doors} doors connected, {figures.events:,} events,"
            f" {figures.acknowledged:,} acknowledged"
        )
        _tell(out, record, line)

    try:
        return fleet.follow(progress)
    except KeyboardInterrupt:
        _tell(out, {"at": "stopping"}, "stopping: the doors hand over what they have; Ctrl-C again ends at once")
        fleet.stop()
        return fleet.follow(progress)


def _tell(out: Output, record: dict[str, Json], line: str) -> None:
    """Tell how it goes on standard error: the result alone goes to standard output."""
    sys.stderr.write((json.dumps(record) if out.json_lines else line) + "\n")


def _every_second(out: Output, what: str) -> Callable[[int, int], None]:
    last_s = 0.0

    def told(done: int, of: int) -> None:
        nonlocal last_s
        if done == of or time.monotonic() - last_s >= _TELL_S:
            last_s = time.monotonic()
            _tell(out, {"at": what, "doors": done}, f"{what}: {done} of {of} doors")

    return told


def _asked(out: Output, of: int) -> Callable[[int], None]:
    told = _every_second(out, "verified")
    return lambda done: told(done, of)


def _report(
    out: Output,
    figures: Figures,
    audited: Sequence[Audited],
    *,
    faults: Sequence[dict[str, Json]],
    tenant: str,
    enrolled_s: float,
    way: Way,
) -> ExitCode:
    lost, duplicate = sum(each.lost for each in audited), sum(each.duplicate for each in audited)
    missing, broken = sum(each.missing for each in audited), [each.door for each in audited if not each.chain_ok]
    waits = figures.waits
    p50, p95, p99 = (waits.quantile_ms(part) for part in (0.5, 0.95, 0.99))
    record: dict[str, Json] = {
        "at": "result",
        "tenant": tenant,
        "doors": len(audited),
        "refused_doors": [fault["door"] for fault in faults],
        "enrolled_s": round(enrolled_s, 1),
        "events": figures.events,
        "acknowledged": figures.acknowledged,
        "stored": sum(each.stored for each in audited),
        "unlocks": figures.unlocks,
        "lost": lost,
        "duplicate": duplicate,
        "not_handed_over": missing,
        "broken": list(broken),
        "durable_ms": {"p50": p50, "p95": p95, "p99": p99},
        "way": way.value,
        **_sent(figures.traffic),
        "cpu_s": round(figures.cpu_s, 1),
        "rss_mib": round(figures.rss_bytes / _MIB),
    }
    lines = pairs(
        [
            ("doors", f"{len(audited)} of institution {tenant}, {len(faults)} refused by the cloud"),
            ("events", f"{figures.events:,} journaled, {figures.acknowledged:,} acknowledged, {missing:,} not yet"),
            ("lost", f"{lost:,}"),
            ("duplicate", f"{duplicate:,}"),
            ("chains", f"{len(broken)} broken" if broken else "all hold, each to its door's own head"),
            ("durable after", f"{_ms(p50)} (median), {_ms(p95)} (95 %), {_ms(p99)} (99 %)"),
            *_sent_lines(figures.traffic, way),
            ("fleet", f"{figures.cpu_s:.0f} s of processor time, {figures.rss_bytes / _MIB:.0f} MiB"),
        ]
    )
    out.result(record, *lines)
    return ExitCode.FAILED if lost or duplicate or broken or missing else ExitCode.OK


def _sent(traffic: Traffic) -> dict[str, Json]:
    return {
        "batches": traffic.batches,
        "batches_by_broker": traffic.by_broker,
        "batches_over_https": traffic.batches - traffic.by_broker,
        "retries": sum(traffic.refusals.values()),
        "retry_reasons": dict(traffic.refusals),
        "sent_bytes": traffic.sent_bytes,
        "received_bytes": traffic.received_bytes,
    }


def _sent_lines(traffic: Traffic, way: Way) -> list[tuple[str, str]]:
    retries, over_https = sum(traffic.refusals.values()), traffic.batches - traffic.by_broker
    return [
        ("way", f"{way.value}: {traffic.by_broker:,} batches through the broker, {over_https:,} over HTTPS"),
        ("batches", f"{traffic.batches:,}, {retries:,} of them without an answer that counts"),
        ("bytes", f"{traffic.sent_bytes:,} up in batches, {traffic.received_bytes:,} down"),
    ]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
