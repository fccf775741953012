"""`doorward bench`: finding the benchmarks of a source, and printing their figures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from doorward.benchmarks import choose, find_benchmarks, number, row, with_images
from doorward.errors import CliError, ExitCode
from doorward.output import Json
from tests.support.commands import run_here

REGISTRY = """
class Figure:
    def __init__(self, name, value):
        self.record = {"name": name, "value": value, "unit": "us", "floor": 100.0, "ratio": value / 100, "n": 5000}
    def to_json(self):
        return self.record

BENCHMARKS = {"first": lambda: [Figure("first", 150.0)], "second": lambda: [Figure("second", 3.14159)]}
"""


def test_an_installation_without_the_source_says_where_benchmarks_are(tmp_path: Path):
    with pytest.raises(CliError, match="script/bench") as caught:
        find_benchmarks(tmp_path)
    assert caught.value.code is ExitCode.MISSING_PART


def bench(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the registry of another source, in a process of its own: modules are loaded once."""
    (source / "benchmarks").mkdir()
    (source / "benchmarks" / "registry.py").write_text(REGISTRY)
    code = (
        "import sys; from pathlib import Path; import doorward.benchmarks as found\n"
        f"found.find_benchmarks.__defaults__ = (Path({str(source)!r}),)\n"
        "from doorward.main import app; sys.exit(app(sys.argv[1:]))"
    )
    arguments = ("bench", *arguments)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_json_is_one_figure_a_line_as_measured(tmp_path: Path):
    done = bench(tmp_path, "--json")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["name"], each["value"], each["ratio"]) for each in records] == [
        ("first", 150.0, 1.5),
        ("second", 3.14159, 0.0314159),
    ]


def test_named_benchmarks_run_alone_and_make_a_table(tmp_path: Path):
    done = bench(tmp_path, "second")
    assert done.returncode == ExitCode.OK, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "measuring second …"
    assert lines[2].split() == ["NAME", "VALUE", "FLOOR", "RATIO", "MUST", "P50/P95/P99", "MS", "N"]
    assert lines[3].split() == ["second", "3.14", "us", "100", "0.0314x", "-", "-", "5,000"]
    assert len(lines) == 4


def test_a_list_measures_nothing(tmp_path: Path):
    assert bench(tmp_path, "--list").stdout.split() == ["first", "second"]


def test_an_unknown_name_is_refused(tmp_path: Path):
    done = bench(tmp_path, "third")
    assert done.returncode == ExitCode.UNUSABLE
    assert "choose of: first, second" in done.stderr


def test_names_choose_in_their_order():
    benchmarks = {"a": list, "b": list, "c": list}
    assert list(choose(benchmarks, ["c", "a"])) == ["c", "a"]
    assert list(choose(benchmarks, [])) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0, "0"), (1.5, "1.5"), (0.012345, "0.0123"), (99.9, "99.9"), (123456.7, "123,457"), (True, "-")],
)
def test_numbers_have_three_significant_digits(value: Json, expected: str):
    assert number(value) == expected


def test_a_figure_without_a_floor_has_no_ratio():
    record: dict[str, Json] = {
        "name": "x",
        "value": 1.0,
        "unit": "ms",
        "floor": None,
        "ratio": None,
        "n": 3,
        "p99": 2.0,
    }
    assert row(record) == ("x", "1 ms", "-", "-", "-", "-/-/2", "3")


def test_percentiles_stand_in_one_cell():
    times: dict[str, Json] = {"p50": 0.5, "p95": 1.25, "p99": 130.0}
    record: dict[str, Json] = {"name": "x", "value": 1, "unit": "ms", "floor": 2, "ratio": 0.5, "n": 9, "must": "< 1x"}
    assert row(record | times) == ("x", "1 ms", "2", "0.5x", "< 1x", "0.5/1.25/130", "9")


def test_a_folder_of_images_is_for_the_camera_alone(tmp_path: Path):
    def camera(images: Path | None = None) -> list[Figure]:
        return [Figure(str(images))]

    def other() -> list[Figure]:
        return []

    both = {"camera": camera, "other": other}
    assert [each.to_json() for each in with_images(both, tmp_path)["camera"]()] == [{"name": str(tmp_path)}]
    assert with_images(both, tmp_path)["other"] is other
    assert with_images(both, None) is both
    assert with_images({"other": other}, tmp_path) == {"other": other}


def test_a_folder_of_images_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(CliError, match="there is no folder") as caught:
        with_images({"camera": list}, tmp_path / "none")
    assert caught.value.code is ExitCode.UNUSABLE


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"none"}, {"broken.png": b"no image"}], ids=str)
def test_a_folder_without_a_readable_image_is_refused_by_the_command(
    files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    ran = run_here(capsys, "bench", "camera", "--images", tmp_path)
    assert ran.code == ExitCode.UNUSABLE
    assert f"there is no image in {tmp_path} that can be read" in ran.err
    assert "--images" in ran.err


def test_a_folder_that_is_not_there_is_refused_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "bench", "camera", "--images", tmp_path / "none")
    assert ran.code == ExitCode.UNUSABLE
    assert "there is no folder" in ran.err


@dataclass
class Figure:
    name: str

    def to_json(self) -> dict[str, Json]:
        return {"name": self.name}
