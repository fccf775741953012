"""What is plugged in: devices that look like readers or locks, each with the address to give to `provision door`.

Invariant: looks only; nothing is opened, so that a device in use is not disturbed.
Must not: suggest an address that no adapter understands.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Final, Protocol

from firmware_adapters.catalogue import Kind, schemes

DEV: Final = Path("/dev")
VIDEO_NAMES: Final = Path("/sys/class/video4linux")


@unique
class Found(Enum):
    """What kind of device it is."""

    SERIAL = "serial port"
    CAMERA = "camera"
    GPIO = "GPIO chip"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A device that is there.

    Attributes:
        found: what it is.
        path: its device file; a USB port's by the name that it keeps when it is plugged in elsewhere.
        name: what it calls itself, empty when it does not.
        url: its address for `provision door`, None while this installation has no adapter for it.
    """

    found: Found
    path: Path
    name: str
    url: str | None


class SerialPort(Protocol):
    """What `serial.tools.list_ports` tells about a port."""

    @property
    def device(self) -> str:
        """The device file."""
        ...

    @property
    def description(self) -> str:
        """What it calls itself, "n/a" when it does not."""
        ...


def detect(
    *,
    dev: Path = DEV,
    video_names: Path = VIDEO_NAMES,
    serial_ports: Callable[[], Iterable[SerialPort]] | None = None,
    known: Mapping[Kind, Collection[str]] | None = None,
) -> tuple[Suggestion, ...]:
    """Look for serial ports, cameras and GPIO chips.

    Args:
        dev: where device files are.
        video_names: where the kernel tells the cameras' names.
        serial_ports: lists them; None asks pyserial, if it is installed.
        known: the addresses that exist; None asks the catalogue.
    """
    known = schemes() if known is None else known
    ports = (_pyserial() if serial_ports is None else serial_ports)()
    lasting = _lasting_names(dev)
    found = [
        Suggestion(Found.SERIAL, lasting.get(Path(port.device), Path(port.device)), _named(port.description), None)
        for port in ports
    ]
    found += [
        Suggestion(Found.CAMERA, path, _read(video_names / path.name / "name"), None) for path in _files(dev, "video")
    ]
    found += [Suggestion(Found.GPIO, path, "", None) for path in _files(dev, "gpiochip")]
    return tuple(_with_address(each, known) for each in sorted(found, key=lambda each: str(each.path)))


# Which line the relay is on cannot be seen: LINE is a name that no chip has until a person writes the right one.
_ADDRESSES: Final = {
    Found.SERIAL: ("serial", ""),
    Found.CAMERA: ("camera", ""),
    Found.GPIO: ("gpio", "?lock=LINE"),
}


def _with_address(each: Suggestion, known: Mapping[Kind, Collection[str]]) -> Suggestion:
    scheme, options = _ADDRESSES[each.found]
    usable = any(scheme in names for names in known.values())
    return Suggestion(each.found, each.path, each.name, f"{scheme}://{each.path}{options}" if usable else None)


def _pyserial() -> Callable[[], Iterable[SerialPort]]:
    try:
        from serial.tools.list_ports import comports  # noqa: PLC0415 - an optional part of the installation
    except ImportError:
        return list
    return comports


def _named(description: str) -> str:
    return "" if description == "n/a" else description


def _lasting_names(dev: Path) -> dict[Path, Path]:
    """Map device files to the names that udev makes from vendor and serial number."""
    try:
        return {link.resolve(): link for link in sorted((dev / "serial" / "by-id").iterdir())}
    except OSError:
        return {}


def _files(folder: Path, prefix: str) -> list[Path]:
    """List PREFIX0, PREFIX1 …: other names with the prefix are something else."""
    try:
        return [path for path in folder.iterdir() if path.name.removeprefix(prefix).isdigit()]
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
