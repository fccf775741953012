"""Messages about commands."""

from datetime import datetime
from enum import Enum, unique
from typing import Annotated

import msgspec

from wire.command import MAX_HOLD_S, MAX_LIFETIME_S


@unique
class CommandAction(Enum):
    """What a door is to do."""

    UNLOCK = "unlock"
    RESET_FIRE = "reset-fire"
    MODE = "mode"
    RELEASE = "release"
    REBOOT = "reboot"
    REFRESH = "refresh"
    SNAPSHOT = "snapshot"


@unique
class CommandMode(Enum):
    """How a door is to rest for a while. A lockdown is no command: PUT the door's or the site's lockdown."""

    LOCKED = "locked"
    UNLOCKED = "unlocked"
    BLOCKED = "blocked"
    LOCKED_DOWN = "locked_down"


@unique
class CommandState(Enum):
    """What became of a command."""

    PENDING = "pending"
    EXECUTED = "executed"
    REFUSED = "refused"
    EXPIRED = "expired"


class NewCommand(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An order; an unlock holds for at most 60 s, anything else for an hour.

    `mode` says how the door is to rest, and belongs to the action `mode` alone; `holdS` for how long, at most twelve
    hours. Without it the mode ends with the order itself. A `release` ends it before.
    """

    action: CommandAction
    expires_in_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIFETIME_S)] = 30
    mode: CommandMode | None = None
    hold_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_HOLD_S)] | None = None


class IssuedCommand(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A command and what is known of it.

    `expired` means that its time passed and no answer has come: a door that was offline may still bring one. `event` is
    the number of the answering event in the journal of `device`; `reason` says why the door refused.
    """

    id: str
    door: str
    action: CommandAction
    counter: int
    issued_at: datetime
    expires_at: datetime
    state: CommandState
    device: str | None = None
    event: int | None = None
    reason: str | None = None
    mode: CommandMode | None = None
    hold_s: int | None = None


class LockdownOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether doors are locked down."""

    on: bool


class DoorLockdown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A door and the version of its policy that says so; 0 for a door without a policy, which admits nobody."""

    door: str
    on: bool
    policy_version: int


class Lockdowns(msgspec.Struct, frozen=True, kw_only=True):
    """The doors that an order was about."""

    data: list[DoorLockdown]


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """Commands: of a door the newest, newest first; of an order to a site one for each door."""

    data: list[IssuedCommand]
