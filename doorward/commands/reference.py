"""`doorward reference`."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.files import unusable, write_whole
from doorward.main import TREE
from doorward.output import JsonOption, Output
from doorward.reference import manual, markdown, pages

EXAMPLES: Final = """
Examples:
  doorward reference --markdown docs/cli.md
  doorward reference --man /usr/local/share/man/man1
"""


def run(
    *,
    to_markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the whole reference as Markdown.")
    ] = None,
    man: Annotated[Path | None, typer.Option("--man", metavar="DIR", help="Write a manual page a command.")] = None,
    json_lines: JsonOption = False,
) -> None:
    """Write the reference of this command line: Markdown, or manual pages."""
    if to_markdown is None and man is None:
        raise CliError(ExitCode.UNUSABLE, what="nothing was asked for", remedy="name --markdown FILE or --man DIR")
    files: dict[Path, str] = {}
    if to_markdown is not None:
        files[to_markdown] = markdown(TREE)
    if man is not None:
        try:
            man.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(man, error, doing="made") from error
        files |= {man / f"{page.name.replace(' ', '-')}.1": manual(page, version("doorward")) for page in pages(TREE)}
    out = Output(json_lines=json_lines)
    for path, text in files.items():
        write_whole(path, text.encode())
        out.result({"file": str(path)}, f"Wrote {path}.")
