"""Finding and running the project's benchmarks, which belong to its source and not to an installation.

Invariant: figures are printed as the benchmarks give them; nothing is rounded for programs.
Must not: judge a figure.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from doorward.errors import CliError, ExitCode
from doorward.output import Json

SOURCE: Final = Path(__file__).resolve().parents[1]
_REGISTRY: Final = Path("benchmarks") / "registry.py"
_SMALL: Final = 100


class Result(Protocol):
    """One figure (benchmarks/result.py)."""

    def to_json(self) -> dict[str, Json]:
        """Give its members: at least name, value, unit, floor, ratio, n."""
        ...


Benchmarks = Mapping[str, Callable[..., Iterable[Result]]]
"""By name; the camera's takes `images`, a folder, the others nothing."""

CAMERA: Final = "camera"


def find_benchmarks(source: Path = SOURCE) -> Benchmarks:
    """Load the registry of the source that this program runs from.

    Raises:
        CliError: MISSING_PART when there is no source, as in an installation.
    """
    if not (source / _REGISTRY).is_file():
        raise CliError(
            ExitCode.MISSING_PART,
            what=f"there is no {source / _REGISTRY}: the benchmarks belong to the source, not to an installation",
            remedy="clone the project and run: script/bench",
        )
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    return cast("Benchmarks", import_module("benchmarks.registry").BENCHMARKS)


def choose(benchmarks: Benchmarks, names: Sequence[str]) -> Benchmarks:
    """Give the named benchmarks, in the order named; all when none is.

    Raises:
        CliError: UNUSABLE for a name that is none.
    """
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"there is no benchmark {', '.join(unknown)}",
            remedy=f"choose of: {', '.join(benchmarks)}",
        )
    return {name: benchmarks[name] for name in names} if names else benchmarks


def with_images(benchmarks: Benchmarks, images: Path | None) -> Benchmarks:
    """Let the camera's benchmark read the images of a folder; None leaves it its own.

    Raises:
        CliError: UNUSABLE when there is no such folder; when it is read, also for one without an image.
    """
    if images is None or CAMERA not in benchmarks:
        return benchmarks
    if not images.is_dir():
        what = f"there is no folder {images} to read images from"
        raise CliError(ExitCode.UNUSABLE, what=what, remedy="name one with --images, or leave it out")
    return {**benchmarks, CAMERA: partial(_of_images, benchmarks[CAMERA], images)}


def _of_images(camera: Callable[..., Iterable[Result]], images: Path) -> Iterator[Result]:
    for figure in camera(images=images):
        if figure.to_json().get("n") == 0:
            what = f"there is no image in {images} that can be read"
            remedy = "name a folder with PNG, JPEG, BMP or PGM files with --images, or leave it out"
            raise CliError(ExitCode.UNUSABLE, what=what, remedy=remedy)
        yield figure


def row(record: Mapping[str, Json]) -> tuple[str, ...]:
    """Write a figure as the cells of `HEADERS`."""
    ratio = record["ratio"]
    times = [number(record.get(name)) for name in ("p50", "p95", "p99")]
    return (
        str(record["name"]),
        f"{number(record['value'])} {record['unit']}",
        number(record["floor"]),
        "-" if ratio is None else f"{number(ratio)}x",
        str(record.get("must") or "-"),
        "/".join(times) if set(times) != {"-"} else "-",
        number(record["n"]),
    )


HEADERS: Final = ("NAME", "VALUE", "FLOOR", "RATIO", "MUST", "P50/P95/P99 MS", "N")


def number(value: Json) -> str:
    """Write a number with three significant digits, or all digits of a large one; "-" for None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-"
    return f"{value:,.0f}" if abs(value) >= _SMALL or value == int(value) else f"{value:.3g}"
