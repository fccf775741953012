"""The closed vocabularies that devices and cloud share.

Invariant: a number, once given, is never given another meaning (docs/spec/event.md lists them all).
Must not: hold behaviour beyond naming.
"""

from enum import Enum, IntEnum, IntFlag, unique
from typing import NewType

Tenant = NewType("Tenant", str)
"""An institution's slug, [a-z0-9-], 1 to 32 characters."""
DoorId = NewType("DoorId", str)
DeviceId = NewType("DeviceId", str)
PassId = NewType("PassId", bytes)
"""6 bytes: u16 status list, u32 index, big-endian (docs/spec/pass.md)."""
KeyId = NewType("KeyId", bytes)
"""4 bytes: the start of SHA-256 over the encoded COSE_Key (docs/spec/keys.md)."""


@unique
class PassKind(IntEnum):
    """The five kinds of pass (customer's names)."""

    STANDARD = 0
    TEMPORARY = 1
    VISITOR = 2
    STAFF = 3
    EMERGENCY = 4


class PassFlags(IntFlag):
    """Bits of a pass's scope; an unknown bit makes the pass unreadable."""

    NONE = 0
    EXTENDED_RELEASE = 1


@unique
class Assurance(IntEnum):
    """How strongly a credential proves its holder's presence (docs/spec/index.md, assurance levels)."""

    IDENTIFIER = 0
    PRINTED = 1
    DYNAMIC_TAG = 2
    ROTATING = 3
    NONCE_BOUND = 4


@unique
class ClockState(IntEnum):
    """How well a door knows the time."""

    TRUSTED = 0
    HOLDOVER = 1
    SUSPECT = 2


@unique
class Step(IntEnum):
    """The numbered checks of one tap, in order (docs/behaviour.md)."""

    FORM = 1
    KIND = 2
    CLOCK = 3
    ISSUER_KEY = 4
    ISSUER_SIGNATURE = 5
    VALIDITY = 6
    HOLDER = 7
    REVOCATION = 8
    REPLAY = 9
    DOOR_MODE = 10
    ASSURANCE = 11
    ACCESS = 12
    ANTI_PASSBACK = 13
    COMPANIONS = 14
    GRANT = 15


@unique
class Reason(IntEnum):
    """Why a credential or command was refused. ONVIF's names where they exist."""

    MALFORMED = 1
    TOO_LARGE = 2
    UNSUPPORTED_CREDENTIAL = 3
    CLOCK_SUSPECT = 4
    UNKNOWN_ISSUER_KEY = 5
    ISSUER_KEY_NOT_VALID = 6
    SIGNATURE_INVALID = 7
    WRONG_ISSUER = 8
    CREDENTIAL_EXPIRED = 9
    CREDENTIAL_NOT_ACTIVE = 10
    PRESENTATION_EXPIRED = 11
    PRESENTATION_FROM_FUTURE = 12
    WRONG_AUDIENCE = 13
    NONCE_MISMATCH = 14
    REVOKED = 15
    REVOCATION_STALE = 16
    REPLAYED = 17
    REPLAY_CACHE_FULL = 18
    DOOR_LOCKED_DOWN = 19
    DOOR_BLOCKED = 20
    ASSURANCE_TOO_LOW = 21
    UNAUTHORIZED = 22
    NOT_PERMITTED_AT_THIS_TIME = 23
    ANTIPASSBACK_VIOLATION = 24
    OCCUPANCY_LIMIT = 25
    SECOND_FACTOR_REQUIRED = 26
    ESCORT_REQUIRED = 27
    NO_TRUST = 28
    NO_POLICY = 29
    STORAGE_FAULT = 30
    COMMAND_EXPIRED = 31
    COMMAND_REPLAYED = 32
    COMMAND_FOREIGN = 33
    CREDENTIAL_NOT_FOUND = 34
    DOOR_INTERLOCKED = 35
    SECOND_PERSON_REQUIRED = 36
    SECOND_FACTOR_WRONG = 37
    SECOND_FACTOR_BLOCKED = 38
    USES_EXHAUSTED = 39
    LOCKS_EVERYONE_OUT = 40
    FIRE_INPUT_ACTIVE = 41
    COMMAND_UNSUPPORTED = 42
    FIRE_LASTS = 43


@unique
class EventKind(IntEnum):
    """What an event of the journal tells."""

    ACCESS_GRANTED = 1
    ACCESS_DENIED = 2
    DENIALS_SUPPRESSED = 3
    ACCESS_NOT_TAKEN = 4
    DURESS = 5
    ANTI_PASSBACK_ALERT = 6
    OCCUPANCY_WARNING = 7
    OCCUPANCY_NORMAL = 8
    PRESENCE_RESET = 9
    DOOR_RELOCKED = 11
    DOOR_OPENED = 12
    DOOR_CLOSED = 13
    EGRESS = 14
    MODE_CHANGED = 15
    FORCED_OPEN = 20
    FORCED_OPEN_RESTORED = 21
    OPEN_TOO_LONG = 22
    OPEN_TOO_LONG_RESTORED = 23
    OPEN_PRE_ALARM = 24
    LOCK_FAILED = 25
    LOCK_RESTORED = 26
    FIRE = 27
    FIRE_RESET = 28
    CONTACT_FAULT = 29
    CONTACT_RESTORED = 30
    TAMPER = 31
    TAMPER_RESTORED = 32
    POWER_LOST = 33
    POWER_RESTORED = 34
    STARTED = 40
    STOPPED = 41
    READER_LOST = 42
    READER_RESTORED = 43
    CLOCK_CHANGED = 44
    INPUTS_LOST = 45
    INPUTS_RESTORED = 46
    MAINTENANCE_STARTED = 47
    MAINTENANCE_ENDED = 48
    TRUST_UPDATED = 50
    STATUS_UPDATED = 51
    POLICY_UPDATED = 52
    POLICY_REFUSED = 53
    ROSTER_UPDATED = 54
    COMMAND_EXECUTED = 60
    COMMAND_REFUSED = 61
    COMMANDS_SUPPRESSED = 62
    STORAGE_FAULT = 70
    STORAGE_RESTORED = 71


@unique
class KeyPurpose(IntEnum):
    """What a key of the trust bundle may sign; a key has one purpose."""

    PASS = 1
    STATUS = 2
    POLICY = 3
    COMMAND = 4
    ACKNOWLEDGEMENT = 5
    DEVICE_CA = 6


@unique
class StalenessRule(IntEnum):
    """What a door does once its revocation data is older than its limit."""

    DENY = 0
    RECENTLY_ISSUED = 1
    NONCE_BOUND_ONLY = 2


@unique
class SuspectRule(IntEnum):
    """What schedules mean to a door that does not know the time."""

    DENY = 0
    IGNORE_SCHEDULES = 1
    ALWAYS_LEVELS_ONLY = 2


@unique
class RelockRule(IntEnum):
    """When the lock secures again after a grant."""

    AFTER_RELEASE_TIME = 0
    ON_OPEN = 1
    ON_CLOSE = 2


@unique
class AntiPassbackRule(IntEnum):
    """What a door does about a holder who enters an area again without having left it."""

    OFF = 0
    ALERT = 1
    ENFORCE = 2
    TIMED = 3


@unique
class DoorMode(IntEnum):
    """The mode that policy orders for a door at rest."""

    LOCKED = 0
    UNLOCKED = 1
    BLOCKED = 2
    LOCKED_DOWN = 3


@unique
class Action(IntEnum):
    """What a command asks of a door."""

    UNLOCK = 1
    RESET_FIRE = 2
    MODE = 3
    RELEASE = 4
    REBOOT = 5
    REFRESH = 6
    SNAPSHOT = 7


class ExternalAad(bytes, Enum):
    """The external_aad of each message type: no signature is valid for another type."""

    PASS = b"doorward-pass-v1"
    PRESENTATION = b"doorward-kbt-v1"
    STATUS_LIST = b""
    STATUS_DELTA = b"doorward-status-delta-v1"
    TRUST = b"doorward-trust-v1"
    ROOT_CHANGE = b"doorward-root-change-v1"
    POLICY = b"doorward-policy-v1"
    ROSTER = b"doorward-roster-v1"
    ROSTER_DELTA = b"doorward-roster-delta-v1"
    BATCH = b"doorward-batch-v1"
    ACKNOWLEDGEMENT = b"doorward-ack-v1"
    COMMAND = b"doorward-command-v1"
