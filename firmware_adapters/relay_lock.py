"""A relay on a line, as a GPIO chip has it or as a file stands for it, made from its address.

Invariant: the lock is secure when it is given out.
"""

from edge.ports import LockInfo
from firmware_adapters.address import Address
from firmware_adapters.relay_records import Settings
from firmware_adapters.worker_lock import RELAY_WORKER, WorkerLock
from firmware_adapters.worker_records import encode


def relay_lock(address: Address, *, files: bool) -> WorkerLock:
    """Start the process that holds the relay at an address.

    Raises:
        LockError: the line cannot be taken.
    """
    unlocked = (address.texts["active"] == "high") is (address.texts["fail"] == "secure")
    settings = Settings("files" if files else "gpio", address.path, address.texts["lock"], int(unlocked))
    info = LockInfo(f"{address.scheme}:{address.path} line {settings.line}", simulated=files)
    return WorkerLock(info, RELAY_WORKER, encode(settings))
