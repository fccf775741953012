"""The one way a command fails: a sentence on what is wrong, one on what to do, and an exit code.

Invariant: every expected fault of a command leaves it as a `CliError`; `doorward.main` alone prints it and exits.
Must not: print.
"""

from enum import IntEnum, unique
from typing import Final


@unique
class ExitCode(IntEnum):
    """What the caller's shell sees; stable (docs/cli.md)."""

    OK = 0
    FAILED = 1
    UNUSABLE = 2
    UNREACHABLE = 3
    REFUSED = 4
    MISSING_PART = 5
    RESTART = 10
    INTERNAL = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it


MEANINGS: Final = {
    ExitCode.OK: "done; for `pass verify`: granted",
    ExitCode.FAILED: "denied, or something that was checked does not hold",
    ExitCode.UNUSABLE: "wrong usage, or input that cannot be used",
    ExitCode.UNREACHABLE: "the cloud or the door's daemon does not answer",
    ExitCode.REFUSED: "the cloud answered and refused",
    ExitCode.MISSING_PART: "this installation lacks an optional part",
    ExitCode.RESTART: "`edge run` was ordered to start again: whoever supervises it does so",
    ExitCode.INTERNAL: "a defect of Doorward",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C or SIGTERM",
}
"""The exit codes as help and reference tell them."""


class CliError(Exception):
    """A command cannot do what was asked.

    Args:
        code: the exit code, which is also the class of the fault in JSON.
        what: one clause that names the thing and what is wrong with it.
        remedy: what the reader does next, as an instruction; empty when `what` says it.
    """

    def __init__(self, code: ExitCode, *, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.code = code
        self.what = what
        self.remedy = remedy
