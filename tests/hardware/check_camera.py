"""USB cameras by Video4Linux, played by the kernel's virtual video driver: sizes, codes, unplugging, replugging."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING

import cv2
import pytest

from doorward.devices import Device, Health, as_the_daemon_says
from edge.attend import Attended, attend_reader
from firmware_adapters.camera_frames import Frame, video_frames
from firmware_adapters.worker_records import FaultKind, SourceError
from provisioning.detect import Found, detect
from tests.contract import test_readers as suite
from tests.support.readers import listening
from tests.support.rig import READER, running_rig
from tests.support.tenant import p256, present
from tests.support.vivid import LOOPED, WEBCAM, VividBench, chosen_format
from tests.support.waiting import DEADLINE_S, until
from wire.event import parse_event
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.ports import Reader

# The contract's own tests, with this bench in place of its others.
globals().update({name: each for name, each in vars(suite).items() if name.startswith("test_")})

# An emulated processor is too slow for the expensive looks: one takes longer than a frame may.
CHEAP = "fallbacks=0"


@contextlib.asynccontextmanager
async def playing(reader_id: str, *, options: str = "fps=10", device: Path = LOOPED) -> AsyncIterator[VividBench]:
    bench = VividBench(f"camera://{device}?{CHEAP}&{options}", reader_id)
    yield bench
    async with asyncio.timeout(DEADLINE_S):
        await bench.reader.aclose()
    bench.dispose()


@pytest.fixture(name="bench")
async def _bench() -> AsyncIterator[VividBench]:
    async with playing("camera-1") as bench:
        yield bench


@pytest.fixture(name="webcam")
async def _webcam() -> AsyncIterator[VividBench]:
    async with playing("camera-1", options="fps=2&width=640&height=360", device=WEBCAM) as bench:
        yield bench


@pytest.mark.usefixtures("webcam")
@pytest.mark.parametrize(("width", "height"), [(640, 360), (640, 480), (1280, 720)])
def test_frames_have_the_size_that_was_asked_for(width: int, height: int):
    assert _sizes_of_frames(width, height) == {(height, width)}


@pytest.mark.usefixtures("webcam")
def test_frames_have_a_size_of_the_camera_where_it_lacks_the_one_asked_for():
    (size,) = _sizes_of_frames(700, 500)
    width, height, _ = chosen_format(WEBCAM)
    assert size == (height, width)
    assert size != (500, 700)


async def test_pictures_have_the_size_in_the_address(webcam: VividBench, tmp_path: Path):
    webcam.reader.remember_pictures()
    async with listening(webcam.reader):
        # An emulated processor may take longer to write them than a door waits.
        assert any([await webcam.reader.keep_pictures(tmp_path / "picture") for _ in range(5)])
    image = cv2.imread(str(tmp_path / "picture-1.jpg"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert image.shape == (360, 640)


async def test_no_more_frames_are_looked_at_than_were_asked_for(webcam: VividBench):
    statistics = webcam.reader.statistics
    async with listening(webcam.reader):
        began_s, before = time.monotonic(), statistics.frames
        await until(lambda: statistics.frames >= before + 6)
        # Five whole pauses of half a second, and one that may have been over before it was told.
        assert time.monotonic() - began_s >= 2


def test_a_camera_that_is_plugged_in_is_detected_until_it_is_unplugged(bench: VividBench):
    address = f"camera://{LOOPED}"
    assert [each.name for each in detect() if each.url == address] == ["vivid-001-vid-cap"]
    bench.lose()
    assert [each for each in detect() if each.found is Found.CAMERA] == []


async def test_a_camera_that_another_program_reads_is_told_and_read_once_it_is_free(bench: VividBench):
    # Here and not in a worker: an emulated processor starts a second one so slowly that the first misses its deadlines.
    def first_frame() -> Frame | None:
        return next(video_frames(str(LOOPED), fps=10, width=1280, height=720))

    async with listening(bench.reader) as listener:
        with pytest.raises(SourceError) as caught:
            await asyncio.to_thread(first_frame)
        assert caught.value.fault.kind is FaultKind.LOST
        assert "no other program" in caught.value.fault.remedy
        bench.present(b"STILL READ")
        assert await listener.next_payload() == b"STILL READ"
    assert first_frame() is not None


async def test_a_door_tells_that_its_camera_is_unplugged_and_opens_once_it_is_back(tmp_path: Path):
    async with playing(READER) as bench, running_rig(tmp_path) as rig:
        attended = Attended(bench.reader)
        attending = asyncio.create_task(attend_reader(rig.controller, attended))
        try:
            await until(lambda: _health(attended) is Health.WELL)
            bench.lose()
            await until(lambda: _health(attended) is Health.LOST)
            bench.restore()
            await until(lambda: _health(attended) is Health.WELL)
            holder = p256("holder")
            bench.present(present(rig.keys.issue(holder, index=1), holder, at_s=int(time.time())))
            await until(lambda: any(each["action"] == "energise" for each in rig.relay()))
        finally:
            attending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await attending
        kinds = [parse_event(data).kind for _, data in await rig.store.newest_events(50)]
    assert [kind for kind in kinds if kind in {EventKind.READER_LOST, EventKind.READER_RESTORED}] == [
        EventKind.READER_LOST,
        EventKind.READER_RESTORED,
    ]
    assert EventKind.ACCESS_GRANTED in kinds


def _sizes_of_frames(width: int, height: int) -> set[tuple[int, ...]]:
    frames = video_frames(str(WEBCAM), fps=10, width=width, height=height)
    loaded = [frame.load() for frame in itertools.islice(frames, 3) if frame is not None]
    del frames  # which releases the device
    return {() if gray is None else gray.shape for gray in loaded}


def _health(attended: Attended[Reader]) -> Health:
    """Tell a reader's health as `doorward edge devices` does."""
    device = Device("reader", attended.device.info.id, f"camera://{LOOPED}")
    said = {"id": device.id, "url": device.url, "state": attended.state.value}
    return as_the_daemon_says([device], {"readers": [said]})[0].health
