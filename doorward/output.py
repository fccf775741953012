"""The only module that prints: text for people, one JSON object a line for programs.

Invariant: with `--json`, stdout carries nothing but JSON objects, one a line, with stable snake_case keys.
Must not: decide anything; colours appear on terminals only, and never with NO_COLOR (https://no-color.org).
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, TextIO, TypeAlias

import typer

from doorward.errors import CliError

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")]
"""The option that every printing command takes."""


class Style(Enum):
    """What a colour means; the value is the ANSI SGR code."""

    GOOD = "32"
    BAD = "31"
    CAUTION = "33"
    QUIET = "2"
    STRONG = "1"


def wants_colour(stream: TextIO) -> bool:
    """Tell whether colours help on this stream: a terminal that can, and nobody said NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Output:
    """Where one command's results go.

    Args:
        json_lines: print JSON objects instead of text.
        stream: stdout when None.
    """

    def __init__(self, *, json_lines: bool, stream: TextIO | None = None) -> None:
        self.json_lines = json_lines
        self._stream = sys.stdout if stream is None else stream
        self._colour = wants_colour(self._stream)

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person looks at it."""
        return self._stream.isatty() and not self.json_lines

    def result(self, record: Mapping[str, Json], *lines: str) -> None:
        """Print one result: the record for programs, the lines for people."""
        self._write(json_line(record) if self.json_lines else "\n".join(lines))

    def say(self, *lines: str) -> None:
        """Print lines that only people need."""
        if not self.json_lines:
            self._write("\n".join(lines))

    def raw(self, text: str) -> None:
        """Write text as it is, without a line's end, for people only (a code that redraws itself)."""
        if not self.json_lines:
            self._stream.write(text)
            self._stream.flush()

    def paint(self, text: str, style: Style) -> str:
        """Colour text when that helps."""
        return f"\x1b[{style.value}m{text}\x1b[0m" if self._colour else text

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def json_line(record: Mapping[str, Json]) -> str:
    """Write a record on one line."""
    return json.dumps(record, ensure_ascii=False, separators=(", ", ": "))


def complain(error: CliError, *, json_lines: bool) -> None:
    """Print a fault on stderr: what is wrong, then what to do."""
    if json_lines:
        record: dict[str, Json] = {
            "error": error.code.name.lower(),
            "message": error.what,
            "remedy": error.remedy,
            "exit_code": int(error.code),
        }
        sys.stderr.write(json_line(record) + "\n")
        return
    prefix = "\x1b[31mdoorward:\x1b[0m" if wants_colour(sys.stderr) else "doorward:"
    sys.stderr.write("\n  ".join(line for line in (f"{prefix} {error.what}", error.remedy) if line) + "\n")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay rows out in columns, two spaces apart; the last column is never padded."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def pairs(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Lay "name  value" lines out in two columns."""
    known = list(entries)
    width = max((len(name) for name, _ in known), default=0)
    return [f"{name.ljust(width)}  {value}".rstrip() for name, value in known]


def rfc3339(instant_ms: int) -> str:
    """Write an instant for programs: UTC, "Z", milliseconds only when there are any."""
    moment = datetime.fromtimestamp(instant_ms / 1000, UTC)
    precision = "milliseconds" if instant_ms % 1000 else "seconds"
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


def local_time(instant_ms: int) -> str:
    """Write an instant for people: their time zone, to the second, e.g. "2026-03-01 13:00:05 CET"."""
    return datetime.fromtimestamp(instant_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def local_instant(text: str) -> str:
    """Write an RFC 3339 instant, as the cloud and the daemon give them, for people."""
    return local_time(round(datetime.fromisoformat(text).timestamp() * 1000))


def duration(seconds: int) -> str:
    """Write a length of time in its two largest units, e.g. "3 h 20 min"."""
    parts = []
    rest = abs(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
