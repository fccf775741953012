"""Read the sections of a door's configuration (docs in edge/config.py).

Invariant: every fault is noted in the text's problems, and reading goes on, so that one run shows them all.
Must not: open anything; that the files named exist and are readable is looked at only.
"""

import os
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from edge.config_types import (
    JOURNAL_MAX_EVENTS,
    AddressConfig,
    ClockConfig,
    CloudConfig,
    DeviceConfig,
    DiagnosticsConfig,
    DisplayConfig,
    EdgeConfig,
    KnownSchemes,
    LimitsConfig,
    ReaderConfig,
    SnapshotsConfig,
)
from edge.core.door_state import InputLine
from edge.toml_tables import Table, TomlText, shown
from wire.errors import WireError
from wire.event import MAX_NAME_CHARACTERS
from wire.passes import slug

MAX_READERS: Final = 8
MAX_INPUTS: Final = len(InputLine)
"""Addresses of inputs: each tells of one wire at least, and no wire stands at two of them."""
MAX_DISPLAYS: Final = 8
"""One for each reader."""
MAX_SOCKET_BYTES: Final = 107
"""Linux' sun_path has 108 bytes, one of them the end (unix(7)); a longer address cannot be bound."""

_SMALLEST_JOURNAL: Final = 1_000
_LARGEST_JOURNAL: Final = 10_000_000
_LONGEST_HOURS: Final = 720
"""A month: nobody needs a picture of who came in for longer, and many laws allow less."""
_LARGEST_SNAPSHOTS_MB: Final = 10_000
_SECTIONS: Final = (
    "device",
    "paths",
    "cloud",
    "reader",
    "lock",
    "inputs",
    "display",
    "clock",
    "limits",
    "snapshots",
    "diagnostics",
)
_NAME: Final = f"1 to {MAX_NAME_CHARACTERS} of a-z, 0-9 and -"

T = TypeVar("T")


class Reading:
    """Reads the sections; what is at fault is noted in `toml` and given as None.

    Args:
        toml: the text.
        folder: relative paths begin here.
        known: the device addresses that exist.
    """

    def __init__(self, toml: TomlText, folder: Path, known: KnownSchemes | None) -> None:
        self._toml = toml
        self._folder = folder
        self._known = known
        self._left = dict(toml.values)

    def config(self) -> EdgeConfig | None:
        """Read everything."""
        known = self._known
        device = self._device()
        state = self._state()
        cloud = self._cloud() if "cloud" in self._left else None
        lock = self._address("lock", None if known is None else known.locks)
        readers = self._readers(None if known is None else known.readers, lock)
        inputs = self._inputs(None if known is None else known.inputs) if "inputs" in self._left else ()
        displays = self._displays(None if known is None else known.displays, lock, readers)
        clock = self._clock(lock)
        limits, snapshots, diagnostics = self._limits(), self._snapshots(), self._diagnostics(state)
        for name in self._left:
            expected = f"one of the sections {', '.join(_SECTIONS)}"
            self._toml.wrong((name,), expected=expected, got="a name that nobody reads")
        if state is None or device is None or lock is None or diagnostics is None:
            return None
        return EdgeConfig(
            state_folder=state,
            device=device,
            lock=lock,
            diagnostics=diagnostics,
            readers=readers,
            inputs=inputs,
            displays=displays,
            cloud=cloud,
            clock=clock,
            limits=limits,
            snapshots=snapshots,
        )

    def _table(self, name: str) -> Table:
        return Table(self._toml, (name,), self._left.pop(name, {}))

    def _device(self) -> DeviceConfig | None:
        table = self._table("device")
        examples = {"id": "main-entrance-k3v9", "tenant": "oakfield", "site": "campus", "door": "main-entrance"}
        names = [table.text(key, _is_slug, expected=_NAME, example=example) for key, example in examples.items()]
        names.append(table.text("access_point", _is_slug, expected=_NAME, example="in", default="in"))
        table.close()
        found = _all(names)
        return None if found is None else DeviceConfig(**dict(zip((*examples, "access_point"), found, strict=True)))

    def _state(self) -> Path | None:
        table = self._table("paths")
        state = table.path("state", self._folder, example="/var/lib/doorward", default=".")
        table.close()
        return state

    def _cloud(self) -> CloudConfig | None:
        table = self._table("cloud")
        url = table.text(
            "url",
            _is_cloud_url,
            expected="https://, a host and perhaps a port, nothing else",
            example="https://cloud.example:8443",
        )
        broker = table.text(
            "broker",
            is_broker_url,
            expected="mqtts://, a host and perhaps a port, nothing else; leave the key out for HTTPS alone",
            example="mqtts://cloud.example:8883",
            default="",
        )
        files: list[Path | None] = []
        for key, usual in (("certificate", "device.crt"), ("key", "device.key"), ("ca", "ca.crt")):
            path = table.path(key, self._folder, example=usual, default=usual)
            if path is not None:
                _check_file(table, key, path, secret=key == "key")
            files.append(path)
        table.close()
        found = _all(files)
        if url is None or found is None:
            return None
        return CloudConfig(url=url, certificate=found[0], key=found[1], ca=found[2], broker=broker or None)

    def _readers(self, schemes: Collection[str] | None, lock: AddressConfig | None) -> tuple[ReaderConfig, ...]:
        readers: list[ReaderConfig] = []
        for table in self._tables("reader", MAX_READERS):
            name = table.text("id", _is_slug, expected=_NAME, example="outside")
            url = _device_url(table, schemes, example="serial:///dev/ttyACM0")
            table.close()
            if url is not None and _is_simulated(url) and lock is not None and not _is_simulated(lock.url):
                expected = "a real reader's address, since a simulated reader goes with a simulated lock only"
                table.wrong("url", expected=expected, got=shown(url))
            if name is not None and name in {reader.id for reader in readers}:
                table.wrong("id", expected="a name that no other reader has", got=shown(name))
            elif name is not None and url is not None:
                readers.append(ReaderConfig(id=name, url=url))
        return tuple(readers)

    def _displays(
        self, schemes: Collection[str] | None, lock: AddressConfig | None, readers: Sequence[ReaderConfig]
    ) -> tuple[DisplayConfig, ...]:
        displays: list[DisplayConfig] = []
        of_readers = [reader.id for reader in readers]
        for table in self._tables("display", MAX_DISPLAYS):
            name = table.text("id", _is_slug, expected=_NAME, example="outside-display")
            url = _device_url(table, schemes, example="display:///dev/ttyUSB1")
            served = table.texts(
                "readers",
                of_readers.__contains__,
                expected=f"the id of a reader of this door ({', '.join(of_readers) or 'it has none'})",
                example=next(iter(of_readers), "outside"),
                most=MAX_READERS,
                default=(),
            )
            table.close()
            if url is not None and _is_simulated(url) and lock is not None and not _is_simulated(lock.url):
                expected = "a real display's address, since a simulated display goes with a simulated lock only"
                table.wrong("url", expected=expected, got=shown(url))
            if name is not None and name in {*of_readers, *(display.id for display in displays)}:
                table.wrong("id", expected="a name that no reader and no other display has", got=shown(name))
            elif name is not None and url is not None:
                displays.append(DisplayConfig(id=name, url=url, readers=served))
        return tuple(displays)

    def _tables(self, section: str, most: int) -> list[Table]:
        """Take the sections of one name that may stand there several times; none when they are at fault as a whole."""
        values = self._left.pop(section, [])
        if not isinstance(values, list) or len(values) > most:
            got = f"{len(values)} of them" if isinstance(values, list) else shown(values)
            self._toml.wrong((section,), expected=f"at most {most} sections", got=got, example=f"[[{section}]]")
            return []
        return [Table(self._toml, (section, number), each) for number, each in enumerate(values)]

    def _address(self, section: str, schemes: Collection[str] | None) -> AddressConfig | None:
        table = self._table(section)
        url = _device_url(table, schemes, example="simulated:///var/lib/doorward/twin")
        table.close()
        return None if url is None else AddressConfig(url=url)

    def _inputs(self, schemes: Collection[str] | None) -> tuple[AddressConfig, ...]:
        table = self._table("inputs")
        expected, fits = _device_address(schemes)
        urls = table.texts(
            "url", fits, expected=expected, example="simulated:///var/lib/doorward/twin", most=MAX_INPUTS
        )
        table.close()
        return tuple(AddressConfig(url=url) for url in urls)

    def _clock(self, lock: AddressConfig | None) -> ClockConfig:
        table = self._table("clock")
        sources = ("system", "simulated")
        source = table.text(
            "source", sources.__contains__, expected='"system" or "simulated"', example="system", default="system"
        )
        rtc = table.flag("rtc", default=False)
        offset: Path | None = None
        if source == "simulated":
            offset = table.path("offset_file", self._folder, example="clock-offset-ms", default="clock-offset-ms")
            if lock is not None and not _is_simulated(lock.url):
                expected = '"system", since a simulated clock goes with a simulated lock only'
                table.wrong("source", expected=expected, got=shown(source), example='source = "system"')
        table.close()
        return ClockConfig(rtc=rtc, offset_file=offset)

    def _limits(self) -> LimitsConfig:
        table = self._table("limits")
        most = table.number(
            "journal_max_events", minimum=_SMALLEST_JOURNAL, maximum=_LARGEST_JOURNAL, default=JOURNAL_MAX_EVENTS
        )
        table.close()
        return LimitsConfig(journal_max_events=most)

    def _snapshots(self) -> SnapshotsConfig:
        table = self._table("snapshots")
        usual = SnapshotsConfig()
        hours = table.number("keep_hours", minimum=0, maximum=_LONGEST_HOURS, default=usual.keep_hours)
        most_mb = table.number("most_mb", minimum=1, maximum=_LARGEST_SNAPSHOTS_MB, default=usual.most_mb)
        table.close()
        return SnapshotsConfig(keep_hours=hours, most_mb=most_mb)

    def _diagnostics(self, state: Path | None) -> DiagnosticsConfig | None:
        table = self._table("diagnostics")
        usual = "diag.sock" if state is None else str(state / "diag.sock")
        socket = table.path("socket", self._folder, example="/run/doorward/diag.sock", default=usual)
        table.close()
        if socket is not None and len(os.fsencode(socket)) > MAX_SOCKET_BYTES:
            table.wrong(
                "socket",
                expected=f"a path of at most {MAX_SOCKET_BYTES} bytes, the most a socket may have",
                got=f"{len(os.fsencode(socket))} bytes ({socket})",
                example='socket = "/run/doorward/diag.sock"',
            )
        return None if socket is None else DiagnosticsConfig(socket=socket)


def _all(values: Sequence[T | None]) -> list[T] | None:
    """Give the values if there are no gaps."""
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) else None


def _is_slug(value: str) -> bool:
    try:
        slug(value, "name", MAX_NAME_CHARACTERS)
    except WireError:
        return False
    return True


def _is_cloud_url(value: str) -> bool:
    return _is_bare_url(value, "https")


def _is_bare_url(value: str, scheme: str) -> bool:
    """Tell an address without path, query or password from anything else."""
    try:
        parts = urlsplit(value)
        bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
        (parts.hostname or "").encode("idna")  # as looking it up does; UnicodeError is a ValueError
        return parts.scheme == scheme and bool(parts.hostname) and parts.port != 0 and bare
    except ValueError:
        return False


def is_broker_url(value: str) -> bool:
    """Tell the address of a broker, mqtts://host or mqtts://host:port, from anything else."""
    return _is_bare_url(value, "mqtts")


def _is_simulated(url: str) -> bool:
    return "simulated" in url.lower().partition(":")[0].split("+")


def _device_url(table: Table, schemes: Collection[str] | None, *, example: str) -> str | None:
    expected, fits = _device_address(schemes)
    return table.text("url", fits, expected=expected, example=example)


def _device_address(schemes: Collection[str] | None) -> tuple[str, Callable[[str], bool]]:
    """Say what a device address is, and give what tells one from anything else."""
    if schemes is None:
        expected = "a device address"
    else:
        expected = f"a device address that begins with {' or '.join(f'{name}:' for name in sorted(schemes))}"

    def fits(value: str) -> bool:
        scheme, colon, _ = value.partition(":")
        return bool(colon) and (schemes is None or scheme.lower() in schemes)

    return expected, fits


def _check_file(table: Table, key: str, path: Path, *, secret: bool) -> None:
    """Note when a file is missing, unreadable, or a secret that others may read."""
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as error:
        expected = "a file that can be read (doorward provision door writes it)"
        table.wrong(key, expected=expected, got=f"{path}: {error.strerror or type(error).__name__}")
        return
    if secret and stat.S_IMODE(mode) & 0o077:
        table.wrong(
            key,
            expected=f"a file that only its owner may read; run: chmod 600 {path}",
            got=f"mode {stat.S_IMODE(mode):04o}",
        )
