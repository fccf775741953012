"""Which signed documents one side has, and how the cloud tells a door of them over MQTT (docs/spec/mqtt.md).

Invariant: bounded; whoever hears of a version asks for the document, which is signed.
Must not: be believed: it is a hint, and not signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, decode, encode, uint
from wire.errors import WireError, WireReason
from wire.status_list import MAX_LIST_ID

MAX_STATUS_LISTS: Final = 256
"""They travel in the address of a door's question as well, which servers bound at 8 kB."""
MAX_VERSIONS_BYTES: Final = 4_096
"""256 lists with the largest numbers have 3,072 bytes; the rest is small."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Which signed documents one side has.

    Attributes:
        trust, policy, roster: versions, 0 for none.
        status: status list -> sequence number.
        commands: the highest counter of a command: of those that still hold (cloud), that was taken (door).
    """

    trust: int
    policy: int
    status: Mapping[int, int]
    roster: int = 0
    commands: int = 0


def encode_versions(versions: Versions) -> bytes:
    """Write an announcement and check that it reads back.

    Raises:
        WireError: when it breaks a rule of the format.
    """
    data = encode(versions_item(versions), field="versions")
    parse_versions(data)
    return data


def parse_versions(data: bytes) -> Versions:
    """Read an announcement.

    Raises:
        WireError: a fault of form.
    """
    return read_versions(decode(data, field="versions", max_bytes=MAX_VERSIONS_BYTES))


def versions_item(versions: Versions) -> dict[int | str, Value]:
    """Give versions as a map of CBOR."""
    lists: dict[int | str, Value] = dict(versions.status.items())
    return {1: versions.trust, 2: versions.policy, 3: lists, 4: versions.roster, 5: versions.commands}


def read_versions(item: Value) -> Versions:
    """Read versions from a map of CBOR.

    Raises:
        WireError: a fault of form.
    """
    fields = Fields(item, "versions")
    found = Versions(
        trust=fields.uint(1, "trust"),
        policy=fields.uint(2, "policy"),
        status=_status(fields.value(3, "status")),
        roster=fields.uint(4, "roster"),
        commands=fields.uint(5, "commands"),
    )
    fields.close()
    return found


def _status(item: Value) -> dict[int, int]:
    if type(item) is not dict:
        raise WireError(WireReason.WRONG_TYPE, "versions.status")
    if len(item) > MAX_STATUS_LISTS:
        raise WireError(WireReason.OUT_OF_RANGE, "versions.status")
    return {
        uint(number, "versions.list", MAX_LIST_ID): uint(sequence, "versions.sequence")
        for number, sequence in item.items()
    }
