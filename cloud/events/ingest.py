"""Group commit: batches that wait together are stored together.

Invariant: a batch is answered only after the transaction that holds it has been committed; what waits is bounded in
bytes and in batches a device.
Must not: let the fault of one batch change the answer to another.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from cloud.database import ACQUIRE_S, AWAY, Pool
from cloud.devices.guard import DeviceIdentity
from cloud.errors import CloudError, Reason
from cloud.events.admission import ALARMS, DeviceKey, Mark, Plan, Refused
from cloud.events.metrics import IngestMetrics
from cloud.events.partitions import Partitions
from cloud.events.reading import ReadBatch, read_batch
from cloud.events.store import store, touched_days
from cloud.events.turns import Room, TurnLock, Turns
from cloud.health import Check
from cloud.settings import MIB
from wire.batch import Acknowledgement, seal_acknowledgement
from wire.keys import Signer
from wire.names import Tenant

GROUP_EVENTS: Final = 4_000
"""Most events of one transaction: about 30 ms of COPY. Larger groups gain little, and while all the doors wait for one
commit nothing arrives that could be read meanwhile."""
MAX_WAITING_BYTES: Final = 16 * MIB
"""Most bytes of batches that are not answered yet: 1,000 doors with 100 events each, some two seconds of work; more
would only be answered later. As rows they take four times as much memory. Tenants share it (`turns.Room`)."""
MAX_WAITING_A_DEVICE: Final = 8
"""Most batches of one device that are not answered yet; a door has one or two on their way."""
STORE_S: Final = 30.0
STUCK_S: Final = 10.0
_RETRY_S: Final = 1
QUARANTINE_RETRY_S: Final = 300
"""How long a device in quarantine leaves us alone: an operator needs minutes to decide, and a door that was released is
to go on soon. Doors wait ten minutes at most, whatever is asked of them (sync/backoff.py)."""
_DATABASE_RETRY_S: Final = 2
_ROW_FAULTS: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
"""A fault of some row, as opposed to one of the connection: the others are stored without it."""
_LOG: Final = structlog.get_logger(__name__)

Acknowledgers = Callable[[Tenant], Awaitable[Signer]]
"""Gives a tenant's acknowledgement key."""


class JournalConflict(CloudError):
    """A batch does not follow what is stored.

    Args:
        reason: SEQUENCE_GAP or one that quarantines.
        detail: for people.
        durable: number of the last stored event of this journal; 0 for none.
        retry_after_s: as with CloudError.
    """

    def __init__(self, reason: Reason, detail: str, *, durable: int, retry_after_s: int | None = None) -> None:
        super().__init__(reason, detail, retry_after_s=retry_after_s)
        self.durable = durable


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A batch, the key that will acknowledge it, who waits for the answer, and since when (monotonic)."""

    batch: ReadBatch
    signer: Signer
    answer: asyncio.Future[bytes]
    since_s: float


class Ingest:
    """Takes batches, stores them in groups, acknowledges them.

    Args:
        pool: the database.
        acknowledgers: the tenants' acknowledgement keys.
        metrics: counts.
        now: the wall clock.
        stuck_s: a batch that waits longer makes the service unhealthy.
        max_waiting_bytes: beyond this, devices are sent away for a while.
    """

    def __init__(
        self,
        pool: Pool,
        acknowledgers: Acknowledgers,
        metrics: IngestMetrics,
        *,
        now: Callable[[], datetime],
        stuck_s: float = STUCK_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._stuck_s = stuck_s
        self._room_left = Room(max_waiting_bytes)
        self._pool = pool
        self._acknowledgers = acknowledgers
        self._metrics = metrics
        self._now = now
        self._waiting: Turns[_Waiting] = Turns()
        self._batches: Counter[DeviceKey] = Counter()
        self._arrived = asyncio.Event()
        self._settling: list[_Waiting] = []
        self._reading = TurnLock()
        self._partitions = Partitions()

    async def submit(self, who: DeviceIdentity, body: bytes) -> bytes:
        """Store a batch and give the signed acknowledgement.

        Raises:
            JournalConflict: SEQUENCE_GAP when earlier events are missing; CHAIN_BROKEN when others are stored,
                EPOCH_UNEXPECTED for a further journal, EPOCH_CLOSED for an earlier one: the device is in quarantine
                from then on, and everything of it is answered with DEVICE_QUARANTINED.
            CloudError: BATCH_INVALID, BATCH_SIGNATURE_INVALID, BATCH_FOREIGN, DEVICE_REVOKED, INGEST_BUSY or
                DATABASE_UNAVAILABLE; nothing of the batch is promised then.
        """
        try:
            with self._room(who, len(body)):
                signer = await self._acknowledgers(who.tenant)
                return await self._enqueue(await self._read(who, body), signer)
        except CloudError as error:
            self._metrics.refused(error.reason)
            raise

    async def run(self) -> None:
        """Store what waits, group by group; runs until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._settling = self._take()
                await self._settle(self._settling)
                self._settling = []
        finally:
            for item in (*self._settling, *self._waiting):
                if not item.answer.done():
                    item.answer.set_exception(_busy("The service is stopping."))
            self._waiting.clear()

    async def check(self) -> Check:
        """Tell `/health` whether batches are answered in time."""
        oldest = min((item.since_s for item in (*self._settling, *self._waiting)), default=None)
        waited_s = 0.0 if oldest is None else asyncio.get_running_loop().time() - oldest
        stuck = waited_s > self._stuck_s
        detail = f"The oldest batch has waited for {waited_s:.0f} s; see the log and the database." if stuck else None
        return Check(ok=not stuck, value=self._batches.total(), detail=detail)

    async def _read(self, who: DeviceIdentity, body: bytes) -> ReadBatch:
        """Check a batch, one in each turn of the event loop, tenant by tenant.

        Doors that are answered together send together; were their batches read in one go, every step of the
        transaction under way would wait for all of them.
        """
        async with self._reading.turn(who.tenant):
            batch = read_batch(body, who, now_ms=_unix_ms(self._now()))
            await asyncio.sleep(0)
        return batch

    @contextmanager
    def _room(self, who: DeviceIdentity, size: int) -> Iterator[None]:
        """Count a batch from its arrival to its answer, and refuse it when there are too many."""
        key = (who.tenant, who.device)
        if not self._room_left.has(who.tenant, size):
            raise _busy("More events of this institution arrive than can be stored beside those of the others.")
        if self._batches[key] >= MAX_WAITING_A_DEVICE:
            raise _busy("This device has too many batches on their way; wait for their answers.")
        self._room_left.take(who.tenant, size)
        self._batches[key] += 1
        self._metrics.waiting.inc()
        try:
            yield
        finally:
            self._room_left.give_back(who.tenant, size)
            self._batches[key] -= 1
            if not self._batches[key]:
                del self._batches[key]
            self._metrics.waiting.dec()

    async def _enqueue(self, batch: ReadBatch, signer: Signer) -> bytes:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append(batch.tenant, _Waiting(batch, signer, answer, loop.time()))
        self._arrived.set()
        return await answer

    def _take(self) -> list[_Waiting]:
        """Take batches, tenant by tenant in turn, at most `GROUP_EVENTS` events (but at least one batch)."""
        group: list[_Waiting] = []
        events = 0
        while self._waiting and (not group or events + len(self._waiting.peek().batch.events) <= GROUP_EVENTS):
            item = self._waiting.pop()
            group.append(item)
            events += len(item.batch.events)
        if not self._waiting:
            self._arrived.clear()
        return group

    async def _settle(self, group: Sequence[_Waiting]) -> None:
        """Store a group and answer everybody in it, whatever happens."""
        fault = await self._attempt(group)
        if isinstance(fault, _ROW_FAULTS):
            self._partitions.forget()
            for item in group:
                _refuse([item], await self._attempt([item]))
        else:
            _refuse(group, fault)

    async def _attempt(self, group: Sequence[_Waiting]) -> Exception | None:
        try:
            await self._store(group)
        except Exception as error:  # noqa: BLE001 - the supervisor of the worker: a fault costs one group, not the service
            return error
        return None

    async def _store(self, group: Sequence[_Waiting]) -> None:
        batches = [item.batch for item in group]
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(STORE_S), self._pool.acquire(timeout=ACQUIRE_S) as connection:
            if self._partitions.missing(days := touched_days(batches)):
                await self._partitions.ensure(connection, days)
            started_s = loop.time()
            plan = await store(connection, batches, now=self._now())
        self._metrics.commit_s.observe(loop.time() - started_s)
        self._metrics.group_events.observe(plan.events)
        self._metrics.events.inc(plan.events)
        self._tell_alarms(plan)
        self._answer(group, plan)

    def _tell_alarms(self, plan: Plan) -> None:
        """Say which devices are in quarantine now, whether or not whoever sent the batch still waits."""
        for (tenant, device), alarm in plan.alarms.items():
            self._metrics.alarmed(alarm.reason)
            _LOG.warning(
                "journal_alarm",
                reason=alarm.reason.name,
                tenant=tenant,
                device=device,
                epoch=alarm.epoch.hex(),
                first=alarm.first,
                remedy="nothing of this device is stored until it is released; see docs/operations.md",
            )

    def _answer(self, group: Sequence[_Waiting], plan: Plan) -> None:
        """Give each batch its answer; batches of one journal share one acknowledgement."""
        signed: dict[tuple[DeviceKey, bytes], bytes] = {}
        now_ms = _unix_ms(self._now())
        for item, verdict in zip(group, plan.verdicts, strict=True):
            if item.answer.done():
                continue
            if isinstance(verdict, Refused):
                item.answer.set_exception(_refusal(verdict))
                continue
            key = ((item.batch.tenant, item.batch.device), item.batch.epoch)
            if key not in signed:
                signed[key] = _acknowledge(item, plan.answers[key], now_ms)
            self._metrics.batches.inc()
            item.answer.set_result(signed[key])


_CONFLICTS: Final = frozenset({Reason.SEQUENCE_GAP, Reason.DEVICE_QUARANTINED, *ALARMS})
_UNAVAILABLE: Final = "The database does not answer; the same batch may be stored soon, or is already: send it again."


def _acknowledge(item: _Waiting, mark: Mark, now_ms: int) -> bytes:
    acknowledgement = Acknowledgement(
        device=item.batch.device,
        epoch=item.batch.epoch,
        durable=mark.durable,
        head=mark.head,
        backed_up=mark.backed_up,
        issued_at_ms=now_ms,
    )
    return seal_acknowledgement(acknowledgement, item.signer)


def _refusal(verdict: Refused) -> CloudError:
    if verdict.reason in _CONFLICTS:
        wait_s = None if verdict.reason is Reason.SEQUENCE_GAP else QUARANTINE_RETRY_S
        return JournalConflict(verdict.reason, verdict.detail, durable=verdict.durable, retry_after_s=wait_s)
    return CloudError(verdict.reason, verdict.detail)


def _refuse(group: Sequence[_Waiting], fault: Exception | None) -> None:
    """Answer those who are not answered yet; nobody without a fault."""
    if fault is None:
        return
    reason, detail, retry_after_s = _explain(fault)
    _LOG.warning(
        "events_not_stored",
        reason=reason.name,
        error=str(fault),
        batches=len(group),
        exc_info=fault if reason is Reason.INTERNAL else None,
    )
    for item in group:
        if not item.answer.done():
            item.answer.set_exception(CloudError(reason, detail, retry_after_s=retry_after_s))


def _explain(fault: Exception) -> tuple[Reason, str, int | None]:
    if isinstance(fault, _ROW_FAULTS):
        return Reason.BATCH_INVALID, f"The database refuses an event of this batch: {fault}", None
    if isinstance(fault, (*AWAY, asyncpg.PostgresError)):
        return Reason.DATABASE_UNAVAILABLE, _UNAVAILABLE, _DATABASE_RETRY_S
    return Reason.INTERNAL, "An unexpected fault; the service's log tells more.", None


def _busy(fact: str) -> CloudError:
    return CloudError(
        Reason.INGEST_BUSY, f"{fact} The device keeps its events and tries again.", retry_after_s=_RETRY_S
    )


def _unix_ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
