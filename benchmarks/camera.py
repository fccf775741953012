"""How much a door's camera reads, and at what cost, against zxing-cpp as it is.

Each picture is shown for as many frames as a code held up for two thirds of a second gives, to the decoder with its
usual limits and to zxing-cpp alone, frame by frame in turn. Pictures are those of a folder (public image sets, at most
1280 x 720 as a door's camera sees them), or else the project's own drawn ones, which say how hard they are but not how
often that is met.

`idle` measures the daemon itself, with a camera in the network that shows a still, grainy scene.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.camera_images import HEIGHT, WIDTH, Gray, pictures
from benchmarks.measure import Times, compared, quiet_collector
from benchmarks.result import Result
from benchmarks.start import DaemonUse, daemon_use
from firmware_adapters.camera_frames import SUFFIXES, load_file
from firmware_adapters.catalogue import Kind, check
from firmware_adapters.qr_decode import FrameDecoder
from firmware_adapters.qr_looks import plain

FPS: Final = 15
FRAMES: Final = 10
"""Of each picture: 0.67 s."""
DRAWN_EACH: Final = 6
MUST_IDLE: Final = 15
MUST_RSS_MB: Final = 120
IDLE_S: Final = 20.0
_SCENES: Final = 8
_BOUNDARY: Final = "frame"


def run(images: Path | None = None) -> Iterable[Result]:
    """Measure `camera`: reads and time a frame, over a folder of images or the drawn ones."""
    cv2.setNumThreads(1)
    limit = check(Kind.READER, "camera:0").options["fallbacks"]
    read = [0, 0]
    spent_ns: list[list[int]] = [[], []]
    count = 0
    with quiet_collector():
        for number, gray in enumerate(_grays(images)):
            decoder = FrameDecoder(fallbacks_per_s=limit)
            count += 1
            for place, found in enumerate(_shown(gray, decoder, spent_ns, first=number % 2)):
                read[place] += found
    source = f"{DRAWN_EACH} drawn pictures of each kind (--images names a folder)" if images is None else "the folder"
    yield Result(
        name="camera-reads",
        value=read[1],
        unit="images",
        floor=read[0],
        ratio=round(read[1] / read[0], 3) if read[0] else None,
        n=count,
        must=">= 1.1 of the floor",
        note=f"images with a code that was read within {FRAMES} frames; {source}; floor: zxing-cpp alone",
    )
    if not count:  # no image in that folder, which n tells
        return
    yield compared("camera", Times(spent_ns[1]), Times(spent_ns[0]), must="mean <= 3 of the floor's", note=_NOTE)
    means = [sum(each) / len(each) for each in spent_ns]
    yield Result(
        name="camera-mean",
        value=round(means[1] / 1000, 1),
        unit="us",
        floor=round(means[0] / 1000, 1),
        ratio=round(means[1] / means[0], 3),
        n=len(spent_ns[1]),
        must="<= 3 of the floor",
        note=f"processor time a frame, mean; {source}; floor: zxing-cpp alone on the same frames",
    )


def _shown(gray: Gray, decoder: FrameDecoder, spent_ns: list[list[int]], *, first: int) -> list[bool]:
    """Show a picture for `FRAMES` frames; tell whether zxing-cpp alone, and whether the decoder, read it."""
    found = [False, False]

    def alone(_: int) -> bool:
        return bool(plain(gray))

    def all_ways(number: int) -> bool:
        return bool(decoder.decode(gray, at_ms=number * 1000 // FPS, changed=number == 0).codes)

    works = (alone, all_ways)
    for number in range(FRAMES):
        for place in (first, 1 - first):
            began_ns = time.thread_time_ns()
            read = works[place](number)
            spent_ns[place].append(time.thread_time_ns() - began_ns)
            found[place] = found[place] or read
    return found


def _grays(images: Path | None) -> Iterator[Gray]:
    if images is None:
        yield from (each.gray for each in pictures(DRAWN_EACH))
        return
    for path in sorted(images.rglob("*")):
        gray = load_file(path) if path.suffix.lower() in SUFFIXES else None
        if gray is not None:
            yield _seen_by_a_camera(gray)


def _seen_by_a_camera(gray: Gray) -> Gray:
    height, width = gray.shape
    scale = min(1.0, WIDTH / width, HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def idle() -> Iterable[Result]:
    """Measure `daemon-idle-cpu`: the daemon with a camera of 15 frames a second, 720p, and nobody there."""
    scenes = _still_scene()
    with _network_camera(scenes) as port:
        use = daemon_use(f"camera+http://127.0.0.1:{port}/stream.mjpg?fps={FPS}", measure_s=IDLE_S)
    yield from _told(use)


def _told(use: DaemonUse) -> Iterator[Result]:
    yield Result(
        name="daemon-idle-cpu",
        value=round(use.core_percent, 1),
        unit="% of a core",
        floor=None,
        ratio=None,
        n=int(IDLE_S * FPS),
        must=f"value <= {MUST_IDLE} %",
        note=f"daemon and camera process over {IDLE_S:g} s: {FPS} frames a second of 1280 x 720 motion JPEG over"
        " loopback, a still scene with a sensor's grain",
    )
    yield Result(
        name="daemon-camera-rss",
        value=round(use.rss_mb, 1),
        unit="MB",
        floor=None,
        ratio=None,
        n=1,
        must=f"value <= {MUST_RSS_MB} MB",
        note="resident at the end of it, both processes; pages they share are counted in both",
    )


def _still_scene() -> list[bytes]:
    """Give a few JPEGs of one scene, each with grain of its own."""
    random = np.random.default_rng(3)
    rough = random.random((HEIGHT // 8, WIDTH // 8), dtype=np.float32)
    wall = 40 + 160 * cv2.resize(cv2.GaussianBlur(rough, (0, 0), 4), (WIDTH, HEIGHT))
    scenes = []
    for _ in range(_SCENES):
        grainy = np.clip(wall + random.normal(0, 3, wall.shape), 0, 255).astype(np.uint8)
        scenes.append(cv2.imencode(".jpg", cv2.cvtColor(grainy, cv2.COLOR_GRAY2BGR))[1].tobytes())
    return scenes


class _network_camera:  # noqa: N801 - a context manager, used as a function is
    """Serves the scenes in turn, `FPS` a second, to each who asks; gives its port."""

    def __init__(self, scenes: list[bytes]) -> None:
        self._scenes = scenes

    def __enter__(self) -> int:
        scenes = self._scenes

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
                self.end_headers()
                try:
                    for number in range(1_000_000):
                        jpeg = scenes[number % len(scenes)]
                        head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                        time.sleep(1 / FPS)
                except OSError:
                    return  # the daemon has left

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        port: int = self._server.server_address[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


_NOTE = (
    "processor time of one frame: the cheap looks always, an expensive one so often a second as a door allows; median"
    " and tails, the mean stands in camera-mean; floor: zxing-cpp alone on the same frames, in turn"
)
