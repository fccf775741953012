"""Which rows of which batches go in: the high-water mark rule, as a pure function.

Invariant: a device's stored events are 1, 2, 3 … of one chain in each epoch; what is stored already is skipped, never
stored again; what does not follow is refused and changes nothing. What contradicts the stored journal quarantines its
device (docs/adr/0012-quarantine.md).
Must not: touch the database; the marks are passed in, locked by the caller. Source: docs/spec/sync.md.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from cloud.errors import Reason
from cloud.events.reading import ReadBatch
from cloud.events.rows import PARTS_A_ROW
from wire.event import CHAIN_START
from wire.names import DeviceId, Tenant

DeviceKey: TypeAlias = tuple[Tenant, DeviceId]
ALARMS: Final = frozenset({Reason.CHAIN_BROKEN, Reason.EPOCH_CLOSED, Reason.EPOCH_UNEXPECTED})
"""Two writers of one journal, or a copied device: they quarantine it."""
_HELD: Final = (
    "This device is in quarantine because of what was sent before; nothing is stored until an operator has decided: see"
    " GET …/devices and release it with POST …/devices/{device}/quarantine/release."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a device's journal has come.

    Attributes:
        epoch: None before the first event.
        durable: number of the last stored event; 0 for none.
        head: its hash.
        backed_up: number of the last event that is in a backup as well.
        closed: the epochs before this one, and the number of the last stored event of each.
        accepted: the other epoch that may begin, by an operator's word; None for none.
        quarantined: nothing is stored.
    """

    epoch: bytes | None = None
    durable: int = 0
    head: bytes = CHAIN_START
    backed_up: int = 0
    closed: Mapping[bytes, int] = field(default_factory=dict)
    accepted: bytes | None = None
    quarantined: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """The batch's rows from `skip` on are new and go in."""

    skip: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """All of it is stored already; its head is the journal's."""


@dataclass(frozen=True, slots=True)
class Older:
    """All of it is stored already, perhaps in a closed journal, if the stored event `seq` has the hash `head`."""

    seq: int
    head: bytes
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The batch changes nothing; `durable` tells the device where to go on."""

    reason: Reason
    detail: str
    durable: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why a device goes into quarantine, and by which batch: its epoch and first number."""

    reason: Reason
    epoch: bytes
    first: int


Verdict: TypeAlias = Stored | Repeated | Older | Refused


@dataclass(slots=True)
class Plan:
    """What one transaction does.

    Attributes:
        verdicts: one a batch, in the order given.
        runs: parts of the rows to store, in the order of the journals; events: how many rows.
        marks: the devices whose mark moves, and to where.
        closing: marks of epochs that end here.
        answers: the mark that answers a batch which is not refused, by device and epoch.
        alarms: the devices that go into quarantine.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    runs: list[list[bytes]] = field(default_factory=list)
    events: int = 0
    marks: dict[DeviceKey, Mark] = field(default_factory=dict)
    closing: list[tuple[DeviceKey, Mark]] = field(default_factory=list)
    answers: dict[tuple[DeviceKey, bytes], Mark] = field(default_factory=dict)
    alarms: dict[DeviceKey, Alarm] = field(default_factory=dict)


def judge(mark: Mark, batch: ReadBatch) -> Verdict:
    """Compare one batch with the mark."""
    own = batch.epoch == mark.epoch
    if mark.quarantined:
        return Refused(Reason.DEVICE_QUARANTINED, _HELD, mark.durable if own else 0)
    if batch.broken_at is not None:
        detail = f"Event {batch.broken_at} does not follow from event {batch.broken_at - 1} of its own batch."
        return Refused(Reason.CHAIN_BROKEN, detail, mark.durable if own else 0)
    return _judge_same_epoch(mark, batch) if own else _judge_other_epoch(mark, batch)


def _judge_other_epoch(mark: Mark, batch: ReadBatch) -> Verdict:
    if batch.epoch in mark.closed:
        known = batch.last <= mark.closed[batch.epoch]
        return Older(batch.last, batch.head, closed=True) if known else after_the_end()
    if mark.epoch is not None and batch.epoch != mark.accepted:
        detail = "This device has another journal already; an operator must accept a further one before it may begin."
        return Refused(Reason.EPOCH_UNEXPECTED, detail, 0)
    if batch.first != 1:
        return Refused(Reason.SEQUENCE_GAP, f"A new epoch starts with event 1, not {batch.first}.", 0)
    if batch.prev != CHAIN_START:
        return Refused(Reason.CHAIN_BROKEN, "The first event of an epoch names 32 zero bytes as the hash before it.", 0)
    return Stored(0)


def _judge_same_epoch(mark: Mark, batch: ReadBatch) -> Verdict:
    durable = mark.durable
    if batch.first > durable + 1:
        detail = f"Events up to {durable} are stored; send on from {durable + 1}, not {batch.first}."
        return Refused(Reason.SEQUENCE_GAP, detail, durable)
    if batch.last < durable:
        return Older(batch.last, batch.head)
    overlap = durable + 1 - batch.first
    before = hashlib.sha256(batch.events[overlap - 1]).digest() if overlap else batch.prev
    if before != mark.head:
        return broken(durable)
    return Stored(overlap) if batch.last > durable else Repeated()


def after_the_end() -> Refused:
    """Refuse a batch of a journal that was closed."""
    detail = "This journal was closed when a newer one of the same device was accepted, and yet somebody sends of it."
    return Refused(Reason.EPOCH_CLOSED, detail, 0)


def broken(durable: int) -> Refused:
    """Refuse a batch that tells another story than the one that is stored."""
    detail = "Another event is stored under the same number: two devices write this journal, or it was altered."
    return Refused(Reason.CHAIN_BROKEN, detail, durable)


def arrange(marks: Mapping[DeviceKey, Mark], batches: Sequence[ReadBatch]) -> Plan:
    """Plan one transaction for batches that arrived together.

    Batches of one device and epoch are taken by number, so that two that overtook each other both go in; epochs are
    taken in order of arrival.

    Args:
        marks: of every device that is known and may send.
        batches: in order of arrival.
    """
    plan = Plan()
    now = dict(marks)
    verdicts: dict[int, Verdict] = {}
    for place in _order(batches):
        batch = batches[place]
        key = (batch.tenant, batch.device)
        mark = now.get(key)
        if mark is None:
            detail = "This device may not send events any more; enrol it again with a new claim code."
            verdicts[place] = Refused(Reason.DEVICE_REVOKED, detail, 0)
            continue
        verdict = verdicts[place] = judge(mark, batch)
        if isinstance(verdict, Stored):
            plan.runs.append(batch.parts[verdict.skip * PARTS_A_ROW :] if verdict.skip else batch.parts)
            plan.events += len(batch.events) - verdict.skip
            now[key] = plan.marks[key] = _advance(plan, key, mark, batch)
        if isinstance(verdict, Refused):
            if verdict.reason in ALARMS:
                plan.alarms[key] = Alarm(verdict.reason, batch.epoch, batch.first)
                now[key] = replace(mark, quarantined=True)
        elif batch.epoch == now[key].epoch:
            plan.answers[key, batch.epoch] = now[key]
    plan.verdicts.extend(verdicts[place] for place in range(len(batches)))
    return plan


def _order(batches: Sequence[ReadBatch]) -> list[int]:
    arrival: dict[tuple[Tenant, DeviceId, bytes], int] = {}
    for batch in batches:
        arrival.setdefault((batch.tenant, batch.device, batch.epoch), len(arrival))
    return sorted(
        range(len(batches)),
        key=lambda place: (
            arrival[batches[place].tenant, batches[place].device, batches[place].epoch],
            batches[place].first,
        ),
    )


def _advance(plan: Plan, key: DeviceKey, mark: Mark, batch: ReadBatch) -> Mark:
    if mark.epoch == batch.epoch:
        return replace(mark, durable=batch.last, head=batch.head)
    closed = mark.closed
    if mark.epoch is not None:
        plan.closing.append((key, mark))
        closed = {**closed, mark.epoch: mark.durable}
    return Mark(epoch=batch.epoch, durable=batch.last, head=batch.head, closed=closed)
