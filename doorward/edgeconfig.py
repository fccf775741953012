"""Reading a door's configuration for a command: every fault with its line, its key and what was expected.

Invariant: nothing is opened and no driver is loaded by checking.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from edge.config import ConfigError, EdgeConfig, KnownSchemes, Problem, load_config
from firmware_adapters.catalogue import AdapterError, AddressFault, Kind, check, check_all_inputs, schemes

USUAL_CONFIG: Final = Path("/var/lib/doorward/edge.toml")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", metavar="FILE", envvar="DOORWARD_CONFIG", help="The door's configuration (TOML)."),
]


def read_config(path: Path) -> EdgeConfig:
    """Read a configuration file and check its device addresses.

    Raises:
        ConfigError: with every problem of the file.
    """
    known = schemes()
    config = load_config(
        path,
        KnownSchemes(
            readers=known[Kind.READER], locks=known[Kind.LOCK], inputs=known[Kind.INPUTS], displays=known[Kind.DISPLAY]
        ),
    )
    found = [_address_problem(kind, key, url) for kind, key, url in _addresses(config)]
    found.append(_shared_wire(config))
    problems = tuple(problem for problem in found if problem is not None)
    if problems:
        raise ConfigError(path, problems)
    return config


def _addresses(config: EdgeConfig) -> list[tuple[Kind, str, str]]:
    """Give kind, key and address of each device."""
    found = [(Kind.LOCK, "lock.url", config.lock.url)]
    found += [(Kind.READER, f"reader {reader.id}: url", reader.url) for reader in config.readers]
    found += [(Kind.INPUTS, "inputs.url", each.url) for each in config.inputs]
    found += [(Kind.DISPLAY, f"display {display.id}: url", display.url) for display in config.displays]
    return found


def _shared_wire(config: EdgeConfig) -> Problem | None:
    """Tell of a wire that two addresses of inputs name; what else is wrong with one is told beside it."""
    try:
        check_all_inputs(each.url for each in config.inputs)
    except AdapterError as error:
        if error.fault is AddressFault.SHARED_WIRE:
            expected = "each wire at one address (osdp: and simulated: take from a device what wires= names)"
            return Problem(None, "inputs.url", expected, error.what)
    return None


def _address_problem(kind: Kind, key: str, url: str) -> Problem | None:
    try:
        check(kind, url)
    except AdapterError as error:
        return Problem(None, key, error.remedy, error.what)
    return None
