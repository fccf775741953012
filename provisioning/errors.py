"""The one exception of provisioning, its reasons, and the exit code that belongs to each.

Invariant: every sentence says what to do next, for somebody who stands at a door with a ladder.
Must not: carry the claim's secret or a key.
"""

from enum import Enum, unique


@unique
class Reason(Enum):
    """Why a door was not provisioned. The value is (name, exit code of the command line)."""

    # What was typed (2: input that cannot be used)
    CLAIM_MALFORMED = ("claim_malformed", 2)
    ADDRESS_INVALID = ("address_invalid", 2)
    DEVICE_ADDRESS_INVALID = ("device_address_invalid", 2)
    FOLDER_UNUSABLE = ("folder_unusable", 2)
    FOLDER_IN_USE = ("folder_in_use", 2)
    KEY_UNUSABLE = ("key_unusable", 2)
    # The way to the cloud (3: does not answer)
    UNREACHABLE = ("unreachable", 3)
    DEADLINE = ("deadline", 3)
    BUSY = ("busy", 3)
    ANSWER_UNREADABLE = ("answer_unreadable", 3)
    # The cloud said no (4: refused)
    CLAIM_UNKNOWN = ("claim_unknown", 4)
    CLAIM_USED = ("claim_used", 4)
    CLAIM_EXPIRED = ("claim_expired", 4)
    NOT_ENROLLED = ("not_enrolled", 4)
    REFUSED = ("refused", 4)
    # A check did not hold (1: failed)
    FINGERPRINT_WRONG = ("fingerprint_wrong", 1)
    TLS_REFUSED = ("tls_refused", 1)
    CLOCK_WRONG = ("clock_wrong", 1)
    CERTIFICATE_WRONG = ("certificate_wrong", 1)
    DOCUMENT_REFUSED = ("document_refused", 1)
    CONFIG_REFUSED = ("config_refused", 1)

    @property
    def exit_code(self) -> int:
        """What the command that failed exits with."""
        return self.value[1]


class ProvisioningError(Exception):
    """The door was not provisioned; what was done so far stays and is used by the next run.

    Args:
        reason: the class of the fault.
        what: one clause that says what went wrong.
        remedy: what to do next, as an instruction.
    """

    def __init__(self, reason: Reason, *, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.reason = reason
        self.what = what
        self.remedy = remedy
