"""A folder that stands for the kernel's list of USB devices: files as sysfs has them, and no device behind any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def plug_fake_usb(sys: Path, place: str, usb_id: tuple[int, int], *, bus: int, number: int, product: str = "") -> None:
    """Add a device at a place like 1-1.2, with an interface, which has no ids of its own."""
    folder = sys / "bus" / "usb" / "devices" / place
    folder.mkdir(parents=True)
    vendor, kind = usb_id
    files = {"idVendor": f"{vendor:04x}", "idProduct": f"{kind:04x}", "busnum": str(bus), "devnum": str(number)}
    for name, value in (files | ({"product": product} if product else {})).items():
        (folder / name).write_text(f"{value}\n")
    interface = folder.with_name(f"{place}:1.0")
    interface.mkdir()
    (interface / "bInterfaceNumber").write_text("00\n")
