"""Trust, commands, status lists, policy and roster down: ask what is new, fetch it, hand it to the door to verify.

Invariant: trust comes first, then commands, for which somebody waits, then every status list the cloud names, then
policy, then the roster; one that is refused leaves the old one in force and does not keep the others from coming.
Must not: verify or keep a document itself; stop for any fault of the cloud.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sync.hints import with_taken_commands
from sync.loop import LoopHealth
from sync.pace import PullPace
from sync.ports import (
    Fetched,
    Materials,
    NotModified,
    Reason,
    Surroundings,
    SyncError,
    Uplink,
    UplinkError,
)
from sync.tasks import end
from wire.command_list import MAX_COMMAND_LIST_BYTES
from wire.errors import WireError
from wire.messages import (
    DEVICE_COMMANDS,
    DEVICE_POLICY,
    DEVICE_ROSTER,
    DEVICE_STATUS,
    DEVICE_TRUST,
    MEDIA_ROSTER_DELTA,
    MEDIA_STATUS_DELTA,
)
from wire.policy import MAX_POLICY_BYTES
from wire.roster import MAX_ROSTER_BYTES
from wire.status_list import MAX_TOKEN_BYTES
from wire.trust import MAX_BUNDLE_BYTES
from wire.versions import Versions

_SPECIFIC: Final = frozenset({Reason.REFUSED, Reason.UNREADABLE})
"""Faults of one document; after any other the connection itself is in doubt, and asking on would only wait."""


@dataclass(frozen=True, slots=True)
class _Document:
    """A document of which the door has version `held` (None for none)."""

    name: str
    path: str
    held: int | None
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _Delta:
    """How a document changes: the version that it changes from, the media type, and who applies it."""

    since: int | None
    media_type: str
    accept: Callable[[bytes], Awaitable[None]]


class PullLoop:
    """Keeps the door's documents as new as the cloud's.

    Args:
        materials: what the door decides by.
        uplink: the way to the cloud.
        surroundings: clocks and waiting.
        health: keeps the loop's status.
        crowd: is called when others may have learned the same at the same moment, before it is fetched.
    """

    def __init__(
        self,
        materials: Materials,
        uplink: Uplink,
        surroundings: Surroundings,
        health: LoopHealth,
        crowd: Callable[[], None],
    ) -> None:
        self._crowd = crowd
        self._materials = materials
        self._uplink = uplink
        self._surroundings = surroundings
        self._health = health
        self._pace = PullPace()
        self._refresh = asyncio.Event()

    def refresh(self) -> None:
        """Have the cloud asked at once, by a quick question, whatever the loop waits for."""
        self._refresh.set()

    async def run(self) -> None:
        """Ask for ever; ends by cancellation, or with a fault that is not one of synchronisation."""
        while True:
            await self._surroundings.wait_for(self._refresh, await self.step())

    async def step(self) -> float:
        """Ask once, fetch what is new, and give the seconds to wait before asking again."""
        if self._refresh.is_set():
            self._refresh.clear()
            self._pace = self._pace.hurried()
        before, asked_s = self._materials.versions(), self._pace.wait_s
        started_ms = self._surroundings.monotonic_ms()
        try:
            offered = await self._ask(before, asked_s)
            if offered is None:
                return 0.0
            # A quick question is a door's own; what ends a long one is told to many. A command is for few.
            if asked_s and replace(offered, commands=before.commands) != before:
                self._crowd()
            await self._update(before, offered)
        except SyncError as error:
            return self._health.failed(error)
        self._health.succeeded()
        elapsed_s = (self._surroundings.monotonic_ms() - started_ms) / 1000
        return self._pace.pause_s(asked_s=asked_s, changed=offered != before, elapsed_s=elapsed_s)

    async def _ask(self, held: Versions, wait_s: int) -> Versions | None:
        """Ask what there is; None when a long question was given up for a quick one."""
        asking = self._uplink.changes(held, wait_s=wait_s)
        try:
            offered = await (self._unless_refreshed(asking) if wait_s else asking)
        except UplinkError:
            self._pace = self._pace.broke()
            raise
        if offered is None:
            return None
        self._pace = self._pace.answered()
        return with_taken_commands(offered, held)

    async def _unless_refreshed(self, asking: Coroutine[None, None, Versions]) -> Versions | None:
        """Wait for an answer, or for the order to ask anew, which ends the question."""
        question, hurry = asyncio.ensure_future(asking), asyncio.ensure_future(self._refresh.wait())
        try:
            await asyncio.wait((question, hurry), return_when=asyncio.FIRST_COMPLETED)
            return question.result() if question.done() else None
        finally:
            await end((question, hurry))

    async def _update(self, held: Versions, offered: Versions) -> None:
        faults: list[SyncError] = []
        for update in self._updates(held, offered):
            try:
                await update()
            except UplinkError as error:
                if error.reason not in _SPECIFIC:
                    raise
                faults.append(error)
            except SyncError as error:
                faults.append(error)
        if faults:
            raise faults[0]
        if offered != held and self._materials.versions() == held:
            raise _no_progress(held, offered)

    def _updates(self, held: Versions, offered: Versions) -> list[Callable[[], Awaitable[None]]]:
        """List what to do, in the order that lets each document be verified with the newest keys."""
        updates: list[Callable[[], Awaitable[None]]] = []
        if offered.trust > held.trust:
            updates.append(self._fetch_trust)
        if offered.commands > held.commands:
            updates.append(partial(self._fetch_commands, held.commands))
        for number, sequence in sorted(offered.status.items()):
            if sequence > held.status.get(number, -1):
                updates.append(partial(self._fetch_list, number, held.status.get(number)))
        if offered.policy > held.policy:
            updates.append(self._fetch_policy)
        if offered.roster > held.roster:
            updates.append(self._fetch_roster)
        return updates

    async def _fetch_trust(self) -> None:
        held = self._materials.versions().trust
        document = _Document("trust bundle", DEVICE_TRUST, held or None, MAX_BUNDLE_BYTES)
        found = await self._fetch(document, {})
        if isinstance(found, Fetched):
            await _accept(document, self._materials.accept_trust, found.data)

    async def _fetch_commands(self, after: int) -> None:
        document = _Document("list of commands", DEVICE_COMMANDS, None, MAX_COMMAND_LIST_BYTES)
        found = await self._fetch(document, {"after": str(after)})
        if isinstance(found, Fetched):
            await _accept(document, self._materials.accept_commands, found.data)

    async def _fetch_policy(self) -> None:
        held = self._materials.versions().policy
        document = _Document("policy", DEVICE_POLICY, held or None, MAX_POLICY_BYTES)
        found = await self._fetch(document, {})
        if isinstance(found, Fetched):
            await _accept(document, self._materials.accept_policy, found.data)

    async def _fetch_list(self, number: int, held: int | None) -> None:
        document = _Document(f"status list {number}", f"{DEVICE_STATUS}/{number}", held, MAX_TOKEN_BYTES)
        delta = _Delta(held, MEDIA_STATUS_DELTA, self._materials.accept_delta)
        await self._fetch_changes(document, delta, self._materials.accept_status)

    async def _fetch_roster(self) -> None:
        held = self._materials.versions().roster
        document = _Document("roster", DEVICE_ROSTER, held or None, MAX_ROSTER_BYTES)
        delta = _Delta(self._materials.roster_base() or None, MEDIA_ROSTER_DELTA, self._materials.accept_roster_delta)
        await self._fetch_changes(document, delta, self._materials.accept_roster)

    async def _fetch_changes(
        self, document: _Document, delta: _Delta, accept: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Bring a document up to date: by delta if the cloud gives one that applies, else whole."""
        found = await self._fetch(document, {} if delta.since is None else {"since": str(delta.since)})
        if isinstance(found, NotModified):
            return
        if found.media_type == delta.media_type:
            try:
                await delta.accept(found.data)
            except WireError:
                found = await self._uplink.fetch(document.path, etag=None, query={}, max_bytes=document.max_bytes)
            else:
                return
        if isinstance(found, Fetched):
            await _accept(document, accept, found.data)

    async def _fetch(self, document: _Document, query: dict[str, str]) -> Fetched | NotModified:
        etag = None if document.held is None else f'"{document.held}"'
        return await self._uplink.fetch(document.path, etag=etag, query=query, max_bytes=document.max_bytes)


async def _accept(document: _Document, accept: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
    try:
        await accept(data)
    except WireError as error:
        raise SyncError(
            Reason.MATERIAL_REFUSED,
            what=f"the {document.name} that the cloud sent was refused ({error})",
            remedy="the one in force stays; if it persists, ask the cloud's operator",
        ) from error


def _no_progress(held: Versions, offered: Versions) -> SyncError:
    return SyncError(
        Reason.NO_PROGRESS,
        what=f"the cloud offers {_listed(offered)}, this door has {_listed(held)}",
        remedy="the newer ones stay in force; ask the cloud's operator whether it was restored from a backup",
    )


def _listed(versions: Versions) -> str:
    lists = dict(versions.status)
    documents = f"trust {versions.trust}, policy {versions.policy}, status {lists}, roster {versions.roster}"
    return f"{documents}, commands {versions.commands}"
