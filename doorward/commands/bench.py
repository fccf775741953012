"""`doorward bench`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.benchmarks import HEADERS, choose, find_benchmarks, row, with_images
from doorward.output import JsonOption, Output, table

EXAMPLES: Final = """
Examples:
  doorward bench
  doorward bench verify tap
  doorward bench --json
  doorward bench camera --images ~/qrcodes
  doorward bench --list
"""


def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Benchmarks; all when absent.")] = None,
    *,
    only_list: Annotated[bool, typer.Option("--list", help="Name the benchmarks without running any.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            envvar="DOORWARD_BENCH_IMAGES",
            help="Let the camera's benchmark read the images in there; else it draws its own.",
        ),
    ] = None,
    json_lines: JsonOption = False,
) -> None:
    """Measure this machine's speeds, each against its floor.

    The floor, taken in the same run, is the least that the same work can cost here (bare signature checks, a bare
    commit), so that the ratios of different machines can be compared. The benchmarks belong to the project's source;
    docs/performance.md explains each.
    """
    out = Output(json_lines=json_lines)
    chosen = with_images(choose(find_benchmarks(), names or ()), images)
    if only_list:
        for name in chosen:
            out.result({"name": name}, name)
        return
    rows: list[tuple[str, ...]] = []
    for name, measure in chosen.items():
        out.say(f"measuring {name} …")
        for figure in measure():
            record = figure.to_json()
            rows.append(row(record))
            if json_lines:
                out.result(record)
    out.say("", *table(HEADERS, rows))
