"""What the cloud says of the fleet's devices, compared with what each door knows of itself.

Invariant: lost and duplicate are counted from the cloud's own rows (the chain check), never from a door's belief.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from doorward.api import CloudApi

_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One door and its journal in the cloud.

    Attributes:
        journaled: events that the door wrote; acknowledged: of those, as it believes.
        stored: rows that the cloud holds of this journal.
        lost: acknowledged events that the cloud does not hold; missing: those that are not acknowledged either.
        duplicate: rows beyond one for each number.
        chain_ok: the cloud's chain check held, and its head is the door's own at that event.
    """

    door: str
    journaled: int
    acknowledged: int
    stored: int
    lost: int
    missing: int
    duplicate: int
    chain_ok: bool


def audit(
    api: CloudApi, tenant: str, records: Iterable[dict[str, Any]], *, told: Callable[[int], None]
) -> Iterator[Audited]:
    """Ask the cloud about each door.

    Args:
        api: as an operator.
        tenant: the institution.
        records: what the doors know (`doorward.fleet.worker`).
        told: how many have been asked about.
    """

    def ask(record: dict[str, Any]) -> Audited:
        return _compare(record, api.get("institutions", tenant, "devices", record["device"], "chain"))

    with ThreadPoolExecutor(_THREADS) as threads:
        for number, found in enumerate(threads.map(ask, records), start=1):
            told(number)
            yield found


def _compare(record: dict[str, Any], chain: dict[str, Any]) -> Audited:
    same = chain["epoch"] == record["epoch"]
    last, stored = (chain["last"], chain["events"]) if same else (0, 0)
    # The head can be compared where the door told it: at its newest event.
    head_ok = last != record["last"] or not last or chain["head"] == record["head"]
    return Audited(
        door=record["door"],
        journaled=record["last"],
        acknowledged=record["durable"],
        stored=stored,
        lost=max(0, record["durable"] - last),
        missing=max(0, record["last"] - max(last, record["durable"])),
        duplicate=max(0, stored - last),
        chain_ok=(not same or chain["ok"]) and head_ok,
    )
