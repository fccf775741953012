"""What stops the cloud's programs, as a command tells it: what is wrong, what to do, and an exit code.

Invariant: decides on the reason, never on the text.
Must not: be imported by a command that does not run the cloud itself; it is an optional part.
"""

from typing import Final

from cloud.errors import CloudError, Reason
from doorward.errors import CliError, ExitCode

_MISSING: Final = frozenset({Reason.POSTGRES_MISSING, Reason.BROKER_MISSING})
_UNUSABLE: Final = frozenset(
    {
        Reason.SETTING_INVALID,
        Reason.PORT_IN_USE,
        Reason.STATE_IN_USE,
        Reason.STATE_UNUSABLE,
        Reason.BACKUP_MISSING,
    }
)


def as_cli_error(error: CloudError) -> CliError:
    """Tell a fault of the cloud as one of the command."""
    remedy = error.remedy.rstrip(".")
    return CliError(_code(error.reason), what=error.what.rstrip("."), remedy=remedy[:1].lower() + remedy[1:])


def _code(reason: Reason) -> ExitCode:
    if reason in _MISSING:
        return ExitCode.MISSING_PART
    return ExitCode.UNUSABLE if reason in _UNUSABLE else ExitCode.FAILED
