"""Commands: signed here, fetched by their door while they hold, answered by its events.

Invariant: counters of a door only rise, also over a restored backup: they are not below the time of issue.
Must not: say that a door did something; its journal does.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from cloud.database import ACQUIRE_S, Connection, Pool
from cloud.errors import CloudError, Reason
from cloud.issuing.command_models import CommandAction, CommandMode, CommandState, IssuedCommand, NewCommand
from cloud.issuing.keyring import Keyring
from cloud.issuing.keys import KeyRole
from wire.command import COMMAND_ID_BYTES, Command, seal_command
from wire.command_list import MAX_COMMANDS, CommandList, encode_command_list
from wire.errors import WireError
from wire.keys import Signer
from wire.names import Action, DoorId, DoorMode, EventKind, Tenant
from wire.names import Reason as Denial

MAX_KEY_CHARACTERS: Final = 64
_ACTIONS: Final = {each: Action[each.name] for each in CommandAction}
_NAMES: Final = {int(action): name for name, action in _ACTIONS.items()}
_MODES: Final = {each: DoorMode[each.name] for each in CommandMode}
_MODE_NAMES: Final = {int(mode): name for name, mode in _MODES.items()}
_CLOCKS_DIFFER: Final = timedelta(hours=1)
"""An answer may carry a time before the command's: a door's clock need not be the cloud's."""
_COLUMNS: Final = "door_id, counter, command_id, action, issued_at, expires_at, mode, hold_s"
KEPT: Final = timedelta(days=35)
"""The record of what was ordered and done is the doors' events; who asks for a command again asks soon."""


@dataclass(frozen=True, slots=True)
class _Answer:
    device: str
    seq: int
    kind: EventKind
    reason: int | None


class CommandDesk:
    """Issues commands and tells what became of them.

    Args:
        pool: the database.
        keyring: the tenants' keys.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, keyring: Keyring, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._keyring = keyring
        self._now = now

    async def issue(self, tenant: Tenant, door: DoorId, new: NewCommand, *, key: str | None) -> IssuedCommand:
        """Sign a command; the same idempotency key gives the command that it gave before.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, DOOR_UNKNOWN, COMMAND_INVALID, COMMAND_CONFLICT or KEY_UNUSABLE.
        """
        _check(new)
        signer = await self._keyring.signer(tenant, KeyRole.COMMAND)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            await _lock_door(connection, tenant, door)
            row = None if key is None else await _with_key(connection, tenant, door, key)
            if row is None:
                command = await self._next(connection, tenant, door, new)
                row = await _insert(connection, tenant, command, key, _seal(command, signer))
            elif _asked(row) != (new.action, new.mode, new.hold_s):
                detail = "This Idempotency-Key has ordered something else at this door; use a new one for a new order."
                raise CloudError(Reason.COMMAND_CONFLICT, detail)
        return (await self._told(tenant, door, [row]))[0]

    async def _next(self, connection: Connection, tenant: Tenant, door: DoorId, new: NewCommand) -> Command:
        last = await connection.fetchval(
            "SELECT max(counter) FROM commands WHERE tenant_id = $1 AND door_id = $2", tenant, door
        )
        now = self._now().timestamp()
        return Command(
            command_id=secrets.token_bytes(COMMAND_ID_BYTES),
            target=door,
            action=_ACTIONS[new.action],
            issued_at_s=int(now),
            expires_at_s=int(now) + new.expires_in_s,
            counter=max((last or 0) + 1, int(now * 1000)),
            mode=None if new.mode is None else _MODES[new.mode],
            hold_s=new.hold_s,
        )

    async def forget_old(self, tenant: Tenant) -> int:
        """Forget commands that ended more than 35 days ago; gives how many there were."""
        done = await self._pool.execute(
            "DELETE FROM commands WHERE tenant_id = $1 AND expires_at < $2", tenant, self._now() - KEPT
        )
        return int(done.removeprefix("DELETE "))

    async def listed(self, tenant: Tenant, door: DoorId, *, limit: int) -> list[IssuedCommand]:
        """Give the newest commands to a door, newest first."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM commands WHERE tenant_id = $1 AND door_id = $2 ORDER BY counter DESC LIMIT $3",  # noqa: S608 - fixed words
            tenant,
            door,
            limit,
        )
        return await self._told(tenant, door, rows)

    async def shown(self, tenant: Tenant, door: DoorId, command_id: bytes) -> IssuedCommand:
        """Give one command to a door.

        Raises:
            CloudError: COMMAND_UNKNOWN.
        """
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM commands WHERE tenant_id = $1 AND door_id = $2"  # noqa: S608 - fixed words
            " AND command_id = $3",
            tenant,
            door,
            command_id,
        )
        if row is None:
            detail = f"Door {door} was given no command {command_id.hex()}; GET doors/{door}/commands lists them."
            raise CloudError(Reason.COMMAND_UNKNOWN, detail)
        return (await self._told(tenant, door, [row]))[0]

    async def newest(self, tenant: Tenant) -> Mapping[DoorId, int]:
        """Give the highest counter of the commands that still hold, for each door that has one."""
        rows = await self._pool.fetch(
            "SELECT door_id, max(counter) AS counter FROM commands WHERE tenant_id = $1 AND expires_at > $2"
            " GROUP BY door_id",
            tenant,
            self._now(),
        )
        return {row["door_id"]: row["counter"] for row in rows}

    async def document(self, tenant: Tenant, door: DoorId, *, after: int) -> bytes:
        """Give the commands to a door that still hold and come after a counter."""
        rows = await self._pool.fetch(
            "SELECT counter, sealed FROM commands WHERE tenant_id = $1 AND door_id = $2 AND counter > $3"
            " AND expires_at > $4 ORDER BY counter LIMIT $5",
            tenant,
            door,
            after,
            self._now(),
            MAX_COMMANDS,
        )
        last = rows[-1]["counter"] if rows else after
        return encode_command_list(CommandList(last, tuple(row["sealed"] for row in rows)))

    async def _told(self, tenant: Tenant, door: DoorId, rows: Sequence[asyncpg.Record]) -> list[IssuedCommand]:
        if not rows:
            return []
        found = await self._pool.fetch(
            "SELECT device_id, seq, kind, reason, credential FROM events WHERE tenant_id = $1 AND at >= $2"
            " AND door_id = $3 AND kind = ANY($4) AND credential = ANY($5) ORDER BY received_at, seq",
            tenant,
            min(row["issued_at"] for row in rows) - _CLOCKS_DIFFER,
            door,
            [int(EventKind.COMMAND_EXECUTED), int(EventKind.COMMAND_REFUSED)],
            [row["command_id"] for row in rows],
        )
        answers: dict[bytes, list[_Answer]] = {}
        for each in found:
            answer = _Answer(each["device_id"], each["seq"], EventKind(each["kind"]), each["reason"])
            answers.setdefault(each["credential"], []).append(answer)
        now = self._now()
        return [_shown(row, _decisive(answers.get(row["command_id"], [])), now) for row in rows]


def _decisive(answers: Sequence[_Answer]) -> _Answer | None:
    """Give the answer that counts: the last one; that a command was not taken twice is none."""
    counting = [each for each in answers if each.reason != Denial.COMMAND_REPLAYED]
    return next(reversed(counting or answers), None)


def _shown(row: asyncpg.Record, answer: _Answer | None, now: datetime) -> IssuedCommand:
    if answer is None:
        state = CommandState.PENDING if now < row["expires_at"] else CommandState.EXPIRED
    else:
        executed = answer.kind is EventKind.COMMAND_EXECUTED
        state = CommandState.EXECUTED if executed else CommandState.REFUSED
    return IssuedCommand(
        id=row["command_id"].hex(),
        door=row["door_id"],
        action=_NAMES[row["action"]],
        counter=row["counter"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        state=state,
        device=None if answer is None else answer.device,
        event=None if answer is None else answer.seq,
        reason=None if answer is None or answer.reason is None else Denial(answer.reason).name,
        mode=_asked(row)[1],
        hold_s=row["hold_s"],
    )


def _asked(row: asyncpg.Record) -> tuple[CommandAction, CommandMode | None, int | None]:
    """Give what an operator asked for with a command."""
    return _NAMES[row["action"]], None if row["mode"] is None else _MODE_NAMES[row["mode"]], row["hold_s"]


def _check(new: NewCommand) -> None:
    """Refuse an order that no door could read.

    Raises:
        CloudError: COMMAND_INVALID.
    """
    if new.mode is CommandMode.LOCKED_DOWN:
        detail = 'A lockdown is no command: PUT doors/{door}/lockdown or sites/{site}/lockdown with {"on": true}.'
    elif new.action is CommandAction.MODE and new.mode is None:
        detail = 'Say which mode the door is to rest in: "mode": "locked", "unlocked" or "blocked".'
    elif new.action is not CommandAction.MODE and (new.mode, new.hold_s) != (None, None):
        detail = f'Only the action "mode" takes mode and holdS; {new.action.value} has none.'
    else:
        return
    raise CloudError(Reason.COMMAND_INVALID, detail)


async def _lock_door(connection: Connection, tenant: Tenant, door: DoorId) -> None:
    """Let one transaction at a time give a door a counter."""
    known = await connection.fetchval(
        "SELECT 1 FROM doors WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE", tenant, door
    )
    if known is None:
        raise CloudError(Reason.DOOR_UNKNOWN, f"Institution {tenant} has no door {door!r}; make it first.")


async def _with_key(connection: Connection, tenant: Tenant, door: DoorId, key: str) -> asyncpg.Record | None:
    return await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM commands WHERE tenant_id = $1 AND door_id = $2 AND idempotency_key = $3",  # noqa: S608 - fixed words
        tenant,
        door,
        key,
    )


async def _insert(
    connection: Connection, tenant: Tenant, command: Command, key: str | None, sealed: bytes
) -> asyncpg.Record:
    row = await connection.fetchrow(
        "INSERT INTO commands (tenant_id, door_id, counter, command_id, action, issued_at, expires_at,"  # noqa: S608 - fixed words
        " idempotency_key, sealed, mode, hold_s)"
        " VALUES ($1, $2, $3, $4, $5, to_timestamp($6), to_timestamp($7), $8, $9, $10, $11)"
        f" RETURNING {_COLUMNS}",
        tenant,
        command.target,
        command.counter,
        command.command_id,
        int(command.action),
        command.issued_at_s,
        command.expires_at_s,
        key,
        sealed,
        None if command.mode is None else int(command.mode),
        command.hold_s,
    )
    assert row is not None  # noqa: S101 - RETURNING gives the row that was inserted
    return row


def _seal(command: Command, signer: Signer) -> bytes:
    try:
        return seal_command(command, signer)
    except WireError as error:
        detail = "An unlock holds for at most 60 s, anything else for an hour; choose a shorter expiresInS."
        raise CloudError(Reason.COMMAND_INVALID, detail) from error
