"""Running the demonstration: the steps in order, the narration, and the clean end.

Invariant: the exit code is 0 only when every step was seen; everything is stopped in every case.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Final

from doorward.demo.narrator import Narrator
from doorward.demo.plan import STEPS, result
from doorward.demo.processes import SIGNALS
from doorward.demo.stage import Stage
from doorward.demo.waiting import NotSeenError
from doorward.errors import CliError, ExitCode
from doorward.output import Json, Output

_IDLE_S: Final = 0.5


class _StoppedError(Exception):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or a terminal that closed."""


def show(*, once: bool, json_lines: bool) -> ExitCode:
    """Run the demonstration.

    Args:
        once: end after the last step instead of leaving cloud and door running until Ctrl-C.
        json_lines: narrate on standard error and end standard output with one JSON object.

    Raises:
        CliError: FAILED when a step was not seen; the ends of the programs' logs have been shown.
    """
    narrator = Narrator(sys.stderr if json_lines else sys.stdout)
    began_s = time.monotonic()
    with _stoppable():
        stage = Stage()
        try:
            _run(stage, narrator)
            found = result(stage)
            Output(json_lines=json_lines).result(found, *_summary(found, time.monotonic() - began_s))
            if not once:
                _leave_running(stage, narrator)
        except _StoppedError:
            narrator.say("asked to stop")
            return ExitCode.INTERRUPTED
        finally:
            _ignore_signals()
            stage.close()
    return ExitCode.OK


def _run(stage: Stage, narrator: Narrator) -> None:
    for number, step in enumerate(STEPS, start=1):
        with (
            narrator.step(number, len(STEPS), step.title),
            _told(stage, narrator, f"step {number} of the demonstration was not seen"),
        ):
            for sighting in step.act(stage):
                narrator.seen(sighting)


@contextmanager
def _told(stage: Stage, narrator: Narrator, what: str) -> Iterator[None]:
    """Turn what was not seen into the complaint that ends the demonstration, after the programs' logs."""
    try:
        yield
    except (NotSeenError, CliError) as error:
        narrator.failed(str(error))
        _show_logs(stage, narrator)
        raise CliError(
            ExitCode.FAILED,
            what=f"{what}: {error}",
            remedy="the ends of the programs' logs are above; doorward demo --once starts anew",
        ) from error


def _show_logs(stage: Stage, narrator: Narrator) -> None:
    """Show the log's end of the programs that have ended badly, or else of all."""
    failed = [program for program in stage.programs if program.has_failed()]
    for program in failed or stage.programs:
        narrator.say(f"the end of what {program.name} wrote:")
        for line in program.last_lines():
            narrator.say(f"  {line}")


def _summary(found: Mapping[str, Json], seconds: float) -> list[str]:
    return [
        "",
        f"Everything was seen, in {seconds:.0f} s: opened {found['granted']} times, {found['tap_ms']} ms a tap.",
    ]


def _leave_running(stage: Stage, narrator: Narrator) -> None:
    """Let the person play until Ctrl-C."""
    narrator.title("Cloud and door go on until Ctrl-C. In another terminal:")
    for line in stage.invitations():
        narrator.say(line)
    with contextlib.suppress(_StoppedError), _told(stage, narrator, "afterwards, a program ended"):
        while True:
            stage.check_programs()
            time.sleep(_IDLE_S)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the first signal into an exception, and do not let a second one disturb the end."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise _StoppedError

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
