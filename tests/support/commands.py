"""Running the command line: in this process for speed, or as the real program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doorward.main import app

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

PROGRAM = Path(sys.executable).with_name("doorward")
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        record: dict[str, Any] = json.loads(line)
        return record

    @property
    def complaint(self) -> dict[str, Any]:
        """The one JSON object on stderr."""
        (line,) = self.err.splitlines()
        record: dict[str, Any] = json.loads(line)
        return record


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Ran:
    """Run a command in this process."""
    capsys.readouterr()
    code = app([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)


def run_program(
    *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] | None = None, check: bool = False
) -> Ran:
    """Run the installed program."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        timeout=DEADLINE_S,
        check=check,
        env={**os.environ, **(environment or {})},
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
