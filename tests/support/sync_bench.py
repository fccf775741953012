"""A door's synchronisation on a bench: every part in reach, virtual time, a peer cloud at the other end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync.engine import SyncEngine
from tests.support.door_journal import MemoryJournal
from tests.support.door_materials import MemoryMaterials
from tests.support.memory_uplink import FaultyUplink
from tests.support.peer_cloud import DEVICE_SIGNER, PeerCloud
from tests.support.virtual_time import VirtualSurroundings
from wire.trust import seal_trust

if TYPE_CHECKING:
    from sync.ports import Notice, Uplink


@dataclass(slots=True)
class Listener:
    """Keeps what the engine tells the clock and the log."""

    times: list[tuple[int, int]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        self.times.append((issued_at_ms, uncertainty_ms))

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)


class Bench:
    """One door and its cloud.

    Args:
        deletes: the journal forgets what is backed up.
    """

    def __init__(self, *, deletes: bool = True) -> None:
        self.surroundings = VirtualSurroundings()
        self.cloud = PeerCloud(self.surroundings)
        self.journal = MemoryJournal(deletes=deletes)
        self.materials = MemoryMaterials(self.cloud.root.public_key)
        self.uplink = FaultyUplink(self.cloud)
        self.listener = Listener()
        self.engine = self.restarted()

    def restarted(self, uplink: Uplink | None = None) -> SyncEngine:
        """Begin synchronisation anew, as after a restart of the daemon; over another uplink if one is given."""
        self.engine = SyncEngine(
            journal=self.journal,
            materials=self.materials,
            uplink=uplink or self.uplink,
            signer=DEVICE_SIGNER,
            signed_time=self.listener,
            surroundings=self.surroundings,
            notices=self.listener,
        )
        return self.engine

    @property
    def stored(self) -> list[bytes]:
        """What the cloud has of this journal."""
        journal = self.cloud.journals.get(self.journal.epoch)
        return [] if journal is None else journal.events

    async def trusting(self) -> Bench:
        """Give the door the cloud's trust bundle."""
        await self.materials.accept_trust(seal_trust(self.cloud.trust, self.cloud.root))
        self.materials.accepted.clear()
        return self

    async def push_until_quiet(self, *, steps: int) -> int:
        """Let events flow until nothing is left to do.

        Returns:
            how many steps it took.

        Raises:
            AssertionError: it took more than `steps`.
        """
        for taken in range(steps):
            pause = await self.engine.push.step()
            if pause.wakeable:
                return taken
        status = await self.engine.status()
        raise AssertionError(status)
