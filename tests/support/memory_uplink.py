"""Ways to a `PeerCloud` without a network: one that works, and one that loses, repeats, delays and lies."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING

from sync.answers import refuse, unreadable
from sync.ports import Fetched, NotModified, Reason, UplinkError
from tests.support.peer_cloud import DEVICE_SIGNER, Refusal, signer
from wire.batch import MAX_BATCH_EVENTS, open_batch
from wire.messages import DEVICE_COMMANDS, DEVICE_POLICY, DEVICE_ROSTER, DEVICE_STATUS, DEVICE_TRUST
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.peer_cloud import PeerCloud


def silence() -> UplinkError:
    """Make the error of a cloud that does not answer."""
    return UplinkError(Reason.DEADLINE, what="no answer in time", remedy="wait")


class MemoryUplink:
    """`sync.ports.Uplink` that calls the peer directly.

    Args:
        cloud: the peer.

    Attributes:
        down: nothing gets through.
        doubted: how often an answer was doubted.
        bearable_events: most events of a batch.
        direct: the cloud itself answers.
    """

    def __init__(self, cloud: PeerCloud) -> None:
        self.cloud = cloud
        self.down = False
        self.doubted = 0
        self.bearable_events = MAX_BATCH_EVENTS
        self.direct = True
        self._closed = False

    async def send_batch(self, data: bytes) -> bytes:
        self._check()
        try:
            return self.cloud.take_batch(data)
        except Refusal as refusal:
            body = {"reason": refusal.reason, "detail": refusal.reason, "durable": refusal.durable}
            refuse(refusal.status, json.dumps(body).encode(), retry_after=None)

    def doubt(self) -> None:
        self.doubted += 1

    async def report(self, data: bytes) -> None:
        self._check()
        self.cloud.reports.append(data)

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        self._check()
        kinds = {
            DEVICE_TRUST: "trust",
            DEVICE_POLICY: "policy",
            DEVICE_ROSTER: "roster",
            DEVICE_COMMANDS: "commands",
        }
        try:
            document = self.cloud.document(kinds.get(path) or f"status/{path.removeprefix(DEVICE_STATUS + '/')}", query)
        except Refusal as refusal:
            refuse(refusal.status, json.dumps({"reason": refusal.reason}).encode(), retry_after=None)
        if document.etag == etag:
            return NotModified()
        if len(document.data) > max_bytes:
            raise unreadable(f"more than {max_bytes} bytes")
        return Fetched(document.data, document.media_type, document.etag)

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        self._check()
        return await self.cloud.changes(versions, wait_s=wait_s)

    async def aclose(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise UplinkError(Reason.CLOSED, what="the uplink was closed", remedy="open it again")
        if self.down:
            raise UplinkError(Reason.UNREACHABLE, what="no route", remedy="plug the cable in")


class Fault(Enum):
    """What happens to one batch and its answer."""

    NONE = "none"
    BATCH_LOST = "batch_lost"
    ANSWER_LOST = "answer_lost"
    BATCH_HELD = "batch_held"  # arrives later, when `release` is called
    BATCH_TWICE = "batch_twice"
    BATCH_DAMAGED = "batch_damaged"
    OLD_ANSWER = "old_answer"  # an earlier acknowledgement, truly signed
    FORGED_KEY = "forged_key"  # not delivered, and acknowledged with a key that nobody trusts
    WRONG_PURPOSE = "wrong_purpose"  # not delivered, and acknowledged with the institution's status key
    WRONG_HEAD = "wrong_head"  # truly signed, about other events
    AHEAD = "ahead"  # truly signed, about events that do not exist
    OTHER_DEVICE = "other_device"
    OTHER_EPOCH = "other_epoch"
    GARBAGE = "garbage"
    NOTHING = "nothing"
    FALSE_GAP = "false_gap"  # not delivered, and an earlier mark claimed
    BUSY = "busy"


class FaultyUplink(MemoryUplink):
    """An uplink whose next batches suffer what `faults` says; NONE once it is empty.

    Args:
        cloud: the peer.
    """

    def __init__(self, cloud: PeerCloud) -> None:
        super().__init__(cloud)
        self.faults: list[Fault] = []
        self.claimed = 0
        self._held: list[bytes] = []
        self._old: list[bytes] = []

    def release(self, place: int) -> None:
        """Deliver a batch that was held; its answer reaches nobody."""
        if self._held:
            try:
                self.cloud.take_batch(self._held.pop(place % len(self._held)))
            except Refusal:
                return

    async def send_batch(self, data: bytes) -> bytes:
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault is Fault.BATCH_LOST:
            raise silence()
        if fault is Fault.BATCH_HELD:
            self._held.append(data)
            raise silence()
        if fault is Fault.FALSE_GAP:
            raise UplinkError(Reason.SEQUENCE_GAP, what="a gap", remedy="rewind", durable=self.claimed)
        if fault is Fault.BUSY:
            raise UplinkError(Reason.BUSY, what="busy", remedy="wait", retry_after_s=5.0)
        if fault in _UNDELIVERED:
            return self._lie(fault, data)
        if fault is Fault.BATCH_DAMAGED:
            data = data[:-1] + bytes((data[-1] ^ 1,))
        if fault is Fault.BATCH_TWICE:
            await super().send_batch(data)
        answer = await super().send_batch(data)
        self._old.append(answer)
        if fault is Fault.ANSWER_LOST:
            raise silence()
        return self._old[0] if fault is Fault.OLD_ANSWER else answer

    def _lie(self, fault: Fault, data: bytes) -> bytes:
        """Acknowledge what was never delivered, as somebody could who saw the batch: with its own head."""
        batch = open_batch(data, DEVICE_SIGNER.public_key)
        everything: dict[str, object] = {"durable": batch.last, "backed_up": batch.last, "head": batch.head}
        lies: dict[Fault, dict[str, object]] = {
            Fault.FORGED_KEY: {"signer": signer(99)},
            Fault.WRONG_PURPOSE: {"signer": self.cloud.status_key},
            Fault.WRONG_HEAD: {"head": b"\x01" * 32},
            Fault.AHEAD: {"durable": 10**9, "backed_up": 10**9},
            Fault.OTHER_DEVICE: {"device": "back-door-1111"},
            Fault.OTHER_EPOCH: {"epoch": b"\xff" * 8},
        }
        if fault is Fault.GARBAGE:
            return b"\xd2\x84garbage"
        return (
            b"" if fault is Fault.NOTHING else self.cloud.acknowledgement(batch.epoch, **{**everything, **lies[fault]})
        )


_UNDELIVERED = frozenset(
    {
        Fault.FORGED_KEY,
        Fault.WRONG_PURPOSE,
        Fault.WRONG_HEAD,
        Fault.AHEAD,
        Fault.OTHER_DEVICE,
        Fault.OTHER_EPOCH,
        Fault.GARBAGE,
        Fault.NOTHING,
    }
)
