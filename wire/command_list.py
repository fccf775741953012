"""What a door fetches: the commands to it that still hold, in the order of their counters (docs/spec/command.md).

Invariant: bounded; `last` tells how far the list reaches, so that what follows can be asked for.
Must not: be believed: each command is signed, the list is not.
"""

from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, decode, encode, octets
from wire.command import MAX_COMMAND_BYTES

MAX_COMMANDS: Final = 16
MAX_COMMAND_LIST_BYTES: Final = MAX_COMMANDS * (MAX_COMMAND_BYTES + 3) + 16
"""All commands at their longest, with the heads of their byte strings, and the rest."""


@dataclass(frozen=True, slots=True)
class CommandList:
    """Commands to one door.

    Attributes:
        last: the counter up to which the list is complete; it is what the next question names.
        commands: sealed ones, their counters rising.
    """

    last: int
    commands: tuple[bytes, ...]


def encode_command_list(found: CommandList) -> bytes:
    """Write a list and check that it reads back.

    Raises:
        WireError: when it breaks a rule of the format.
    """
    items: list[Value] = [*found.commands]
    data = encode({1: found.last, 2: items}, field="commands")
    parse_command_list(data)
    return data


def parse_command_list(data: bytes) -> CommandList:
    """Read a list; what stands in it is judged one by one.

    Raises:
        WireError: a fault of form.
    """
    fields = Fields(decode(data, field="commands", max_bytes=MAX_COMMAND_LIST_BYTES), "commands")
    last = fields.uint(1, "last")
    items = fields.array(2, "list", MAX_COMMANDS)
    fields.close()
    return CommandList(last, tuple(octets(item, "commands.item", 1, MAX_COMMAND_BYTES) for item in items))
