"""The process that holds a relay: whatever happens, no door stays open and none locks in a fire."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from edge.ports import InputsError, Lock, LockError, Reason
from firmware_adapters.catalogue import open_inputs, open_lock
from firmware_adapters.relay_records import Energise
from firmware_adapters.relay_worker import Relay, serve
from firmware_adapters.worker_lock import WorkerLock
from tests.support.gpio_bench import FilesLockBench
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_HOLDER = Path(__file__).parents[1] / "support" / "lock_holder.py"


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> FilesLockBench:
    return FilesLockBench(tmp_path)


@pytest.fixture(name="lock")
async def _lock(bench: FilesLockBench) -> AsyncIterator[WorkerLock]:
    lock = bench.open()
    assert isinstance(lock, WorkerLock)
    yield lock
    async with asyncio.timeout(DEADLINE_S):
        await lock.aclose()


@contextmanager
def _daemon(bench: FilesLockBench, hold_ms: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon of its own that has unlocked the door for `hold_ms`."""
    root = _HOLDER.parents[2]
    with subprocess.Popen(
        [sys.executable, str(_HOLDER), bench.url, str(hold_ms)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"unlocked\n"
        yield daemon
        daemon.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_daemon_that_is_killed_or_hangs_holds_no_door_open(bench: FilesLockBench, number: signal.Signals):
    with _daemon(bench, 3000) as daemon:  # far longer than this process may be kept from looking
        began_s = time.monotonic()
        assert bench.unlocked()
        daemon.send_signal(number)
        await until(lambda: not bench.unlocked())
        assert time.monotonic() - began_s >= 1


async def test_a_killed_daemons_successor_takes_the_relay_at_once_and_secures_it(bench: FilesLockBench):
    with _daemon(bench, 86_400_000) as daemon:
        daemon.kill()
        daemon.wait()
        assert bench.unlocked()
        lock = bench.open()
        assert not bench.unlocked()
        await lock.aclose()


def test_a_relay_whose_daemon_is_gone_is_secured_when_a_signal_asks_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    levels: list[int] = []
    wire = SimpleNamespace(set=levels.append, comes_back=False)
    relay = Relay(wire, SimpleNamespace(unlocked=1))  # type: ignore[arg-type]
    relay.obey(Energise(1, 60_000))
    relay.end()
    serve(relay, SimpleNamespace(gone=True))  # type: ignore[arg-type]
    relay.secure_at_last()
    assert levels == [1, 0]


async def test_a_daemon_that_lives_is_not_robbed(bench: FilesLockBench):
    with _daemon(bench, 86_400_000), pytest.raises(LockError) as caught:
        bench.open()
    await bench.open().aclose()  # its successor ends the process that would hold the relay for the rest of the day
    assert caught.value.reason is Reason.BUSY
    assert "in use by doorward-lock" in caught.value.what


async def test_a_relay_process_that_dies_while_the_door_is_held_is_replaced(bench: FilesLockBench, lock: WorkerLock):
    await lock.energise(hold_ms=60_000, cause_seq=7)
    first = lock.worker_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: lock.worker_pid not in {None, first} and bench.unlocked())
    await lock.release()
    assert not bench.unlocked()


async def test_a_relay_process_that_dies_while_secure_is_replaced_by_the_next_order(
    bench: FilesLockBench, lock: WorkerLock
):
    assert lock.worker_pid is not None
    os.kill(lock.worker_pid, signal.SIGKILL)
    await lock.energise(hold_ms=60_000, cause_seq=7)
    assert bench.unlocked()


async def test_a_relay_process_that_hangs_is_replaced_within_the_controllers_patience(
    bench: FilesLockBench, lock: WorkerLock
):
    await lock.energise(hold_ms=60_000, cause_seq=7)
    assert lock.worker_pid is not None
    os.kill(lock.worker_pid, signal.SIGSTOP)
    await lock.release()
    assert not bench.unlocked()
    await lock.energise(hold_ms=60_000, cause_seq=8)
    assert bench.unlocked()


async def test_a_relay_process_that_is_terminated_secures_the_door_first(bench: FilesLockBench):
    with _daemon(bench, 86_400_000) as daemon:
        daemon.send_signal(signal.SIGSTOP)
        holder = int((bench.folder / ".17.holder").read_text().split()[1])
        os.kill(holder, signal.SIGTERM)
        await until(lambda: not bench.unlocked())


@pytest.mark.parametrize(
    ("options", "locked", "unlocked"),
    [
        ("", "0", "1"),
        ("&fail=secure&active=low", "1", "0"),
        ("&fail=safe", "1", "0"),
        ("&fail=safe&active=low", "0", "1"),
    ],
)
async def test_what_the_wire_does_follows_lock_and_relay(tmp_path: Path, options: str, locked: str, unlocked: str):
    bench = FilesLockBench(tmp_path, options)
    lock: Lock = bench.open()
    assert bench.level() == locked
    await lock.energise(hold_ms=60_000, cause_seq=1)
    assert bench.level() == unlocked
    await lock.aclose()
    assert bench.level() == locked


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    bench = FilesLockBench(tmp_path)
    bench.folder.rmdir()
    with pytest.raises(LockError) as caught:
        bench.open()
    assert caught.value.reason is Reason.LOST


def test_a_chip_that_is_not_there_is_told(tmp_path: Path):

    with pytest.raises(LockError) as caught:
        open_lock(f"gpio://{tmp_path}/gpiochip9?lock=17")
    assert caught.value.reason is Reason.LOST
    (tmp_path / "file").write_text("no chip")
    with pytest.raises(LockError) as caught:
        open_lock(f"gpio://{tmp_path}/file?lock=17")
    assert caught.value.reason is Reason.UNSUPPORTED
    with pytest.raises(InputsError) as missing:
        open_inputs(f"gpio://{tmp_path}/gpiochip9?contact=5")
    assert missing.value.reason is Reason.LOST


@pytest.mark.parametrize("url", ["gpio+files:///tmp", "gpio+files:///tmp?contact=5&rex=5"])
def test_inputs_without_lines_or_with_one_line_twice_are_refused(url: str):

    with pytest.raises(InputsError) as caught:
        open_inputs(url)
    assert caught.value.reason is Reason.UNSUPPORTED
