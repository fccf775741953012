"""A camera in the network, well and badly behaved: a real HTTP server, the real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.ports import ReaderLost, Reason
from firmware_adapters.catalogue import open_reader
from tests.support.images import background, code, frame_with
from tests.support.mjpeg import NetworkCamera, jpeg, part, showing
from tests.support.readers import Listener, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.ports import Reader


@pytest.fixture(name="camera")
def _camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera()
    yield camera
    camera.unplug()


def reader_of(camera: NetworkCamera, path: str = "/stream.mjpg", options: str = "?fps=30") -> Reader:
    return open_reader(f"camera+http://{camera.address}{path}{options}", "camera-1")


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
async def test_a_stream_is_read_however_it_is_written(camera: NetworkCamera, protocol: str, sized: bool):  # noqa: FBT001
    camera.manner.protocol = protocol
    camera.send(part(jpeg(frame_with(code("READ"))), sized=sized) * 2)
    async with listening(reader_of(camera)) as listener:
        assert await listener.next_payload() == b"READ"
    assert camera.manner.asked == ["/stream.mjpg"]


async def test_the_cameras_own_question_is_asked(camera: NetworkCamera):
    camera.show(showing("ASKED"))
    async with listening(reader_of(camera, "/video%20one.cgi%3Fsize=large%26user=%2525")) as listener:
        assert await listener.next_payload() == b"ASKED"
    assert camera.manner.asked == ["/video%20one.cgi?size=large&user=%2525"]


async def test_a_part_that_is_cut_short_costs_a_frame_and_the_next_is_read(camera: NetworkCamera):
    whole = part(jpeg(frame_with(code("CUT"))))
    camera.send(part(b"no image at all") + whole[: len(whole) // 2] + b"\r\n" + part(jpeg(showing("WHOLE"))) * 4)
    camera.manner.live = True
    camera.show(showing("WHOLE"))
    async with listening(reader_of(camera)) as listener:
        assert await listener.next_payload() == b"WHOLE"


async def test_a_frame_that_comes_in_drips_is_read(camera: NetworkCamera):
    camera.show(background())
    async with listening(reader_of(camera)) as listener:
        written = part(jpeg(showing("SLOW")))
        for at in range(0, len(written), 40_000):
            camera.send(written[at : at + 40_000])
        assert await listener.next_payload() == b"SLOW"


async def test_a_camera_that_refuses_is_told_by_its_answer(camera: NetworkCamera):
    camera.manner.status = 401
    error = await Listener(reader_of(camera)).failure()
    assert error.reason is Reason.PERMISSION
    assert not isinstance(error, ReaderLost)


async def test_an_address_that_serves_something_else_is_told_so(camera: NetworkCamera):
    camera.manner.content_type = "text/html"
    error = await Listener(reader_of(camera)).failure()
    assert error.reason is Reason.UNSUPPORTED
    assert not isinstance(error, ReaderLost)
    assert "no plain motion JPEG but text/html" in error.what


async def test_a_camera_that_hangs_up_is_lost_after_its_last_frame(camera: NetworkCamera):
    camera.manner.live = False
    camera.show(showing("LAST"))
    camera.hang_up()
    listener = Listener(reader_of(camera))
    assert await listener.next_payload() == b"LAST"
    error = await listener.failure()
    assert isinstance(error, ReaderLost)
    assert "delivers no more frames" in error.what


async def test_a_camera_that_falls_silent_is_cut_off(camera: NetworkCamera):
    camera.manner.live = False
    camera.send(part(jpeg(showing("SAID")))[:-100])
    error = await Listener(reader_of(camera)).failure()
    assert isinstance(error, ReaderLost)
    assert "has delivered no frame for 3 s" in error.what


async def test_a_camera_that_drips_for_ever_is_cut_off(camera: NetworkCamera):
    camera.show(background())
    async with listening(reader_of(camera)) as listener:
        camera.manner.live = False
        camera.send(b"--frame-boundary\r\nContent-Length: 5000000\r\n\r\n")
        camera.manner.drip = b"x"
        error = await listener.failure()
    assert isinstance(error, ReaderLost)
    assert "has delivered no frame for 3 s" in error.what


async def test_a_camera_faster_than_wanted_shows_the_present(camera: NetworkCamera):
    """Frames that pile up while the door looks at one are passed over, so that it is never late."""
    camera.show(background())
    reader = reader_of(camera, options="?fps=2")
    async with listening(reader) as listener:
        old = part(jpeg(background()))
        camera.send(old * 40)
        camera.show(showing("PRESENT"))
        assert await listener.next_payload() == b"PRESENT"
    assert reader.statistics.frames < 20  # type: ignore[attr-defined] # a camera's, not of every reader
