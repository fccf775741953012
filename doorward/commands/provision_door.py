"""`doorward provision door`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.output import Json, JsonOption, Output, Style, pairs
from doorward.tokens import argument_bytes
from edge.config import ClockConfig
from provisioning.apply import Progress, Stage
from provisioning.enrol import Provisioned, provision_door
from provisioning.errors import ProvisioningError
from provisioning.plan import DesiredDoor

EXAMPLES: Final = """
Examples:
  doorward provision detect
  sudo doorward provision door --cloud https://cloud.example:8443 \\
      --claim 7EDQ-QX4M-6E58-XP3A-QYPE-26S3-F9G4-09K7 \\
      --reader entry=serial:///dev/ttyACM0 --lock simulated:///var/lib/doorward/twin
  doorward provision door --cloud https://127.0.0.1:8443 --claim - --folder ./twin --dry-run
"""

FOLDER: Final = Path("/var/lib/doorward")
TWIN: Final = "twin"

BrokerOption = Annotated[
    str | None,
    typer.Option(
        "--broker", metavar="URL", help="The MQTT broker, mqtts://…, or none; what the cloud names when absent."
    ),
]
OffsetOption = Annotated[
    Path | None,
    typer.Option("--clock-offset-file", metavar="FILE", help="A twin's clock: moved by the milliseconds in this file."),
]


def _parse_reader(text: str) -> tuple[str, str]:
    name, separator, url = text.partition("=")
    if not (separator and name and url):
        raise typer.BadParameter(f"{text!r} is not ID=ADDRESS, such as entry=serial:///dev/ttyACM0")
    return name, url


def run(
    *,
    cloud: Annotated[str, typer.Option("--cloud", metavar="URL", help="The cloud's listener for doors, https://….")],
    claim: Annotated[
        str,
        typer.Option(
            "--claim", metavar="CODE", envvar="DOORWARD_CLAIM", help="The claim code, or - for standard input."
        ),
    ],
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the door keeps its state.")] = FOLDER,
    readers: Annotated[
        list[str] | None,
        typer.Option("--reader", metavar="ID=ADDRESS", help="A reader: its name and its device address; repeat it."),
    ] = None,
    lock: Annotated[
        str | None,
        typer.Option("--lock", metavar="ADDRESS", help="The lock; a simulated one in DIR/twin when absent."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--inputs", metavar="ADDRESS", help="Contact, exit button, fire; repeat it; none when absent."),
    ] = None,
    rtc: Annotated[bool, typer.Option("--rtc", help="This machine keeps the time without power.")] = False,
    clock_offset_file: OffsetOption = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", metavar="PATH", help="Where technicians ask; DIR/diag.sock when absent.")
    ] = None,
    broker: BrokerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell the steps; write nothing and ask nobody.")] = False,
    json_lines: JsonOption = False,
) -> None:
    """Make this machine the controller of a door.

    Makes the device key, which never leaves; enrols with the claim code; fetches and verifies whom to trust, who is
    revoked and who may pass; and writes a configuration that was checked. When it stops half-way, the same command goes
    on where it stopped.
    """
    out = Output(json_lines=json_lines)
    code = argument_bytes(claim).decode("utf-8", "replace").strip()
    desired = DesiredDoor(
        cloud_url=cloud,
        claim_code=code,
        folder=folder.absolute(),
        readers=dict(map(_parse_reader, readers or ())),
        lock=lock or f"simulated://{folder.absolute() / TWIN}",
        inputs=tuple(inputs or ()),
        clock=ClockConfig(rtc=rtc, offset_file=None if clock_offset_file is None else clock_offset_file.absolute()),
        socket=socket,
        broker=broker,
    )
    try:
        done = provision_door(desired, dry_run=dry_run, progress=lambda each: _tell(out, each))
    except ProvisioningError as error:
        raise CliError(ExitCode(error.reason.exit_code), what=error.what, remedy=error.remedy) from error
    if isinstance(done, Provisioned):
        notices = _notices(desired, named_lock=lock is not None)
        out.result(_record(done, notices), *_lines(done, [out.paint(each, Style.CAUTION) for each in notices]))


def _tell(out: Output, progress: Progress) -> None:
    step = progress.step
    record: dict[str, Json] = {
        "event": "step",
        "number": step.number,
        "total": progress.total,
        "step": step.id.value,
        "stage": progress.stage.value,
        "sentence": step.sentence,
        "outcome": progress.outcome,
    }
    if out.json_lines:
        out.result(record)
    elif progress.stage in (Stage.PLANNED, Stage.STARTED):
        out.say(f"{step.number:>2}/{progress.total} {step.sentence}")
    elif progress.stage is Stage.DONE:
        out.say(f"      {out.paint(progress.outcome, Style.GOOD)}")


def _notices(desired: DesiredDoor, *, named_lock: bool) -> list[str]:
    notices = []
    if not desired.readers:
        notices.append(
            "No reader was named: add a section [[reader]] to the configuration, or run again with --reader."
        )
    if not named_lock:
        notices.append(f"No lock was named: this door has a simulated one in {desired.folder / TWIN}.")
    return notices


def _record(done: Provisioned, notices: list[str]) -> dict[str, Json]:
    identity = done.identity
    return {
        "event": "provisioned",
        "tenant": identity.tenant,
        "site": identity.site,
        "door": identity.door,
        "access_point": identity.access_point,
        "device": identity.device,
        "config": str(done.config),
        "broker": done.broker,
        "trust_version": done.trust_version,
        "policy_version": done.policy_version,
        "status_lists": list(done.status_lists),
        "notices": notices,
        "next_steps": list(done.next_steps),
    }


def _lines(done: Provisioned, notices: list[str]) -> list[str]:
    identity = done.identity
    facts = [
        ("door", f"{identity.door} at {identity.site} of {identity.tenant}"),
        ("device", identity.device),
        ("broker", done.broker or "none, all goes over HTTPS"),
        ("policy", f"version {done.policy_version}" if done.policy_version else "none yet"),
        ("config", str(done.config)),
    ]
    numbered = [f"  {number}. {each}" for number, each in enumerate(done.next_steps, start=1)]
    return ["", *pairs(facts), *notices, "", "Next:", *numbered]
