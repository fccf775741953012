"""Every fault of the suite, in the order in which they are injected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.faults.backups import BACKUPS
from tests.faults.brokers import BROKERS
from tests.faults.devices import DEVICES
from tests.faults.disks import DISKS
from tests.faults.edge import EDGE
from tests.faults.nats import NATS
from tests.faults.network import NETWORK
from tests.faults.processes import PROCESSES

if TYPE_CHECKING:
    from tests.faults.table import Fault

ALL: Final[tuple[Fault, ...]] = (*NETWORK, *BROKERS, *PROCESSES, *DISKS, *BACKUPS, *EDGE, *DEVICES, *NATS)

SELECTION: Final = {
    "acknowledgement lost after the commit": 8,
    "connection cut within a batch or answer": 6,
    "bytes corrupted": 4,
    "bytes reordered": 4,
    "partition, then reset": 1,
    "MQTT: acknowledgement lost after the commit": 4,
    "MQTT: bytes corrupted": 2,
    "MQTT: topic of another device": 1,
    "MQTT: client id of another device": 1,
    "kill -9 of the broker and its watcher": 1,
    "kill -9 of the cloud": 1,
    "kill -9 of PostgreSQL": 1,
    "kill -9 of one PostgreSQL process": 1,
    "power cut under PostgreSQL": 1,
    "power cut under a door's store": 1,
    "disk full under a door's store": 1,
    "command replayed": 1,
    "command for another door": 1,
    "device made anew": 1,
    "device copied": 1,
    "certificate stolen": 1,
    "device posing as another": 2,
    "more batches than the cloud takes": 1,
}
"""How often each is injected in every run of script/test.

What takes long for its own sake (restored backups, half-open lines, full disks under PostgreSQL) is left out."""
