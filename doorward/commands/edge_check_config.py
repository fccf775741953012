"""`doorward edge check-config`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.edgeconfig import USUAL_CONFIG, read_config
from doorward.errors import ExitCode
from doorward.output import Json, JsonOption, Output, Style
from edge.config import ConfigError, EdgeConfig, Problem

EXAMPLES: Final = """
Examples:
  doorward edge check-config
  doorward edge check-config ./twin/edge.toml --json

Exit codes: 0 the file is right, 2 it is not.
"""


def run(
    config: Annotated[
        Path, typer.Argument(metavar="[FILE]", envvar="DOORWARD_CONFIG", help="The door's configuration (TOML).")
    ] = USUAL_CONFIG,
    *,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Check a door's configuration file.

    Starts and opens nothing. Names every fault with its line, its key, what was expected and what stands there.
    """
    out = Output(json_lines=json_lines)
    try:
        found = read_config(config)
    except ConfigError as error:
        problems: list[Json] = [_problem(problem) for problem in error.problems]
        head = out.paint(f"{config} cannot be used:", Style.BAD)
        out.result(
            {"ok": False, "file": str(config), "problems": problems},
            head,
            *(f"  {problem}" for problem in error.problems),
        )
        return ExitCode.UNUSABLE
    out.result({"ok": True, "file": str(config), "problems": []}, out.paint(_good(config, found), Style.GOOD))
    return ExitCode.OK


def _problem(problem: Problem) -> dict[str, Json]:
    return {"line": problem.line, "key": problem.key, "expected": problem.expected, "got": problem.got}


def _good(path: Path, config: EdgeConfig) -> str:
    readers = len(config.readers)
    return f"{path} is right: door {config.device.door}, {readers} reader{'' if readers == 1 else 's'}."
