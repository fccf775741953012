"""`doorward provision detect`."""

from typing import Final

from doorward.output import JsonOption, Output, table
from firmware_adapters.catalogue import describe
from provisioning.detect import detect

EXAMPLES: Final = """
Examples:
  doorward provision detect
  doorward provision detect --json
"""


def run(*, json_lines: JsonOption = False) -> None:
    """Show what is plugged in, with its device address.

    Looks for serial ports, cameras, GPIO chips, converters, scanners that type, the smart card daemon, and NFC readers
    by their USB id; nothing is opened. A serial adapter of the kind that PN532 boards are wired with is shown twice: as
    a port, and as that. The address is what --reader, --lock and --inputs of `doorward provision door` take.
    """
    out = Output(json_lines=json_lines)
    found = detect()
    if json_lines:
        for each in found:
            out.result({"found": each.found.value, "path": str(each.path), "name": each.name, "address": each.url})
        return
    if found:
        rows = [(each.url or "no adapter yet", each.found.value, each.name) for each in found]
        out.say(*table(("ADDRESS", "WHAT", "NAME"), rows))
    else:
        out.say("Nothing is plugged in that looks like a reader or a lock.")
    kinds = [(each.example, f"{each.kind.value}: {each.what}") for each in describe()]
    out.say("", *table(("ADDRESSES THERE CAN BE", "FOR"), kinds))
