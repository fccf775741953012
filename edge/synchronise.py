"""Joins the door's store, documents and clock to the ports of `sync` (with edge/daemon.py, the composition).

Invariant: a fault of the store reaches synchronisation as one of its own errors.
Must not: hold a rule of the protocol; that is in sync/.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from edge.database import HeadMismatchError
from edge.materials import Materials
from edge.report import Json, rfc3339
from edge.store import Store, StoreError
from sync.engine import SyncStatus
from sync.ports import JournalMismatch, JournalUnavailable, Marks, Notice, Uplink, UplinkError
from sync.ways import WayStatus
from wire.batch import Acknowledgement
from wire.command_list import parse_command_list
from wire.health import Way
from wire.names import DeviceId
from wire.trust import TrustBundle
from wire.versions import Versions

_log: Final = structlog.get_logger()
_BACK_UP: Final = (
    "this door's journal is full, and it forgets events that are in no backup of the cloud; have its operator make"
    " backups (doorward cloud backup)"
)

T = TypeVar("T")


async def _asked(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except StoreError as error:
        raise JournalUnavailable(what=str(error), remedy="see `doorward diag status` at the door") from error


class StoreJournal:
    """`sync.ports.Journal` over the store."""

    def __init__(self, store: Store, device: DeviceId) -> None:
        self._store = store
        self.device = device
        self.epoch = store.epoch
        self._told = False

    async def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give kept events above `seq`."""
        return await _asked(self._store.events_after(seq, limit))

    async def marks(self) -> Marks:
        """Give the marks as committed."""
        marks = await _asked(self._store.marks())
        return Marks(durable=marks.durable, backed_up=marks.backed_up, last=marks.last)

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Take over an acknowledgement."""
        try:
            await _asked(self._store.acknowledge(acknowledgement))
        except HeadMismatchError as error:
            raise JournalMismatch(durable=acknowledgement.durable) from error
        self._tell_only_in_cloud()

    def _tell_only_in_cloud(self) -> None:
        """Log when events are first forgotten that no backup holds, and when all are in one again."""
        count = self._store.only_in_cloud
        if bool(count) is self._told:
            return
        self._told = bool(count)
        if count:
            _log.warning("journal_not_backed_up", events=count, remedy=_BACK_UP)
        else:
            _log.info("journal_backed_up")


class CommandInlet:
    """Where commands come in from the network.

    Args:
        deliver: takes one to the core and waits for what the journal says of it.
        taken: the counter of the last one that the journal knows; at most once, also after a restart.
    """

    def __init__(self, deliver: Callable[[bytes], Awaitable[object]], taken: int) -> None:
        self._deliver = deliver
        self.taken = taken

    async def accept(self, data: bytes) -> None:
        """Take a list, one command after another.

        Raises:
            WireError: it is no list.
            StoreError: the journal could not be written.
        """
        found = parse_command_list(data)
        for command in found.commands:
            await self._deliver(command)
        self.taken = max(self.taken, found.last)


class HeldMaterials:
    """`sync.ports.Materials` over the documents in force."""

    def __init__(self, materials: Materials, commands: CommandInlet) -> None:
        self._materials = materials
        self._commands = commands

    def trust(self) -> TrustBundle | None:
        """Give the trust bundle in force."""
        return self._materials.held.trust

    def versions(self) -> Versions:
        """Give what is in force."""
        held = self._materials.held
        return Versions(
            trust=0 if held.trust is None else held.trust.version,
            policy=0 if held.policy is None else held.policy.version,
            status={number: status.sequence for number, status in held.statuses.items()},
            roster=0 if held.roster is None else held.roster.version,
            commands=self._commands.taken,
        )

    async def accept_trust(self, data: bytes) -> None:
        """Take over a trust bundle."""
        await _asked(self._materials.accept_trust(data))

    async def accept_policy(self, data: bytes) -> None:
        """Take over a policy bundle."""
        await _asked(self._materials.accept_policy(data))

    async def accept_status(self, data: bytes) -> None:
        """Take over a whole status list."""
        await _asked(self._materials.accept_status(data))

    async def accept_delta(self, data: bytes) -> None:
        """Apply a delta."""
        await _asked(self._materials.accept_delta(data))

    def roster_base(self) -> int:
        """Give the version from which a delta of the roster is wanted."""
        return self._materials.roster_base

    async def accept_roster(self, data: bytes) -> None:
        """Take over a whole roster."""
        await _asked(self._materials.accept_roster(data))

    async def accept_roster_delta(self, data: bytes) -> None:
        """Apply a delta of the roster."""
        await _asked(self._materials.accept_roster_delta(data))

    async def accept_commands(self, data: bytes) -> None:
        """Give commands to the core."""
        await _asked(self._commands.accept(data))


class LoggedNotices:
    """`sync.ports.Notices` into the daemon's log."""

    def notice(self, notice: Notice) -> None:
        """Log a change of state."""
        write = _log.info if notice.reason is None else _log.warning
        reason = None if notice.reason is None else notice.reason.value
        write("sync", direction=notice.direction.value, reason=reason, sentence=notice.sentence)


async def reported(uplink: Uplink, data: bytes) -> str | None:
    """Send a report of health, and give why it could not be sent; None when it was."""
    try:
        await uplink.report(data)
    except UplinkError as error:
        return str(error)
    return None


def plain_way(status: WayStatus | None, missing: str | None) -> dict[str, Json]:
    """Give which way batches take, and why not through the broker.

    Args:
        status: None where there is one way only.
        missing: why, although a broker is configured.
    """
    if status is None:
        return {"way": Way.HTTPS.name.lower(), "way_since": None, "broker_error": missing}
    fault = None if status.fault is None else str(status.fault)
    return {"way": status.way.name.lower(), "way_since": rfc3339(status.since_wall_ms), "broker_error": fault}


def plain_sync(status: SyncStatus) -> dict[str, Json]:
    """Give synchronisation's state as plain values."""
    success_ms = [at for at in (status.push.last_success_wall_ms, status.pull.last_success_wall_ms) if at is not None]
    return {
        "connected": status.connected,
        "last_success": rfc3339(max(success_ms)) if success_ms else None,
        "push_error": status.push.last_error if status.push.failures else None,
        "pull_error": status.pull.last_error if status.pull.failures else None,
        "pending": status.pending,
        "durable": None if status.marks is None else status.marks.durable,
        "backed_up": None if status.marks is None else status.marks.backed_up,
        "last": None if status.marks is None else status.marks.last,
    }
