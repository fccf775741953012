"""Provision a door: from a claim code to a folder that the daemon starts from.

Invariant: the configuration is written last, so that a folder with one is complete; a run that stopped half-way is
repeated with the same command: the key is kept, and a certificate that is there is used.
Must not: do anything before claim code and addresses are known to be well-formed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge.config import USUAL_SOCKETS
from provisioning.apply import Progress, apply
from provisioning.cloud_line import check_broker_url, check_cloud_url
from provisioning.configuration import check_addresses, choose_broker, write_config
from provisioning.delivery import Delivery
from provisioning.documents import DoorIdentity
from provisioning.enrolment import Enrolment
from provisioning.est import read_claim
from provisioning.folder import names_in
from provisioning.plan import (
    CONFIG_FILE,
    NO_BROKER,
    SOCKET_FILE,
    DesiredDoor,
    Step,
    StepId,
    plan_door,
)

SKEW_S: Final = 20.0
"""A rotating code lives 30 s: a clock that is off by more than this refuses good ones now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """A door that is ready to start.

    Attributes:
        identity: which door it is.
        config: the file that the daemon starts from.
        broker: that the door will use, None for HTTPS alone.
        trust_version, policy_version: in force; policy 0 means that nobody is let in yet.
        status_lists: the lists that were fetched.
        next_steps: what a person does next, in order.
    """

    identity: DoorIdentity
    config: Path
    broker: str | None
    trust_version: int
    policy_version: int
    status_lists: tuple[int, ...]
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would be done."""

    steps: tuple[Step, ...]


def provision_door(
    desired: DesiredDoor,
    *,
    dry_run: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Provisioned | DryRun:
    """Enrol this machine as a door and write all that its daemon needs.

    Args:
        desired: the door that is wanted.
        dry_run: check what was typed and tell the steps; nothing is written and nobody asked.
        progress: is told about each step, at once.
        now: the wall clock.

    Raises:
        ProvisioningError: with what to do next; its reason has the exit code.
    """
    url, claim = check_cloud_url(desired.cloud_url), read_claim(desired.claim_code)
    if desired.broker is not None and desired.broker != NO_BROKER:
        check_broker_url(desired.broker)
    check_addresses(desired)
    steps = plan_door(desired, names_in(desired.folder))
    enrolment = Enrolment(desired, url=url, claim=claim, now=now)
    delivery = Delivery(enrolment, desired.folder, now=now)
    actions: dict[StepId, Callable[[], str]] = {
        StepId.FOLDER: enrolment.prepare,
        StepId.AUTHORITY: enrolment.fetch_authority,
        StepId.KEY: enrolment.make_key,
        StepId.ENROL: enrolment.enrol,
        StepId.IDENTITY: delivery.learn_identity,
        StepId.TRUST: delivery.fetch_trust,
        StepId.STATUS: delivery.fetch_status,
        StepId.POLICY: delivery.fetch_policy,
        StepId.CONFIG: lambda: write_config(desired, url, delivery.identity.get()),
    }
    apply(steps, actions, dry_run=dry_run, progress=progress)
    return DryRun(steps) if dry_run else _provisioned(desired, delivery)


def _provisioned(desired: DesiredDoor, delivery: Delivery) -> Provisioned:
    broker = choose_broker(desired, delivery.identity.get())
    return Provisioned(
        identity=delivery.identity.get(),
        config=desired.folder / CONFIG_FILE,
        broker=broker,
        trust_version=delivery.trust.get().version,
        policy_version=delivery.policy_version,
        status_lists=delivery.lists,
        next_steps=tuple(_next_steps(desired, delivery, broker)),
    )


def _next_steps(desired: DesiredDoor, delivery: Delivery, broker: str | None) -> list[str]:
    config = desired.folder / CONFIG_FILE
    socket = (desired.socket or desired.folder / SOCKET_FILE).absolute()
    steps = []
    if broker is not None and find_spec("aiomqtt") is None:
        steps.append(
            "Install what the broker is spoken to with: pip install 'doorward[mqtt]'; until then HTTPS is used."
        )
    if abs(delivery.skew_s) > SKEW_S:
        way = "ahead of" if delivery.skew_s > 0 else "behind"
        steps.append(
            f"Set the clock: it is {abs(delivery.skew_s):.0f} s {way} the cloud's (sudo timedatectl set-ntp true)."
        )
    if delivery.policy_version == 0:
        steps.append("Give the door a policy in the cloud: until then it lets nobody in.")
    steps.append(f"Start the daemon: sudo systemctl enable --now doorward-edge, or doorward edge run --config {config}")
    named = "" if socket in USUAL_SOCKETS else f" --socket {socket}"
    steps.append(f"Watch the first tap: doorward diag watch{named}")
    return steps
