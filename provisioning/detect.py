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
from provisioning.nfc_readers import READERS, SERIAL_ADAPTERS, UsbId, plugged_readers


@unique
class Found(Enum):
    """What kind of device it is."""

    SERIAL = "serial port"
    CAMERA = "camera"
    GPIO = "GPIO chip"
    KEYBOARD = "keyboard, or a scanner that types"
    CONVERTER = "analogue converter"
    CARDS = "smart card daemon"
    NFC = "NFC reader"
    PN532 = "serial adapter, perhaps with a PN532"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine shows its devices.

    Attributes:
        dev: device files.
        sys: what the kernel tells of them.
        run: sockets of daemons.
    """

    dev: Path = Path("/dev")
    sys: Path = Path("/sys")
    run: Path = Path("/run")


THIS_MACHINE: Final = Machine()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A device that is there.

    Attributes:
        found: what it is.
        path: its device file; a USB port's by the name that it keeps when it is plugged in elsewhere.
        name: what it calls itself, empty when it does not.
        url: its address for `provision door`, None while this installation has no adapter for it.
        usb_id: vendor and product of an NFC reader on USB, which addresses name it by; None for all others.
    """

    found: Found
    path: Path
    name: str
    url: str | None
    usb_id: UsbId | None = None


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

    @property
    def vid(self) -> int | None:
        """Its USB vendor, None when it is on no USB."""
        ...

    @property
    def pid(self) -> int | None:
        """Its USB product, None when it is on no USB."""
        ...


def detect(
    machine: Machine = THIS_MACHINE,
    *,
    serial_ports: Callable[[], Iterable[SerialPort]] | None = None,
    known: Mapping[Kind, Collection[str]] | None = None,
) -> tuple[Suggestion, ...]:
    """Look for what readers, locks and inputs can be on.

    Args:
        machine: where to look.
        serial_ports: lists them; None asks pyserial, if it is installed.
        known: the addresses that exist; None asks the catalogue.
    """
    known = schemes() if known is None else known
    ports = (_pyserial() if serial_ports is None else serial_ports)()
    found = _on_serial_ports(machine, ports)
    found += _on_chips(machine)
    found += [Suggestion(Found.KEYBOARD, path, "", None) for path in _keyboards(machine.dev)]
    found += [Suggestion(Found.CARDS, path, "pcscd", None) for path in [pcscd_socket(machine)] if path.exists()]
    addressed = [_with_address(each, known) for each in found] + _nfc_readers(machine, known)
    return tuple(sorted(addressed, key=lambda each: str(each.path)))


def pcscd_socket(machine: Machine = THIS_MACHINE) -> Path:
    """Tell where the smart card daemon listens; it shares its readers by name, so its socket stands for them."""
    return machine.run / "pcscd" / "pcscd.comm"


def _on_serial_ports(machine: Machine, ports: Iterable[SerialPort]) -> list[Suggestion]:
    """Find what may be a scanner, and beside it what may be a PN532: nobody can tell without talking to it."""
    lasting = _lasting_names(machine.dev)
    found = []
    for port in ports:
        path = lasting.get(Path(port.device), Path(port.device))
        found.append(Suggestion(Found.SERIAL, path, _named(port.description), None))
        if port.vid is not None and port.pid is not None and (port.vid, port.pid) in SERIAL_ADAPTERS:
            found.append(Suggestion(Found.PN532, path, SERIAL_ADAPTERS[port.vid, port.pid], None))
    return found


def _nfc_readers(machine: Machine, known: Mapping[Kind, Collection[str]]) -> list[Suggestion]:
    """Find readers on USB; one that pcscd has, while it runs, is suggested by its name there."""
    pcscd = pcscd_socket(machine).exists() and _usable("pcsc", known)
    found = []
    for each in plugged_readers(sys=machine.sys, dev=machine.dev):
        behind = READERS[each.usb_id].pcsc if pcscd else None
        own = each.url if _usable("nfc", known) else None
        found.append(Suggestion(Found.NFC, each.device, each.name, behind or own, each.usb_id))
    return found


def _on_chips(machine: Machine) -> list[Suggestion]:
    """Find cameras, GPIO chips and converters."""
    names, converters = machine.sys / "class" / "video4linux", machine.sys / "bus" / "iio" / "devices"
    return [
        *(
            Suggestion(Found.CAMERA, each, _read(names / each.name / "name"), None)
            for each in _files(machine.dev, "video")
        ),
        *(Suggestion(Found.GPIO, each, "", None) for each in _files(machine.dev, "gpiochip")),
        *(Suggestion(Found.CONVERTER, each, _read(each / "name"), None) for each in _files(converters, "iio:device")),
    ]


# What is on which line or channel cannot be seen: LINE is a name that no chip has until a person writes the right one,
# and a contact's channel is the first until then.
_ADDRESSES: Final = {
    Found.SERIAL: ("serial", "serial://{path}"),
    Found.CAMERA: ("camera", "camera://{path}"),
    Found.GPIO: ("gpio", "gpio://{path}?lock=LINE"),
    Found.KEYBOARD: ("hid", "hid://{path}"),
    Found.CONVERTER: ("adc", "adc://{path}?contact=0"),
    Found.CARDS: ("pcsc", "pcsc:any"),
    Found.PN532: ("nfc", "nfc://{path}"),
}


def _with_address(each: Suggestion, known: Mapping[Kind, Collection[str]]) -> Suggestion:
    scheme, address = _ADDRESSES[each.found]
    url = address.format(path=each.path) if _usable(scheme, known) else None
    return Suggestion(each.found, each.path, each.name, url)


def _usable(scheme: str, known: Mapping[Kind, Collection[str]]) -> bool:
    return any(scheme in names for names in known.values())


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


def _keyboards(dev: Path) -> list[Path]:
    """List what types, by the names that it keeps when it is plugged in elsewhere."""
    try:
        return [path for path in (dev / "input" / "by-id").iterdir() if path.name.endswith("-event-kbd")]
    except OSError:
        return []


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
