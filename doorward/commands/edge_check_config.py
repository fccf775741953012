"""`doorward edge check-config`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.edgeconfig import USUAL_CONFIG, ConfigOption, read_config
from doorward.errors import ExitCode
from doorward.output import Json, JsonOption, Output, Style
from edge.config import ConfigError, EdgeConfig, Problem

EXAMPLES: Final = """
Examples:
  doorward edge check-config
  doorward edge check-config --config ./twin/edge.toml --json

Exit codes: 0 the file is right, 2 it is not.
"""


def run(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The same as --config.")] = None,
    *,
    config: ConfigOption = USUAL_CONFIG,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Check a door's configuration file.

    Starts and opens nothing. Names every fault with its line, its key, what was expected and what stands there.
    """
    out = Output(json_lines=json_lines)
    path = config if file is None else file
    try:
        found = read_config(path)
    except ConfigError as error:
        problems: list[Json] = [_problem(problem) for problem in error.problems]
        head = out.paint(f"{path} cannot be used:", Style.BAD)
        out.result(
            {"ok": False, "file": str(path), "problems": problems},
            head,
            *(f"  {problem}" for problem in error.problems),
        )
        return ExitCode.UNUSABLE
    out.result({"ok": True, "file": str(path), "problems": []}, out.paint(_good(path, found), Style.GOOD))
    return ExitCode.OK


def _problem(problem: Problem) -> dict[str, Json]:
    return {"line": problem.line, "key": problem.key, "expected": problem.expected, "got": problem.got}


def _good(path: Path, config: EdgeConfig) -> str:
    readers = len(config.readers)
    return f"{path} is right: door {config.device.door}, {readers} reader{'' if readers == 1 else 's'}."
