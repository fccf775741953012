"""The door's configuration: one TOML file, checked completely before anything starts.

Invariant: unknown keys are refused, all faults are reported at once, and secrets stay in files of their own.
Must not: know adapters; the caller says which device addresses exist (`known_schemes`).
"""

import re
import tomllib
from pathlib import Path
from typing import Final

from edge.config_reading import Reading, is_broker_url
from edge.config_text import render_config
from edge.config_types import (
    JOURNAL_MAX_EVENTS,
    USUAL_SOCKETS,
    AddressConfig,
    ClockConfig,
    CloudConfig,
    ConfigError,
    DeviceConfig,
    DiagnosticsConfig,
    DisplayConfig,
    EdgeConfig,
    KnownSchemes,
    LimitsConfig,
    ReaderConfig,
    SnapshotsConfig,
)
from edge.toml_tables import Problem, TomlText

__all__ = [
    "JOURNAL_MAX_EVENTS",
    "USUAL_SOCKETS",
    "AddressConfig",
    "ClockConfig",
    "CloudConfig",
    "ConfigError",
    "DeviceConfig",
    "DiagnosticsConfig",
    "DisplayConfig",
    "EdgeConfig",
    "KnownSchemes",
    "LimitsConfig",
    "Problem",
    "ReaderConfig",
    "SnapshotsConfig",
    "is_broker_url",
    "load_config",
    "render_config",
]

MAX_CONFIG_BYTES: Final = 64 * 1024


def load_config(path: Path, known_schemes: KnownSchemes | None = None) -> EdgeConfig:
    """Read and check a configuration file.

    Args:
        path: the file; relative paths inside are relative to its folder.
        known_schemes: the device addresses that exist; None skips that check.

    Raises:
        ConfigError: with every problem of the file.
    """
    toml = _parse(path)
    config = Reading(toml, path.parent.absolute(), known_schemes).config()
    if toml.problems or config is None:
        raise ConfigError(path, tuple(sorted(toml.problems, key=lambda problem: problem.line or 0)))
    return config


def _parse(path: Path) -> TomlText:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise ConfigError(path, (Problem(None, str(path), "a readable file", got),)) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(path, (Problem(None, str(path), f"at most {MAX_CONFIG_BYTES} bytes", "more"),))
    try:
        return TomlText(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, (Problem(line, "text", "UTF-8", f"the byte 0x{data[error.start]:02x}"),)) from error
    except RecursionError as error:
        raise ConfigError(path, (Problem(None, "text", "TOML", "brackets nested without end"),)) from error
    except tomllib.TOMLDecodeError as error:
        # Until Python 3.14 the line stands in the message only.
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else data.count(b"\n") + 1
        raise ConfigError(path, (Problem(line, "text", "TOML", str(error), 'key = "value"'),)) from error
