"""Programs that the demonstration starts, and stops again whatever happens.

Invariant: a program is ended by its own process id; its output is kept in a file until then.
Must not: touch a process that it did not start.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from doorward.demo.waiting import NotSeenError, wait_for
from doorward.errors import ExitCode

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those that ask the demonstration to end."""
STOP_S: Final = 20.0
"""A clean stop of the cloud includes PostgreSQL's last checkpoint."""
_LOG_LINES: Final = 15


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let signals wait until the block has ended: what was started in it is known to whoever stops it."""
    waiting: list[int] = []
    before = {number: signal.signal(number, lambda found, _: waiting.append(found)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])


def doorward_command(*arguments: str | Path) -> list[str]:
    """Write a command of this installation, run by this interpreter."""
    code = "import sys; from doorward.main import app; sys.exit(app())"
    return [sys.executable, "-c", code, *map(str, arguments)]


class Program:
    """A running `doorward` command.

    Args:
        name: what the narration calls it.
        arguments: of the doorward command.
        folder: where its output goes.
    """

    def __init__(self, name: str, arguments: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            # A session of its own: Ctrl-C reaches the demonstration alone, which then stops everything in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                doorward_command(*arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check_alive(self) -> None:
        """Return while it runs.

        Raises:
            NotSeenError: it has ended.
        """
        code = self._process.poll()
        if code is not None:
            raise NotSeenError(f"{self.name} has ended with exit code {code}")

    def has_failed(self) -> bool:
        """Tell whether it has ended badly."""
        return bool(self._process.poll())

    def has_finished_well(self) -> bool:
        """Tell whether it has done what it was started for."""
        return self._process.poll() == 0

    def wait_line(self, mark: str, *, deadline_s: float) -> str:
        """Give the first line of its output that holds `mark`.

        Raises:
            NotSeenError: it does not come in time, or the program ends before.
        """

        def look() -> str | None:
            found = next((line for line in _lines(self.out) + _lines(self.err) if mark in line), None)
            if found is None:
                self.check_alive()
            return found

        return wait_for(f"{self.name} to say {mark!r}", look, deadline_s=deadline_s)

    def finish(self, *, deadline_s: float, code: ExitCode = ExitCode.OK) -> None:
        """Wait for it to end with an exit code.

        Raises:
            NotSeenError: it ends with another one, or takes longer.
        """
        try:
            ended = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise NotSeenError(f"{self.name} did not finish in {deadline_s:.0f} s") from error
        if ended != code:
            raise NotSeenError(f"{self.name} ended with exit code {ended}")

    def stop(self, *, patience_s: float = STOP_S) -> None:
        """End it: asked first; after `patience_s` made to, with the processes of its session."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_lines(self) -> list[str]:
        """Give the end of its output."""
        return (_lines(self.out) + _lines(self.err))[-_LOG_LINES:]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()
