"""How soon a door serves after it was started, and how much memory it takes with a camera.

The daemon is the real one, `doorward edge run`, with a revocation list of ten million passes, a camera reader and the
simulated lock; that it serves is what it tells the service manager (READY=1).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.door import DAY_S, PASSES, SITE, TENANT
from benchmarks.result import Result
from edge.config import (
    AddressConfig,
    ClockConfig,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    ReaderConfig,
    render_config,
)
from wire.keys import Ed25519Signer
from wire.names import DoorId, KeyPurpose
from wire.policy import ALWAYS, PolicyBundle, seal_policy
from wire.status_list import StatusList, seal_status_list
from wire.trust import PinnedTrust, TrustBundle, TrustedKey, encode_pinned, seal_trust

STARTS: Final = 12
DOOR: Final = DoorId("main-entrance")
MUST_START_MS: Final = 1_500
MUST_RSS_MB: Final = 120
DEADLINE_S: Final = 60.0
SETTLE_S: Final = 3.0
"""Until the camera's process has loaded its libraries."""


def run() -> Iterable[Result]:
    """Start the daemon a dozen times; measure the memory of the last one."""
    folder = Path(tempfile.mkdtemp(prefix="doorward-bench-"))
    try:
        _make_door(folder)
        starts_ms, rss_mb = _measure(folder)
    finally:
        shutil.rmtree(folder)
    starts_ms.sort()
    yield Result(
        name="daemon-start",
        value=starts_ms[len(starts_ms) // 2],
        unit="ms",
        floor=None,
        ratio=None,
        n=len(starts_ms),
        p50=starts_ms[len(starts_ms) // 2],
        p95=starts_ms[-1],
        p99=starts_ms[-1],
        must=f"value <= {MUST_START_MS:,} ms",
        note="from exec to READY=1; the first, which imports what provisioning left, is not counted",
    )
    yield Result(
        name="daemon-rss",
        value=rss_mb,
        unit="MB",
        floor=None,
        ratio=None,
        n=1,
        must=f"value <= {MUST_RSS_MB} MB",
        note="resident, daemon and camera process together; pages they share are counted in both",
    )


@dataclass(frozen=True, slots=True)
class DaemonUse:
    """What a daemon and its processes used: of one core while it was measured, and of memory at the end."""

    core_percent: float
    rss_mb: float


def daemon_use(reader: str, *, measure_s: float) -> DaemonUse:
    """Run the daemon with one reader and measure what it uses, once everything is loaded."""
    folder = Path(tempfile.mkdtemp(prefix="doorward-bench-"))
    try:
        _make_door(folder, reader)
        with _daemon(folder) as process:
            time.sleep(SETTLE_S)
            began_s, used_s = time.perf_counter(), _processor_s(process.pid)
            time.sleep(measure_s)
            share = (_processor_s(process.pid) - used_s) / (time.perf_counter() - began_s)
            return DaemonUse(100 * share, sum(_rss_mb(pid) for pid in (process.pid, *_children(process.pid))))
    finally:
        shutil.rmtree(folder)


def _processor_s(pid: int) -> float:
    """Give the processor time of a process and its children (proc_pid_stat(5), utime and stime)."""
    ticks = 0
    for each in (pid, *_children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _make_door(folder: Path, reader: str | None = None) -> None:
    now_s = int(time.time())
    root = Ed25519Signer(os.urandom(32))
    signers = {purpose: Ed25519Signer(os.urandom(32)) for purpose in (KeyPurpose.STATUS, KeyPurpose.POLICY)}
    keys = tuple(
        TrustedKey(key=each.public_key, purpose=purpose, not_before_s=now_s - DAY_S, expires_at_s=now_s + DAY_S)
        for purpose, each in signers.items()
    )
    trust = seal_trust(TrustBundle(tenant=TENANT, version=1, issued_at_s=now_s, keys=keys), root)
    status = StatusList(
        tenant=TENANT,
        list_id=0,
        sequence=1,
        issued_at_s=now_s,
        expires_at_s=now_s + DAY_S,
        ttl_s=300,
        bits=os.urandom(PASSES // 8 // 100) + bytes(PASSES // 8 - PASSES // 8 // 100),
    )
    policy = PolicyBundle(tenant=TENANT, door=DOOR, version=1, issued_at_s=now_s, levels={1: (ALWAYS,)}, schedules={})
    documents = {
        "root.cbor": encode_pinned(PinnedTrust(root.public_key, trust)),
        "trust.cose": trust,
        "status-0.cose": seal_status_list(status, signers[KeyPurpose.STATUS]),
        "policy.cose": seal_policy(policy, signers[KeyPurpose.POLICY]),
    }
    for name, data in documents.items():
        (folder / name).write_bytes(data)
    (folder / "frames").mkdir()
    config = EdgeConfig(
        state_folder=folder,
        device=DeviceConfig(id="bench", tenant=TENANT, site=SITE, door=DOOR),
        lock=AddressConfig(url=f"simulated://{folder / 'door'}"),
        inputs=(AddressConfig(url=f"simulated://{folder / 'door'}"),),
        diagnostics=DiagnosticsConfig(socket=folder / "diag.sock"),
        readers=(ReaderConfig(id="camera", url=reader or f"camera+files://{folder / 'frames'}?fps=15"),),
        clock=ClockConfig(offset_file=folder / "clock-offset-ms"),
    )
    (folder / "edge.toml").write_text(render_config(config))


def _measure(folder: Path) -> tuple[list[float], float]:
    starts_ms, rss_mb = [], 0.0
    for number in range(STARTS + 1):
        began_s = time.perf_counter()
        with _daemon(folder) as process:
            taken_ms = (time.perf_counter() - began_s) * 1000
            if number:
                starts_ms.append(taken_ms)
            if number == STARTS:
                time.sleep(SETTLE_S)
                rss_mb = sum(_rss_mb(pid) for pid in (process.pid, *_children(process.pid)))
    return starts_ms, rss_mb


@contextmanager
def _daemon(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon; the block is entered when it says that it serves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = folder / "notify"
        address.unlink(missing_ok=True)
        manager.bind(str(address))
        manager.settimeout(DEADLINE_S)
        program = Path(sys.executable).with_name("doorward")
        process = subprocess.Popen(  # noqa: S603 - the program beside this interpreter
            [program, "edge", "run", "--config", folder / "edge.toml"],
            env={**os.environ, "NOTIFY_SOCKET": str(address)},
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in manager.recv(1024):
                pass
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)


def _rss_mb(pid: int) -> float:
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [child for each in map(int, text.split()) for child in (each, *_children(each))]
