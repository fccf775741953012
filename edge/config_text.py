"""Write a door's configuration as TOML that a person can read and edit.

Invariant: what is written loads back equal.
Must not: write a secret; the configuration holds none.
"""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from edge.config_types import (
    AddressConfig,
    CloudConfig,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    ReaderConfig,
)


def render_config(config: EdgeConfig) -> str:
    """Write a configuration as commented TOML that loads back equal."""
    clock = config.clock
    sections = [
        "# Doorward: one door. Check changes with: doorward edge check-config FILE\n",
        _section("[device]", "given by the cloud at provisioning", _texts(config.device)),
        _section(
            "[paths]", "journal and documents; relative paths begin at this file", {"state": _text(config.state_folder)}
        ),
    ]
    if config.cloud is not None:
        sections.append(
            _section("[cloud]", "the listener for doors, and the files that prove who asks", _texts(config.cloud))
        )
    sections += [
        _section("[[reader]]", "its name in the journal, and where it is plugged in", _texts(reader))
        for reader in config.readers
    ]
    sections.append(_section("[lock]", "", _texts(config.lock)))
    if config.inputs:
        urls = [_text(each.url) for each in config.inputs]
        value = urls[0] if len(urls) == 1 else "\n".join(["[", *(f"  {url}," for url in urls), "]"])
        sections.append(_section("[inputs]", "contact, request-to-exit, fire; one address or several", {"url": value}))
    for display in config.displays:
        lines = {"id": _text(display.id), "url": _text(display.url)}
        if display.readers:
            lines["readers"] = "[" + ", ".join(map(_text, display.readers)) + "]"
        sections.append(_section("[[display]]", "its name in the journal; whose readers' feedback it shows", lines))
    source = {"source": _text("system" if clock.offset_file is None else "simulated"), "rtc": str(clock.rtc).lower()}
    if clock.offset_file is not None:
        source["offset_file"] = _text(clock.offset_file)
    sections.append(_section("[clock]", "rtc: whether this machine keeps the time without power", source))
    most = {"journal_max_events": str(config.limits.journal_max_events)}
    sections.append(_section("[limits]", "events kept while the cloud cannot be reached", most))
    if config.snapshots.keep_hours:
        kept = {each.name: str(getattr(config.snapshots, each.name)) for each in fields(config.snapshots)}
        sections.append(_section("[snapshots]", "pictures of cameras around an event, kept on this door only", kept))
    sections.append(_section("[diagnostics]", "where doorward diag asks", _texts(config.diagnostics)))
    return "\n".join(sections)


def _section(header: str, comment: str, lines: dict[str, str]) -> str:
    head = f"{header}  # {comment}" if comment else header
    return "\n".join([head, *(f"{key} = {value}" for key, value in lines.items()), ""])


def _texts(part: DeviceConfig | CloudConfig | ReaderConfig | AddressConfig | DiagnosticsConfig) -> dict[str, str]:
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: str | Path) -> str:
    """Write a basic string (TOML 1.0, String)."""
    return '"' + "".join(_escaped(str(value))) + '"'


def _escaped(text: str) -> Iterable[str]:
    for character in text:
        plain = character.isprintable() and character not in '"\\'
        yield character if plain else f"\\U{ord(character):08x}"
