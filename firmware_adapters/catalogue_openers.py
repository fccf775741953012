"""How an adapter is made of a checked address; `catalogue.py` says which there are.

Invariant: importing this module loads no driver; an adapter's module is loaded when its opener is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # At run time this would load the core and its cryptography, for names of types alone.
    from edge.ports import Display, Home, Inputs, Lock, Reader
    from firmware_adapters.address import Address


def serial(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a scanner on a serial port."""
    from firmware_adapters.serial_qr import open_reader as opener  # noqa: PLC0415 - loaded when used

    return opener(address, reader_id)


def pcsc(address: Address, reader_id: str, home: Home | None) -> Reader:
    """Make the reader of a reader behind pcscd."""
    from firmware_adapters.card_reader import open_pcsc  # noqa: PLC0415 - loaded when used

    return open_pcsc(address, reader_id, home)


def nfc(address: Address, reader_id: str, home: Home | None) -> Reader:
    """Make the reader of a reader that nfcpy drives."""
    from firmware_adapters.card_reader import open_nfc  # noqa: PLC0415 - loaded when used

    return open_nfc(address, reader_id, home)


def camera_files(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a folder of image files."""
    from firmware_adapters.camera import open_folder  # noqa: PLC0415 - loaded when used

    return open_folder(address, reader_id)


def camera(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a video device."""
    from firmware_adapters.camera import open_device  # noqa: PLC0415 - loaded when used

    return open_device(address, reader_id)


def camera_http(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a camera in the network."""
    from firmware_adapters.camera import open_http  # noqa: PLC0415 - loaded when used

    return open_http(address, reader_id)


def camera_csi(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a Raspberry Pi's own camera."""
    from firmware_adapters.camera import open_csi  # noqa: PLC0415 - loaded when used

    return open_csi(address, reader_id)


def simulated_reader(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a simulated door."""
    from firmware_adapters.simulated_reader import SimulatedReader  # noqa: PLC0415 - loaded when used

    return SimulatedReader(address.path, reader_id)


def osdp(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of an OSDP line."""
    from firmware_adapters.osdp import open_reader as opener  # noqa: PLC0415 - loaded when used

    return opener(address, reader_id)


def hid(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of a scanner that types."""
    from firmware_adapters.hid import open_reader as opener  # noqa: PLC0415 - loaded when used

    return opener(address, reader_id)


def wiegand(address: Address, reader_id: str, _home: Home | None) -> Reader:
    """Make the reader of two Wiegand lines."""
    from firmware_adapters.wiegand import open_reader as opener  # noqa: PLC0415 - loaded when used

    return opener(address, reader_id)


def gpio_lock(address: Address) -> Lock:
    """Open the lock of a GPIO line."""
    from firmware_adapters.gpio import open_lock as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def gpio_files_lock(address: Address) -> Lock:
    """Open the lock of a file in a folder."""
    from firmware_adapters.gpio_files import open_lock as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def modbus_lock(address: Address) -> Lock:
    """Open the lock of a Modbus board."""
    from firmware_adapters.modbus import open_lock as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def simulated_lock(address: Address) -> Lock:
    """Open the lock of a simulated door."""
    from firmware_adapters.simulated import SimulatedLock  # noqa: PLC0415 - loaded when used

    return SimulatedLock(address.path)


def gpio_inputs(address: Address) -> Inputs:
    """Open the inputs of GPIO lines."""
    from firmware_adapters.gpio import open_inputs as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def gpio_files_inputs(address: Address) -> Inputs:
    """Open the inputs of files in a folder."""
    from firmware_adapters.gpio_files import open_inputs as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def adc_inputs(address: Address) -> Inputs:
    """Open the inputs of a converter."""
    from firmware_adapters.adc import open_inputs as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def modbus_inputs(address: Address) -> Inputs:
    """Open the inputs of a Modbus board."""
    from firmware_adapters.modbus import open_inputs as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def osdp_inputs(address: Address) -> Inputs:
    """Open the inputs of an OSDP reader's case and supply."""
    from firmware_adapters.osdp import open_inputs as opener  # noqa: PLC0415 - loaded when used

    return opener(address)


def simulated_inputs(address: Address) -> Inputs:
    """Open the inputs of a simulated door."""
    from firmware_adapters.simulated import SimulatedInputs  # noqa: PLC0415 - loaded when used

    return SimulatedInputs(address.path)


def serial_display(address: Address, display_id: str) -> Display:
    """Make the display on a serial port."""
    from firmware_adapters.serial_display import open_display as opener  # noqa: PLC0415 - loaded when used

    return opener(address, display_id)


def simulated_display(address: Address, display_id: str) -> Display:
    """Make the display of a simulated door."""
    from firmware_adapters.simulated_display import open_display as opener  # noqa: PLC0415 - loaded when used

    return opener(address, display_id)
