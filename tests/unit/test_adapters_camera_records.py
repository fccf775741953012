"""What the camera's worker tells the daemon survives the way; anything else is refused."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from benchmarks.camera_images import KINDS, draw
from hypothesis import given
from hypothesis import strategies as st

from edge.ports import Reason
from firmware_adapters.camera_loop import watch
from firmware_adapters.camera_records import (
    ORDERS,
    RECORDS,
    Begun,
    Idle,
    Keep,
    Kept,
    Ready,
    Record,
    Seen,
    Settings,
    SourceKind,
    Unchanged,
    Unreadable,
)
from firmware_adapters.worker_records import (
    MAX_RECORD_BYTES,
    Fault,
    FaultKind,
    SourceError,
    by_name,
    decode,
    encode,
)
from tests.support.images import code, frame_with, png
from tests.support.worker_bench import WorkerBench

SAID: list[Record] = [
    Ready(zbar=True),
    Begun("frame-1.png"),
    Begun("näme with \n a line end.png"),
    Seen(123, (b"DW1:A", b"\x00\xff\n"), ignored=52, fallback=False),
    Seen(123, (), ignored=0, fallback=True),
    Unchanged(7),
    Unreadable(),
    Idle(),
    Kept(4),
]


def settings(folder: Path, **changes: object) -> Settings:
    usual = {"source": SourceKind.FILES, "fps": 60, "width": 0, "height": 0, "fallbacks_per_s": 2, "gate": True}
    return Settings(**({"place": str(folder)} | usual | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("record", SAID, ids=lambda record: type(record).__name__)
def test_a_record_is_one_line_and_comes_back(record: Record):
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line, RECORDS) == record


def test_the_largest_record_fits_its_bound():
    codes = tuple(bytes([number]) * 2953 for number in range(8))
    assert len(encode(Seen(2**53, codes, ignored=10**6, fallback=False))) < MAX_RECORD_BYTES


def test_settings_and_orders_come_back(tmp_path: Path):
    given_settings = settings(tmp_path, after="a.png")
    assert decode(encode(given_settings), by_name(Settings)) == given_settings
    keep = Keep(os.fsdecode(b"/pictures/\xff and \n"))
    assert decode(encode(keep), ORDERS) == keep


_value = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=2)
_almost = st.fixed_dictionaries(
    {"record": st.sampled_from(["Seen", "Fault", "Begun", "Idle", "x"])},
    optional=dict.fromkeys(("codes", "kind", "at_ms", "name", "ignored", "fallback", "what", "remedy"), _value),
)


@given(st.one_of(st.binary(), _value.map(json.dumps).map(str.encode), _almost.map(json.dumps).map(str.encode)))
def test_any_line_is_a_record_or_a_value_error(line: bytes):
    try:
        decode(line, {**RECORDS, "Fault": Fault})
    except ValueError:
        return


def test_every_fault_of_the_worker_is_a_reason_of_the_ports():
    assert {kind.value for kind in FaultKind} <= {reason.value for reason in Reason}


class _EnoughError(Exception):
    """The test has heard what it waited for."""


def heard(folder: Path, count: int, **changes: object) -> list[Record]:
    """Return the first `count` records that are not Idle."""
    records: list[Record] = []

    def tell(record: Record) -> None:
        if not isinstance(record, Idle):
            records.append(record)
        if len(records) == count:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        watch(settings(folder, **changes), tell)
    return records


def test_each_frame_is_told_as_begun_and_then_what_came_of_it(tmp_path: Path):
    frames = {"1.png": png(frame_with(code("ONE"))), "2.png": b"no image", "3.png": png(frame_with(code("THREE")))}
    for name, data in frames.items():
        (tmp_path / name).write_bytes(data)
    ready, *told = heard(tmp_path, 7, after="")
    assert ready == Ready(zbar=True)
    assert told[0::2] == [Begun("1.png"), Begun("2.png"), Begun("3.png")]
    first, second, third = told[1::2]
    assert isinstance(first, Seen)
    assert first.codes == (b"ONE",)
    assert second == Unreadable()
    assert isinstance(third, Seen)
    assert third.codes == (b"THREE",)
    assert first.at_ms < third.at_ms


def test_a_frame_that_shows_nothing_new_is_not_decoded_unless_the_gate_is_off(tmp_path: Path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(png(frame_with(code("SAME"))))
    assert isinstance(heard(tmp_path, 5, after="")[-1], Unchanged)
    assert isinstance(heard(tmp_path, 5, after="", gate=False)[-1], Seen)


def test_a_still_scene_that_not_every_way_of_looking_has_seen_is_decoded_again(tmp_path: Path):
    # Read when it is thresholded: at the third expensive look, of which six a second are allowed.
    picture = draw("shaded", KINDS["shaded"], 0)
    for number in range(30):
        (tmp_path / f"{number:02}.png").write_bytes(png(picture.gray))
    records = heard(tmp_path, 41, after="", fps=30, fallbacks_per_s=6)
    seen = [record for record in records if isinstance(record, Seen)]
    assert [bool(record.codes) for record in seen][:3] == [False] * 3
    found = next(record for record in seen if record.codes)
    assert found.codes == (picture.payload,)
    assert found.fallback
    assert found.at_ms - seen[0].at_ms >= 300
    assert any(isinstance(record, Unchanged) for record in records)


@pytest.mark.parametrize(("pictures", "count"), [(True, 1), (False, 0)])
def test_pictures_are_kept_when_they_are_asked_for_between_two_frames(
    tmp_path: Path,
    pictures: bool,  # noqa: FBT001 - of the settings
    count: int,
):
    (tmp_path / "1.png").write_bytes(png(frame_with(code("KEPT"))))
    asked = iter([tmp_path / "event", tmp_path / "none" / "event"])
    records: list[Record] = []

    def tell(record: Record) -> None:
        records.append(record)
        if sum(isinstance(each, Kept) for each in records) == 2:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        watch(settings(tmp_path, pictures=pictures), tell, lambda: next(asked, None))
    assert [record.count for record in records if isinstance(record, Kept)] == [count, 0]
    assert len(list(tmp_path.glob("event-*.jpg"))) == count


def test_every_kind_of_source_is_watched():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for kind, place, said in (
        (SourceKind.HTTP, f"http://127.0.0.1:{port}/", "cannot be reached"),
        (SourceKind.CSI, "0", "picamera2"),
    ):
        with pytest.raises(SourceError, match=said):
            watch(settings(Path(place), source=kind, place=place), lambda _: None)


def test_a_source_that_fails_ends_the_watching(tmp_path: Path):
    with pytest.raises(SourceError):
        watch(settings(tmp_path / "none"), lambda _: None)


def test_a_video_device_is_watched_where_the_settings_name_one():
    with pytest.raises(SourceError, match="97 cannot be opened"):
        watch(settings(Path("97"), source=SourceKind.DEVICE), lambda _: None)


def test_the_process_tells_a_source_that_fails_and_ends(tmp_path: Path):
    with WorkerBench("firmware_adapters.camera_worker", settings(tmp_path / "none")) as worker:
        assert isinstance(worker.next(RECORDS), Ready)
        fault = worker.next(by_name(Fault))
        assert fault.kind is FaultKind.LOST
        with pytest.raises(EOFError):
            worker.next(RECORDS)


def test_of_the_wishes_for_pictures_the_last_counts_and_the_process_ends_with_its_daemon(tmp_path: Path):
    (tmp_path / "1.png").write_bytes(png(frame_with(code("KEPT"))))
    with WorkerBench("firmware_adapters.camera_worker", settings(tmp_path, after="", pictures=True)) as worker:
        while not isinstance(worker.next(RECORDS), Seen):
            pass
        worker.send(encode(Keep(str(tmp_path / "first"))) + encode(Keep(str(tmp_path / "second"))))
        while not isinstance(kept := worker.next(RECORDS), Kept):
            pass
    assert kept == Kept(1)
    assert [each.name for each in tmp_path.glob("*.jpg")] == ["second-1.jpg"]
