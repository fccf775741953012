"""Pictures around an event: off unless wanted, kept for the owner alone, named by diagnostics, gone in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.config import AddressConfig, ClockConfig, DeviceConfig, DiagnosticsConfig, EdgeConfig, ReaderConfig
from edge.config import SnapshotsConfig as Limits
from edge.core.effects import EventDraft
from edge.core.instant import Instant
from edge.daemon import serve
from edge.database import Database, Entry, Identity, Journaled
from edge.snapshots import FOLDER, WAITING, Snapshots
from edge.store import Store
from firmware_adapters.camera_frames import load_file
from firmware_adapters.qr_decode import decode_frame
from tests.support.images import background, code, frame_with, png
from tests.support.readers import FolderBench, listening
from tests.support.tenant import TenantKeys
from tests.support.waiting import DEADLINE_S, until
from wire.names import ClockState, DeviceId, DoorId, EventKind
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge.report import Json

EPOCH = bytes.fromhex("00112233445566aa")
HOUR_S = 3600
NOW = Instant(wall_ms=1_800_000_000_000, monotonic_ms=1_000, clock=ClockState.TRUSTED)


class PaperCamera:
    """A camera that writes one empty picture when it is asked."""

    def __init__(self) -> None:
        self.remembers = False
        self.asked: list[str] = []

    def remember_pictures(self) -> None:
        self.remembers = True

    async def keep_pictures(self, prefix: Path) -> int:
        self.asked.append(prefix.name)
        prefix.with_name(prefix.name + "-1.jpg").write_bytes(b"x" * 1000)
        return 1


def snapshots(
    folder: Path, *, keep_hours: int = 1, most_mb: int = 200, now_s: float = 0, **cameras: PaperCamera
) -> Snapshots:
    limits = Limits(keep_hours=keep_hours, most_mb=most_mb)
    return Snapshots(folder, EPOCH, cameras=cameras, limits=limits, now_s=lambda: now_s)


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[Store]:
    identity = Identity(device=DeviceId("door-1"), door=DoorId("main"), access_point="in")
    store = Store(Database(tmp_path / "journal.db", identity, new_epoch=EPOCH), max_events=1000)
    yield store
    await store.aclose()


async def journal(store: Store, kind: EventKind, reader: str | None = None) -> Journaled:
    return await store.append(Entry(draft=EventDraft(kind=kind, at=NOW, reader=reader)))


@contextlib.asynccontextmanager
async def at_work(snapshots: Snapshots) -> AsyncIterator[None]:
    task = asyncio.create_task(snapshots.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def old(folder: Path, name: str, *, written_s: float, size: int = 1000) -> Path:
    """Leave a picture of an earlier time."""
    path = folder / FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (written_s, written_s))
    return path


async def test_an_event_of_a_camera_gets_the_pictures_of_that_camera(tmp_path: Path, store: Store):
    outside, inside = PaperCamera(), PaperCamera()
    kept = snapshots(tmp_path, outside=outside, inside=inside)
    assert outside.remembers
    assert inside.remembers
    async with at_work(kept):
        granted = await journal(store, EventKind.ACCESS_GRANTED, "outside")
        kept.journaled(granted)
        await until(lambda: bool(outside.asked))
    assert outside.asked == [f"{EPOCH.hex()}-{granted.seq}"]
    assert inside.asked == []
    assert kept.of_events() == {granted.seq: [str(tmp_path / FOLDER / f"{EPOCH.hex()}-{granted.seq}-1.jpg")]}
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700


async def test_an_alarm_gets_the_pictures_of_every_camera(tmp_path: Path, store: Store):
    outside, inside = PaperCamera(), PaperCamera()
    kept = snapshots(tmp_path, outside=outside, inside=inside)
    async with at_work(kept):
        forced = await journal(store, EventKind.FORCED_OPEN)
        kept.journaled(forced)
        await until(lambda: bool(outside.asked and inside.asked))
    assert len(kept.of_events()[forced.seq]) == 2


async def test_events_without_anybody_get_none_and_nothing_is_kept_unless_it_is_wanted(tmp_path: Path, store: Store):
    camera, unwanted = PaperCamera(), PaperCamera()
    kept, off = snapshots(tmp_path, camera=camera), snapshots(tmp_path, keep_hours=0, camera=unwanted)
    assert not unwanted.remembers
    async with at_work(kept), at_work(off):
        off.journaled(await journal(store, EventKind.ACCESS_DENIED, "camera"))
        kept.journaled(await journal(store, EventKind.STARTED))
        denied = await journal(store, EventKind.ACCESS_DENIED, "camera")
        kept.journaled(denied)
        await until(lambda: bool(camera.asked))
    assert camera.asked == [f"{EPOCH.hex()}-{denied.seq}"]
    assert unwanted.asked == []


async def test_in_a_flood_the_later_events_get_none(tmp_path: Path, store: Store):
    camera = PaperCamera()
    kept = snapshots(tmp_path, camera=camera)
    for _ in range(WAITING + 5):
        kept.journaled(await journal(store, EventKind.ACCESS_DENIED, "camera"))
    async with at_work(kept):
        await until(lambda: len(camera.asked) == WAITING)
        last = await journal(store, EventKind.ACCESS_DENIED, "camera")
        kept.journaled(last)
        await until(lambda: len(camera.asked) > WAITING)
    assert camera.asked[-1] == f"{EPOCH.hex()}-{last.seq}"
    assert len(camera.asked) == WAITING + 1


async def test_a_folder_that_cannot_be_made_costs_the_pictures_and_nothing_else(tmp_path: Path, store: Store):
    camera = PaperCamera()
    kept = snapshots(tmp_path, camera=camera)
    (tmp_path / FOLDER).write_text("in the way")
    async with at_work(kept):
        kept.journaled(await journal(store, EventKind.ACCESS_DENIED, "camera"))
        kept.journaled(await journal(store, EventKind.ACCESS_DENIED, "camera"))
        await asyncio.sleep(0)
        await until(kept._wanted.empty)
    assert camera.asked == []
    assert kept.of_events() == {}


@pytest.mark.parametrize(("age_s", "kept"), [(HOUR_S, True), (HOUR_S + 1, False)])
def test_a_picture_is_kept_for_its_hours(tmp_path: Path, age_s: int, kept: bool):  # noqa: FBT001
    path = old(tmp_path, f"{EPOCH.hex()}-7-1.jpg", written_s=1_000_000)
    snapshots(tmp_path, now_s=1_000_000 + age_s, camera=PaperCamera()).sweep()
    assert path.exists() == kept


def test_of_too_many_pictures_the_oldest_go(tmp_path: Path):
    paths = [old(tmp_path, f"{EPOCH.hex()}-{n}-1.jpg", written_s=1_000 + n, size=500_000) for n in range(4)]
    snapshots(tmp_path, most_mb=1, now_s=1_010, camera=PaperCamera()).sweep()
    assert [path.exists() for path in paths] == [False, False, True, True]


async def test_pictures_are_deleted_after_the_option_was_turned_off_and_at_a_door_without_cameras(tmp_path: Path):
    path = old(tmp_path, f"{EPOCH.hex()}-7-1.jpg", written_s=1_000)
    async with at_work(snapshots(tmp_path, keep_hours=0, now_s=1_000)):
        await until(lambda: not path.exists())


def test_pictures_of_an_earlier_journal_and_other_files_belong_to_no_event(tmp_path: Path):
    kept = snapshots(tmp_path, camera=PaperCamera())
    assert kept.of_events() == {}
    for name in (f"{'0' * 16}-7-1.jpg", f".{EPOCH.hex()}-7-1.jpg", f"{EPOCH.hex()}-x-1.jpg", "notes.txt"):
        old(tmp_path, name, written_s=0)
    mine = [old(tmp_path, f"{EPOCH.hex()}-{name}.jpg", written_s=0) for name in ("7-1", "7-2", "7-inside-1")]
    assert kept.of_events() == {7: [str(path) for path in sorted(mine)]}


async def test_a_real_camera_writes_its_pictures_without_the_code(tmp_path: Path):
    bench = FolderBench(tmp_path)
    bench.reader.remember_pictures()
    async with listening(bench.reader) as listener:
        bench.show(png(background()))
        bench.show(png(frame_with(code("HELD UP", scale=6))))
        assert await listener.next_payload() == b"HELD UP"
        assert await bench.reader.keep_pictures(tmp_path / "event") >= 1
        assert await bench.reader.keep_pictures(tmp_path / "none" / "event") == 0
    pictures = [load_file(Path(path)) for path in _files(tmp_path)]
    assert pictures
    assert all(each is not None and decode_frame(each) == [] for each in pictures)
    assert await bench.reader.keep_pictures(tmp_path / "later") == 0


async def test_a_camera_that_was_not_told_to_remember_keeps_nothing(tmp_path: Path):
    bench = FolderBench(tmp_path)
    async with listening(bench.reader):
        assert await bench.reader.keep_pictures(tmp_path / "event") == 0
    assert _files(tmp_path) == []


@pytest.mark.parametrize("keep_hours", [0, 1])
async def test_diagnostics_name_the_pictures_of_an_event(tmp_path: Path, keep_hours: int):
    TenantKeys("oakfield", int(time.time()) - 60).write_materials(tmp_path, settings=DoorSettings())
    config = EdgeConfig(
        state_folder=tmp_path,
        device=DeviceConfig(id="door-1", tenant="oakfield", site="campus", door="main"),
        lock=AddressConfig(url=f"simulated://{tmp_path / 'door'}"),
        diagnostics=DiagnosticsConfig(socket=tmp_path / "diag.sock"),
        readers=(ReaderConfig(id="camera", url=f"camera+files://{tmp_path}"),),
        clock=ClockConfig(offset_file=tmp_path / "offset"),
        snapshots=Limits(keep_hours=keep_hours),
    )
    (tmp_path / "1.png").write_bytes(png(frame_with(code("NO PASS"))))
    stop = asyncio.Event()
    daemon = asyncio.create_task(serve(config, stop))
    try:
        async with asyncio.timeout(DEADLINE_S):
            denied = await _denied(tmp_path / "diag.sock", pictured=bool(keep_hours))
            explained = await _ask(tmp_path / "diag.sock", {"ask": "explain", "seq": denied["seq"]})
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await daemon
    explanation = explained["explanation"]
    assert isinstance(explanation, dict)
    assert explanation["event"] == denied
    paths = denied.get("snapshots", [])
    assert isinstance(paths, list)
    assert paths == _files(tmp_path / FOLDER)
    assert bool(paths) == bool(keep_hours)


def _files(folder: Path) -> list[str]:
    """Return the pictures in a folder, which only their owner may read."""
    paths = sorted(folder.glob("*.jpg"))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    return [str(path) for path in paths]


async def _denied(path: Path, *, pictured: bool) -> dict[str, Json]:
    """Wait for a denial, and for its pictures where there are to be any."""
    await until(path.is_socket)
    while True:
        rows = (await _ask(path, {"ask": "events"}))["events"]
        assert isinstance(rows, list)
        for row in rows:
            assert isinstance(row, dict)
            if row["kind"] == "ACCESS_DENIED" and ("snapshots" in row or not pictured):
                return row
        await asyncio.sleep(0.02)


async def _ask(path: Path, question: dict[str, Json]) -> dict[str, Json]:
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 22)
    writer.write(json.dumps(question).encode() + b"\n")
    answer: dict[str, Json] = json.loads(await reader.readline())
    writer.close()
    return answer
