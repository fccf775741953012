"""The one way a command fails: a sentence on what is wrong, one on what to do, and an exit code.

Invariant: every expected fault of a command leaves it as a `CliError`; `doorward.main` alone prints it and exits.
Must not: print.
"""

from enum import IntEnum, unique


@unique
class ExitCode(IntEnum):
    """What the caller's shell sees; stable (docs/cli.md)."""

    OK = 0
    FAILED = 1
    """Denied, or a check that was asked for did not hold."""
    UNUSABLE = 2
    """A wrong option, or input that cannot be used: a missing file, a broken configuration."""
    UNREACHABLE = 3
    """The cloud or the door's daemon does not answer."""
    REFUSED = 4
    """The cloud answered and refused: wrong token, unknown pass, a rule broken."""
    MISSING_PART = 5
    """This installation lacks an optional part."""
    INTERNAL = 70
    """A defect of Doorward (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C (128 + SIGINT, as shells report it)."""


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
