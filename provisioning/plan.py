"""From the door that is wanted and what is there already to numbered steps in human sentences.

Invariant: pure; nothing is read, written or asked.
Must not: name a secret: the steps are printed and logged.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path
from typing import Final

from edge.config import ClockConfig

CONFIG_FILE: Final = "edge.toml"
KEY_FILE: Final = "device.key"
CERTIFICATE_FILE: Final = "device.crt"
CA_FILE: Final = "ca.crt"
TRUST_FILE: Final = "trust.cose"
ROOT_FILE: Final = "root.cbor"
POLICY_FILE: Final = "policy.cose"
JOURNAL_FILE: Final = "journal.db"
SOCKET_FILE: Final = "diag.sock"

NO_BROKER: Final = "none"
"""As a door's broker: everything goes over HTTPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredDoor:
    """The door as the installer wants it.

    Attributes:
        cloud_url: of the cloud's device listener, "https://host:port".
        claim_code: as the cloud gives it.
        folder: where the door keeps its state.
        readers: reader id -> device address.
        lock: device address.
        inputs: device addresses, none when no contact, button or fire line is wired.
        clock: whether the machine keeps time without power; a twin's clock is moved by a file.
        socket: where technicians ask, None for diag.sock in the folder.
        broker: "mqtts://host:port", NO_BROKER, or None for the one that the cloud names.
    """

    cloud_url: str
    claim_code: str = field(repr=False)
    folder: Path
    readers: Mapping[str, str]
    lock: str
    inputs: tuple[str, ...] = ()
    clock: ClockConfig = field(default_factory=ClockConfig)
    socket: Path | None = None
    broker: str | None = None


@unique
class StepId(Enum):
    """What a step does."""

    FOLDER = "folder"
    AUTHORITY = "authority"
    KEY = "key"
    ENROL = "enrol"
    IDENTITY = "identity"
    TRUST = "trust"
    STATUS = "status"
    POLICY = "policy"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan, counted from 1."""

    number: int
    id: StepId
    sentence: str


def status_file(number: int) -> str:
    """Name the file of a status list."""
    return f"status-{number}.cose"


def plan_door(desired: DesiredDoor, found: Collection[str]) -> tuple[Step, ...]:
    """Plan what is left to do.

    Args:
        desired: the door that is wanted.
        found: names of the files that are in its folder already.
    """
    folder = desired.folder
    key = "Keep the device key that is there" if KEY_FILE in found else "Make a device key that never leaves"
    config = "Replace" if CONFIG_FILE in found else "Write"
    sentences = {
        StepId.FOLDER: f"Prepare {folder}",
        StepId.AUTHORITY: f"Fetch the device CA from {desired.cloud_url} and compare it with the claim code",
        StepId.KEY: f"{key}: {folder / KEY_FILE}",
        StepId.ENROL: "Exchange the claim code for a certificate of this door",
        StepId.IDENTITY: "Learn which door this is and pin the institution's root key",
        StepId.TRUST: "Fetch the trust bundle and verify it under the root key",
        StepId.STATUS: "Fetch the revocation lists and verify them",
        StepId.POLICY: "Fetch this door's policy and verify it",
        StepId.CONFIG: f"{config} {folder / CONFIG_FILE} and check it as the daemon will",
    }
    return tuple(Step(number, step, sentences[step]) for number, step in enumerate(StepId, start=1))
