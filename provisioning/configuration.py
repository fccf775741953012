"""The last step: the configuration, checked as the daemon will check it before it takes its place.

Invariant: edge.toml appears only when all that it names is there and right.
Must not: guess a device address.
"""

import tomllib
from pathlib import Path
from typing import Final

from edge.config import (
    AddressConfig,
    CloudConfig,
    ConfigError,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    KnownSchemes,
    ReaderConfig,
    load_config,
    render_config,
)
from firmware_adapters.catalogue import AdapterError, Kind, check, check_all_inputs, schemes
from provisioning.cloud_line import check_broker_url
from provisioning.documents import DoorIdentity
from provisioning.errors import ProvisioningError, Reason
from provisioning.folder import put_aside, unusable, write_file
from provisioning.plan import (
    CA_FILE,
    CERTIFICATE_FILE,
    CONFIG_FILE,
    JOURNAL_FILE,
    KEY_FILE,
    NO_BROKER,
    SOCKET_FILE,
    DesiredDoor,
)

_DRAFT_FILE: Final = "edge.toml.draft"


def check_addresses(desired: DesiredDoor) -> None:
    """Check every device address before anything is done.

    Raises:
        ProvisioningError: DEVICE_ADDRESS_INVALID.
    """
    asked = [(Kind.READER, f"reader {name}", url) for name, url in desired.readers.items()]
    asked.append((Kind.LOCK, "the lock", desired.lock))
    for kind, name, url in asked:
        try:
            check(kind, url)
        except AdapterError as error:
            raise _refused(name, error) from error
    try:
        check_all_inputs(desired.inputs)
    except AdapterError as error:
        raise _refused("the inputs", error) from error


def _refused(name: str, error: AdapterError) -> ProvisioningError:
    return ProvisioningError(Reason.DEVICE_ADDRESS_INVALID, what=f"{name}: {error.what}", remedy=error.remedy)


def write_config(desired: DesiredDoor, url: str, identity: DoorIdentity) -> str:
    """Write edge.toml, and put aside the journal of another device that worked in this folder.

    Raises:
        ProvisioningError: CONFIG_REFUSED or FOLDER_UNUSABLE.
    """
    folder = desired.folder
    text = render_config(_config(desired, url, identity))
    known = schemes()
    try:
        write_file(folder / _DRAFT_FILE, text.encode())
        load_config(
            folder / _DRAFT_FILE,
            KnownSchemes(
                readers=known[Kind.READER],
                locks=known[Kind.LOCK],
                inputs=known[Kind.INPUTS],
                displays=known[Kind.DISPLAY],
            ),
        )
        aside = None if _device_before(folder / CONFIG_FILE) == identity.device else put_aside(folder / JOURNAL_FILE)
        write_file(folder / CONFIG_FILE, text.encode())
    except ConfigError as error:
        raise ProvisioningError(
            Reason.CONFIG_REFUSED,
            what=f"the configuration for this door is not right: {error.problems[0]}",
            remedy="correct the option that it comes from and run the same command again",
        ) from error
    except OSError as error:
        raise unusable(folder / CONFIG_FILE, error) from error
    finally:
        (folder / _DRAFT_FILE).unlink(missing_ok=True)
    return "checked" if aside is None else f"checked; the journal of the device before is kept in {aside.name}"


def _config(desired: DesiredDoor, url: str, identity: DoorIdentity) -> EdgeConfig:
    folder = desired.folder.absolute()
    return EdgeConfig(
        state_folder=folder,
        device=DeviceConfig(
            id=identity.device,
            tenant=identity.tenant,
            site=identity.site,
            door=identity.door,
            access_point=identity.access_point,
        ),
        lock=AddressConfig(url=desired.lock),
        diagnostics=DiagnosticsConfig(socket=(desired.socket or folder / SOCKET_FILE).absolute()),
        readers=tuple(ReaderConfig(id=name, url=address) for name, address in desired.readers.items()),
        inputs=tuple(AddressConfig(url=url) for url in desired.inputs),
        cloud=CloudConfig(
            url=url,
            certificate=folder / CERTIFICATE_FILE,
            key=folder / KEY_FILE,
            ca=folder / CA_FILE,
            broker=choose_broker(desired, identity),
        ),
        clock=desired.clock,
    )


def choose_broker(desired: DesiredDoor, identity: DoorIdentity) -> str | None:
    """Choose the broker, None for HTTPS alone: the installer's word goes before the cloud's.

    Raises:
        ProvisioningError: ADDRESS_INVALID, what the cloud names is none.
    """
    if desired.broker == NO_BROKER:
        return None
    named = identity.broker if desired.broker is None else desired.broker
    return None if named is None else check_broker_url(named)


def _device_before(path: Path) -> str | None:
    """Tell which device was configured here; None when there was none, or it cannot be read any more."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    device = found.get("device")
    return str(device.get("id")) if isinstance(device, dict) else None
