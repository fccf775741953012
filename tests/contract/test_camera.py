"""The camera as a whole: a real worker process, real image files, and whatever can happen to either."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge.ports import ReaderLost, Reason
from firmware_adapters import camera_process
from firmware_adapters.camera import MOST_FAILED_STARTS, CameraReader
from firmware_adapters.catalogue import open_reader
from tests.support.images import HEIGHT, WIDTH, background, code, frame_with, pass_like, png
from tests.support.readers import FolderBench, Listener, listening
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from pathlib import Path

BLACK = png(np.zeros((HEIGHT, WIDTH), dtype=np.uint8))
# A zbar that never comes back from a black frame.
HANGING_ZBAR = """
import time
class ZBarSymbol:
    QRCODE = 0
def decode(gray, symbols):
    while not gray.any():
        time.sleep(1)
    return []
"""


def install(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker find a package of this source in place of the installed one."""
    path = folder.joinpath("packages", *name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder / "packages"))


async def test_a_pass_is_read_from_a_frame(tmp_path: Path):
    bench = FolderBench(tmp_path)
    async with listening(bench.reader) as listener:
        bench.show(png(frame_with(code(pass_like()))))
        assert await listener.next_payload() == pass_like().encode()
    assert bench.reader.statistics.codes == 1
    assert bench.reader.statistics.has_zbar


async def test_a_frame_of_sixty_codes_brings_eight_and_the_rest_are_counted(tmp_path: Path):
    bench = FolderBench(tmp_path)
    sixty = frame_with(*(code(f"CODE {number}", scale=3) for number in range(60)), left=20, top=10, gap=8)
    async with listening(bench.reader) as listener:
        bench.show(png(sixty))
        bench.show(png(frame_with(code("NEXT"))))
        payloads = [await listener.next_payload() for _ in range(9)]
    assert all(payload.startswith(b"CODE ") for payload in payloads[:8])
    assert len(set(payloads[:8])) == 8
    assert payloads[8] == b"NEXT"
    assert bench.reader.statistics.ignored_codes == 52


async def test_a_code_that_stays_in_view_is_presented_once(tmp_path: Path):
    bench = FolderBench(tmp_path, "?fps=60&repeat_ms=600000")
    held = frame_with(code("HELD"))
    async with listening(bench.reader) as listener:
        for shift in range(6):
            bench.show(png(np.roll(held, 20 * shift, axis=1)))
        bench.show(png(held))
        bench.show(png(held))
        bench.show(png(frame_with(code("ROTATED"))))
        assert [await listener.next_payload(), await listener.next_payload()] == [b"HELD", b"ROTATED"]
    statistics = bench.reader.statistics
    assert statistics.frames == 9
    assert statistics.repeats + statistics.unchanged == 7
    assert statistics.unchanged >= 1


async def test_each_frame_counts_when_repeats_are_asked_for(tmp_path: Path):
    bench = FolderBench(tmp_path, "?fps=60&repeat_ms=0")
    async with listening(bench.reader) as listener:
        for _ in range(3):
            bench.present(b"SAME")
        assert [await listener.next_payload() for _ in range(3)] == [b"SAME"] * 3
    assert bench.reader.statistics.unchanged == 0


async def test_a_file_that_is_no_image_is_counted_and_the_next_is_read(tmp_path: Path):
    bench = FolderBench(tmp_path)
    async with listening(bench.reader) as listener:
        bench.show(b"not an image")
        bench.present(b"NEXT")
        assert await listener.next_payload() == b"NEXT"
    assert bench.reader.statistics.unreadable == 1


async def test_a_killed_decoder_is_replaced_and_reading_goes_on(tmp_path: Path):
    bench = FolderBench(tmp_path)
    async with listening(bench.reader) as listener:
        bench.present(b"BEFORE")
        assert await listener.next_payload() == b"BEFORE"
        killed = bench.reader.worker_pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        bench.present(b"AFTER")
        assert await listener.next_payload() == b"AFTER"
        assert bench.reader.worker_pid not in {None, killed}
    assert bench.reader.statistics.worker_restarts == 1
    assert bench.reader.worker_pid is None


async def test_a_frame_that_hangs_the_decoder_is_given_up_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install(tmp_path, "pyzbar.pyzbar", HANGING_ZBAR, monkeypatch)
    install(tmp_path, "pyzbar.__init__", "", monkeypatch)
    monkeypatch.setattr(camera_process, "FRAME_DEADLINE_S", 3.0)
    bench = FolderBench(tmp_path, "?fps=15&fallbacks=30")
    async with listening(bench.reader) as listener:
        for _ in range(4):  # zbar has the fourth turn
            bench.show(BLACK)
        bench.present(b"AFTER")
        assert await listener.next_payload() == b"AFTER"
    assert bench.reader.statistics.worker_restarts == 1


async def test_a_source_that_delivers_nothing_at_all_any_more_is_lost(tmp_path: Path):
    bench = FolderBench(tmp_path)
    async with listening(bench.reader) as listener:
        assert bench.reader.worker_pid is not None
        os.kill(bench.reader.worker_pid, signal.SIGSTOP)
        error = await listener.failure()
    assert isinstance(error, ReaderLost)
    assert error.reason is Reason.DEADLINE
    bench.present(b"AGAIN")
    async with listening(bench.reader) as listener:
        assert await listener.next_payload() == b"AGAIN"


async def test_a_missing_library_is_told_with_its_name_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(tmp_path, "zxingcpp", "raise ImportError('libZXing.so is missing', name='zxingcpp')", monkeypatch)
    error = await Listener(FolderBench(tmp_path).reader).failure()
    assert error.reason is Reason.UNSUPPORTED
    assert not isinstance(error, ReaderLost)
    assert "zxingcpp" in error.what
    assert "pip install 'doorward[camera]'" in error.remedy


async def test_without_zbar_zxing_reads_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(tmp_path, "pyzbar", "raise ImportError('no libzbar')", monkeypatch)
    bench = FolderBench(tmp_path)
    async with listening(bench.reader) as listener:
        bench.show(png(background()))
        bench.present(b"ALONE")
        assert await listener.next_payload() == b"ALONE"
    assert not bench.reader.statistics.has_zbar
    assert bench.reader.statistics.fallbacks == 1


async def test_a_decoder_that_never_starts_is_a_fault_and_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install(tmp_path, "zxingcpp", "import os; os._exit(3)", monkeypatch)
    bench = FolderBench(tmp_path)
    error = await Listener(bench.reader).failure()
    assert error.reason is Reason.FAULT
    assert "code 3" in error.what
    assert bench.reader.statistics.worker_restarts == MOST_FAILED_STARTS + 1


async def test_a_recording_is_read_to_its_end_which_is_a_loss(tmp_path: Path):
    path = tmp_path / "recording.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (WIDTH, HEIGHT))
    for payload in ("FIRST", "SECOND"):
        writer.write(np.asarray(cv2.cvtColor(frame_with(code(payload)), cv2.COLOR_GRAY2BGR), dtype=np.uint8))
    writer.release()
    listener = Listener(open_reader(f"camera://{path}?fps=30", "camera-1"))
    assert [await listener.next_payload(), await listener.next_payload()] == [b"FIRST", b"SECOND"]
    assert "no more frames" in (await listener.failure()).what


@pytest.mark.parametrize("address", ["camera:///dev/videoNone", "camera:97"])
async def test_a_camera_that_is_not_there_is_lost(address: str):
    error = await Listener(open_reader(address, "camera-1")).failure()
    assert isinstance(error, ReaderLost)
    assert error.reason is Reason.LOST


async def test_no_decoder_outlives_a_daemon_that_is_killed(tmp_path: Path):
    code_of_daemon = f"""
import asyncio
from firmware_adapters.catalogue import open_reader
async def main():
    reader = open_reader("camera+files://{tmp_path}", "camera-1")
    listening = asyncio.create_task(anext(reader.presentations()))
    await reader.opened()
    print(reader.worker_pid, flush=True)
    await listening
asyncio.run(main())
"""
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", code_of_daemon, stdout=asyncio.subprocess.PIPE)
    assert daemon.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        worker = os.pidfd_open(int(await daemon.stdout.readline()))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(worker, ended.set)
    daemon.kill()
    async with asyncio.timeout(DEADLINE_S):
        await daemon.wait()
        await ended.wait()
    asyncio.get_running_loop().remove_reader(worker)
    os.close(worker)


async def test_closing_ends_the_decoder(tmp_path: Path):
    bench = FolderBench(tmp_path)
    async with listening(bench.reader) as listener:
        pid = bench.reader.worker_pid
        assert pid is not None
        await bench.reader.aclose()
        await listener.ended()
        await until(lambda: not _exists(pid))


async def test_the_daemon_itself_loads_no_image_library(tmp_path: Path):
    program = f"""
import sys
from firmware_adapters.catalogue import open_reader
open_reader("camera+files://{tmp_path}", "camera-1")
assert not {{"cv2", "numpy", "zxingcpp", "pyzbar"}} & sys.modules.keys()
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    async with asyncio.timeout(DEADLINE_S):
        assert await process.wait() == 0


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "address", ["camera:0", "camera+files:///frames", "camera+http://10.0.0.7/live", "camera+csi:0", "camera+csi:///1"]
)
def test_every_camera_address_gives_a_camera_reader(address: str):
    assert isinstance(open_reader(address, "a"), CameraReader)


async def test_a_csi_camera_without_its_package_is_told_how_to_get_it():
    error = await Listener(open_reader("camera+csi:0", "camera-1")).failure()
    assert error.reason is Reason.UNSUPPORTED
    assert "python3-picamera2" in error.remedy
