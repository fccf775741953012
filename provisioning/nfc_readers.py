"""Which USB devices are NFC readers that nfcpy drives, and which serial adapters a PN532 board is often behind.

Invariant: both tables are data; that a device is in one says what it is, not that it works.
Must not: open anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

UsbId = tuple[int, int]
"""Vendor and product, as `lsusb` shows them in hexadecimal."""


@dataclass(frozen=True, slots=True)
class NfcReader:
    """A kind of reader.

    Attributes:
        name: what it is called.
        pcsc: its address behind pcscd, whose usual driver (libccid) knows it too; None when nfcpy alone does.
    """

    name: str
    pcsc: str | None = None


READERS: Final[Mapping[UsbId, NfcReader]] = MappingProxyType(
    {
        (0x072F, 0x2200): NfcReader("ACS ACR122U", pcsc="pcsc:ACS%20ACR122U?acr122=1"),
        (0x054C, 0x06C1): NfcReader("Sony RC-S380"),
        (0x054C, 0x06C3): NfcReader("Sony RC-S380"),
        (0x054C, 0x02E1): NfcReader("Sony RC-S330, RC-S360 or RC-S370"),
        (0x054C, 0x0193): NfcReader("Sony PN531"),
        (0x04CC, 0x0531): NfcReader("NXP PN531, SCM SCL3710"),
        (0x04CC, 0x2533): NfcReader("NXP PN533"),
        (0x04E6, 0x5591): NfcReader("SCM SCL3711"),
        (0x04E6, 0x5593): NfcReader("SCM SCL3712"),
    },
)
"""What nfcpy 1.0.4 opens by its USB id (nfc/clf/device.py, usb_device_map)."""

SERIAL_ADAPTERS: Final[Mapping[UsbId, str]] = MappingProxyType(
    {
        (0x0403, 0x6001): "FTDI FT232R",
        (0x0403, 0x6015): "FTDI FT230X",
        (0x067B, 0x2303): "Prolific PL2303",
        (0x10C4, 0xEA60): "Silicon Labs CP2102",
        (0x1A86, 0x5523): "WCH CH341",
        (0x1A86, 0x7523): "WCH CH340",
    },
)
"""What PN532 boards without USB of their own are wired with: candidates, for a scanner may be behind as well."""


@dataclass(frozen=True, slots=True)
class PluggedReader:
    """A reader that is plugged in.

    Attributes:
        usb_id: vendor and product.
        device: its file in /dev/bus/usb.
        name: what it calls itself, or what the table calls it.
    """

    usb_id: UsbId
    device: Path
    name: str

    @property
    def url(self) -> str:
        """Its address for nfcpy."""
        vendor, product = self.usb_id
        return f"nfc:usb:{vendor:04x}:{product:04x}"


def plugged_readers(*, sys: Path, dev: Path) -> list[PluggedReader]:
    """List the readers of the table that the kernel shows.

    Args:
        sys: where the kernel tells of devices.
        dev: device files.
    """
    try:
        folders = sorted((sys / "bus" / "usb" / "devices").iterdir())
    except OSError:
        return []
    found = [_plugged(folder, dev) for folder in folders]
    return [each for each in found if each is not None]


def _plugged(folder: Path, dev: Path) -> PluggedReader | None:
    """Read one device; None for an interface, a hub, and whatever is no reader."""
    told = {name: _line(folder / name) for name in ("idVendor", "idProduct", "busnum", "devnum", "product")}
    try:
        usb_id = int(told["idVendor"], 16), int(told["idProduct"], 16)
        bus, number = int(told["busnum"]), int(told["devnum"])
    except ValueError:
        return None
    reader = READERS.get(usb_id)
    if reader is None:
        return None
    return PluggedReader(usb_id, dev / "bus" / "usb" / f"{bus:03}" / f"{number:03}", told["product"] or reader.name)


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
