"""The door's configuration: one TOML file, checked completely before anything starts.

Invariant: unknown keys are refused, all faults are reported at once, and secrets stay in files of their own.
Must not: know adapters; the caller says which device addresses exist (`known_schemes`).
"""

import re
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wire.errors import WireError
from wire.event import MAX_NAME_CHARACTERS
from wire.passes import slug

MAX_CONFIG_BYTES: Final = 64 * 1024
MAX_READERS: Final = 8
JOURNAL_MAX_EVENTS: Final = 250_000
"""Unsent events that are kept at least: a month of a busy door, about 50 MB."""

_SMALLEST_JOURNAL: Final = 1_000
_LARGEST_JOURNAL: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of the file: where it is, what was expected, what stands there."""

    line: int | None
    key: str
    expected: str
    got: str

    def __str__(self) -> str:
        """Say it in one line."""
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.key}: expected {self.expected}, got {self.got}"


class ConfigError(Exception):
    """The file cannot be used; every problem is listed."""

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{path} cannot be used:\n{lines}")
        self.path = path
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """Who this door is; given by the cloud at provisioning."""

    id: str
    tenant: str
    site: str
    door: str
    access_point: str = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """Where the cloud is, and the files that prove who asks."""

    url: str
    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig:
    """One reader: its name in the journal and its device address."""

    id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressConfig:
    """The device address of the lock or of the inputs."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockConfig:
    """Whether the machine keeps time without power; a twin's clock is moved by a file instead."""

    rtc: bool = False
    offset_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Bounds; see `JOURNAL_MAX_EVENTS`."""

    journal_max_events: int = JOURNAL_MAX_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticsConfig:
    """Where a technician asks."""

    socket: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """The whole configuration; paths are absolute. `cloud` and `inputs` may be absent."""

    state_folder: Path
    device: DeviceConfig
    lock: AddressConfig
    diagnostics: DiagnosticsConfig
    readers: tuple[ReaderConfig, ...] = ()
    inputs: AddressConfig | None = None
    cloud: CloudConfig | None = None
    clock: ClockConfig = field(default_factory=ClockConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSchemes:
    """Which device addresses exist, by what they are for."""

    readers: Collection[str]
    locks: Collection[str]
    inputs: Collection[str]


def load_config(path: Path, known_schemes: KnownSchemes | None = None) -> EdgeConfig:
    """Read and check a configuration file.

    Args:
        path: the file; relative paths inside are relative to its folder.
        known_schemes: the device addresses that exist; None skips that check.

    Raises:
        ConfigError: with every problem of the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(path, (Problem(None, str(path), "a readable file", error.strerror or "nothing"),)) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(path, (Problem(None, str(path), f"at most {MAX_CONFIG_BYTES} bytes", f"{len(data)}"),))
    try:
        text = data.decode()
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, (_syntax(error),)) from error
    reading = _Reading(text, path.parent.resolve())
    config = _read_all(reading, tables, known_schemes)
    if reading.problems or config is None:
        raise ConfigError(path, tuple(reading.problems))
    return config


def _syntax(error: Exception) -> Problem:
    found = re.search(r"line (\d+)", str(error))
    return Problem(int(found[1]) if found else None, "file", "TOML (key = value)", str(error))


class _Reading:
    """The text being read: finds lines, collects problems."""

    def __init__(self, text: str, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self._lines = text.splitlines()

    def problem(self, section: str, key: str, expected: str, got: str, *, nth: int = 0) -> None:
        """Note a problem at a key of a section (`nth` among sections of one name)."""
        name = f"{section}.{key}" if key else section
        self.problems.append(Problem(self._line(section, key, nth), name, expected, got))

    def _line(self, section: str, key: str, nth: int) -> int | None:
        """Find the line of a key, else of its section, else none."""
        header = re.compile(rf"\s*\[\[?\s*{re.escape(section)}\s*\]\]?")
        wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else None
        inside, found = -1, None
        for number, line in enumerate(self._lines, start=1):
            if header.match(line):
                inside += 1
                found = number if inside == nth else found
            elif re.match(r"\s*\[", line) and inside == nth:
                break
            elif inside == nth and wanted is not None and wanted.match(line):
                return number
        return found


class _Table:
    """One section: keys are taken one by one, what is left is unknown."""

    def __init__(self, reading: _Reading, section: str, values: object, *, nth: int = 0) -> None:
        self._reading = reading
        self._section = section
        self._nth = nth
        self._left: dict[str, object] = {}
        self._known: list[str] = []
        if isinstance(values, Mapping):
            self._left = {str(key): value for key, value in values.items()}
        else:
            reading.problem(section, "", f"a section [{section}]", _shown(values))

    def wrong(self, key: str, expected: str, value: object) -> None:
        """Note a problem at a key of this section."""
        self._reading.problem(self._section, key, expected, _shown(value), nth=self._nth)

    def _take(self, key: str) -> object:
        self._known.append(key)
        return self._left.pop(key, None)

    def text(self, key: str, expected: str, check: Callable[[str], str | None], default: str | None = None) -> str:
        """Take a text; `check` gives what is wrong with it, None for nothing."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and check(value) is None:
            return value
        self.wrong(key, expected, "" if value is None else value)
        return ""

    def name(self, key: str, default: str | None = None) -> str:
        """Take a slug."""
        return self.text(key, f"1 to {MAX_NAME_CHARACTERS} of a-z, 0-9 and -", _slug_fault, default)

    def path(self, key: str, default: str | None = None) -> Path:
        """Take a path; a relative one is relative to the file's folder."""
        text = self.text(key, 'a path, for example "device.key"', lambda value: None if value else "empty", default)
        return self._reading.folder / text

    def flag(self, key: str, *, default: bool) -> bool:
        """Take true or false."""
        value = self._take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, "true or false", value)
        return default

    def number(self, key: str, minimum: int, maximum: int, default: int) -> int:
        """Take a whole number."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            self.wrong(key, f"a whole number from {minimum} to {maximum}", value)
            return default
        return value

    def close(self) -> None:
        """Refuse what nobody took."""
        for key, value in self._left.items():
            self.wrong(key, f"one of {', '.join(self._known)}" if self._known else "nothing", value)


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else (value and f'"{value}"') or "nothing"
    return text if len(text) <= MAX_NAME_CHARACTERS * 2 else text[: MAX_NAME_CHARACTERS * 2] + "…"


def _slug_fault(value: str) -> str | None:
    try:
        slug(value, "name", MAX_NAME_CHARACTERS)
    except WireError as error:
        return error.reason.value
    return None


def _read_all(reading: _Reading, tables: Mapping[str, object], known: KnownSchemes | None) -> EdgeConfig | None:
    left = dict(tables)
    device = _device(_Table(reading, "device", left.pop("device", {})))
    paths = _Table(reading, "paths", left.pop("paths", {}))
    state_folder = paths.path("state", ".")
    paths.close()
    lock = _address(reading, "lock", left.pop("lock", {}), None if known is None else known.locks)
    inputs = None
    if "inputs" in left:
        inputs = _address(reading, "inputs", left.pop("inputs"), None if known is None else known.inputs)
    readers = _readers(reading, left.pop("reader", []), None if known is None else known.readers)
    cloud = _cloud(reading, left.pop("cloud")) if "cloud" in left else None
    clock = _clock(_Table(reading, "clock", left.pop("clock", {})), lock)
    limits = _Table(reading, "limits", left.pop("limits", {}))
    most = limits.number("journal_max_events", _SMALLEST_JOURNAL, _LARGEST_JOURNAL, JOURNAL_MAX_EVENTS)
    limits.close()
    diagnostics = _Table(reading, "diagnostics", left.pop("diagnostics", {}))
    socket = diagnostics.path("socket", str(state_folder / "diag.sock"))
    diagnostics.close()
    for name in left:
        reading.problem(name, "", "one of device, paths, cloud, reader, lock, inputs, clock, limits, diagnostics", name)
    return EdgeConfig(
        state_folder=state_folder,
        device=device,
        lock=lock,
        diagnostics=DiagnosticsConfig(socket=socket),
        readers=readers,
        inputs=inputs,
        cloud=cloud,
        clock=clock,
        limits=LimitsConfig(journal_max_events=most),
    )


def _device(table: _Table) -> DeviceConfig:
    device = DeviceConfig(
        id=table.name("id"),
        tenant=table.name("tenant"),
        site=table.name("site"),
        door=table.name("door"),
        access_point=table.name("access_point", "in"),
    )
    table.close()
    return device


def _url(table: _Table, schemes: Collection[str] | None) -> str:
    example = "a device address" if schemes is None else f"a device address ({', '.join(sorted(schemes))}:…)"

    def fault(value: str) -> str | None:
        scheme, colon, _ = value.partition(":")
        return None if colon and (schemes is None or scheme in schemes) else "unknown scheme"

    return table.text("url", example, fault)


def _address(reading: _Reading, section: str, values: object, schemes: Collection[str] | None) -> AddressConfig:
    table = _Table(reading, section, values)
    address = AddressConfig(url=_url(table, schemes))
    table.close()
    return address


def _readers(reading: _Reading, values: object, schemes: Collection[str] | None) -> tuple[ReaderConfig, ...]:
    if not isinstance(values, list) or len(values) > MAX_READERS:
        reading.problem("reader", "", f"at most {MAX_READERS} sections [[reader]]", _shown(values))
        return ()
    readers: list[ReaderConfig] = []
    for number, each in enumerate(values):
        table = _Table(reading, "reader", each, nth=number)
        readers.append(ReaderConfig(id=table.name("id"), url=_url(table, schemes)))
        if readers[-1].id in {reader.id for reader in readers[:-1]}:
            table.wrong("id", "a name that no other reader has", readers[-1].id)
        table.close()
    return tuple(readers)


def _cloud(reading: _Reading, values: object) -> CloudConfig:
    table = _Table(reading, "cloud", values)
    cloud = CloudConfig(
        url=table.text("url", 'an address like "https://cloud.example:8443"', _https_fault),
        certificate=table.path("certificate", "device.crt"),
        key=table.path("key", "device.key"),
        ca=table.path("ca", "ca.crt"),
    )
    for key, path in (("certificate", cloud.certificate), ("key", cloud.key), ("ca", cloud.ca)):
        if not path.is_file():
            table.wrong(key, "a file; run `doorward provision door` to get one", str(path))
    if cloud.key.is_file() and stat.S_IMODE(cloud.key.stat().st_mode) & 0o077:
        table.wrong("key", f"a file that only its owner may read; run: chmod 600 {cloud.key}", str(cloud.key))
    table.close()
    return cloud


def _https_fault(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return None if usable else "not https"


def _clock(table: _Table, lock: AddressConfig) -> ClockConfig:
    source = table.text(
        "source",
        '"system" or "simulated"',
        lambda value: None if value in ("system", "simulated") else "unknown",
        "system",
    )
    rtc = table.flag("rtc", default=False)
    offset = table.path("offset_file", "clock-offset-ms") if source == "simulated" else None
    if offset is not None and not lock.url.startswith("simulated:"):
        table.wrong("source", '"system": a simulated clock goes with a simulated lock only', source)
    table.close()
    return ClockConfig(rtc=rtc, offset_file=offset)


def render_config(config: EdgeConfig) -> str:
    """Write a configuration as commented TOML that loads back equal."""
    lines = [
        "# Doorward: one door. Check changes with: doorward edge check-config",
        "",
        "[device]  # given by the cloud at provisioning",
        *(f"{name} = {_quoted(getattr(config.device, name))}" for name in DeviceConfig.__slots__),
        "",
        "[paths]",
        f"state = {_quoted(str(config.state_folder))}",
    ]
    if config.cloud is not None:
        lines += [
            "",
            "[cloud]",
            *(f"{name} = {_quoted(str(getattr(config.cloud, name)))}" for name in CloudConfig.__slots__),
        ]
    for reader in config.readers:
        lines += ["", "[[reader]]", f"id = {_quoted(reader.id)}", f"url = {_quoted(reader.url)}"]
    lines += ["", "[lock]", f"url = {_quoted(config.lock.url)}"]
    if config.inputs is not None:
        lines += ["", "[inputs]  # contact, request-to-exit, fire", f"url = {_quoted(config.inputs.url)}"]
    lines += ["", "[clock]"]
    if config.clock.offset_file is None:
        lines += ['source = "system"', f"rtc = {str(config.clock.rtc).lower()}  # true: keeps time without power"]
    else:
        lines += ['source = "simulated"', f"rtc = {str(config.clock.rtc).lower()}"]
        lines += [f"offset_file = {_quoted(str(config.clock.offset_file))}"]
    lines += ["", "[limits]", f"journal_max_events = {config.limits.journal_max_events}"]
    lines += ["", "[diagnostics]", f"socket = {_quoted(str(config.diagnostics.socket))}", ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(character):04x}" if ord(character) < ord(" ") or character in '"\\\x7f' else character
        for character in text
    )
    return f'"{escaped}"'
