"""The command line's table of commands and its one entry point.

Invariant: a command imports only what it needs; whatever a command raises ends here, as a sentence and an exit code.
Must not: do a command's work.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]  # imported there, not re-exported

from doorward.errors import MEANINGS, CliError, ExitCode
from doorward.output import complain
from doorward.tree import Group, Leaf, build

PROGRAM: Final = "doorward"
COMPLETION_VARIABLE: Final = "_DOORWARD_COMPLETE"

_EXIT_CODES: Final = "\n".join(f"  {int(code):<4} {meaning}" for code, meaning in MEANINGS.items())

TREE: Final = Group(
    "Door access with signed, rotating passes that doors verify offline.",
    {
        "edge": Group(
            "Run and check the daemon of a door.",
            {
                "run": Leaf("doorward.commands.edge_run", "Run the daemon of one door."),
                "check-config": Leaf("doorward.commands.edge_check_config", "Check a door's configuration file."),
                "devices": Leaf(
                    "doorward.commands.edge_devices",
                    "Show this door's devices, and how each is.",
                ),
                "new-journal": Leaf(
                    "doorward.commands.edge_new_journal", "Begin a new journal at this door, and keep the old one."
                ),
                "osdp-key": Leaf(
                    "doorward.commands.edge_osdp_key", "Give an OSDP reader a key of its own.", part="osdp"
                ),
            },
        ),
        "provision": Group(
            "Set up this machine for a door.",
            {
                "door": Leaf("doorward.commands.provision_door", "Make this machine the controller of a door."),
                "renew": Leaf("doorward.commands.provision_renew", "Renew this door's certificate when it is due."),
                "card-key": Leaf(
                    "doorward.commands.provision_card_key", "Put a site's key for cards into this door's sealed store."
                ),
                "detect": Leaf(
                    "doorward.commands.provision_detect", "Show what is plugged in, with its device address."
                ),
            },
        ),
        "cloud": Group(
            "Run the cloud service, and call its API.",
            {
                "serve": Leaf(
                    "doorward.commands.cloud_serve",
                    "Serve the cloud: keys, passes, policies, events.",
                    part="cloud",
                ),
                "broker": Leaf(
                    "doorward.commands.cloud_broker", "Run an MQTT broker for doors and cloud.", part="cloud"
                ),
                "backup": Leaf(
                    "doorward.commands.cloud_backup",
                    "Back up the cloud's database and keys.",
                    part="cloud",
                ),
                "restore": Leaf(
                    "doorward.commands.cloud_restore",
                    "Make a cloud with a private PostgreSQL from a backup.",
                    part="cloud",
                ),
                "devices": Leaf(
                    "doorward.commands.cloud_devices",
                    "List an institution's devices.",
                ),
                "release": Leaf("doorward.commands.cloud_release", "Let a device in quarantine send its events again."),
                "command": Leaf(
                    "doorward.commands.cloud_command", "Order a door, or a whole site, to do something now."
                ),
                "lockdown": Leaf("doorward.commands.cloud_lockdown", "Lock doors down, or end that."),
                "call": Leaf("doorward.commands.cloud_call", "Call the cloud's API with the operator token."),
            },
        ),
        "pass": Group(
            "Issue, revoke, read and verify passes.",
            {
                "issue": Leaf("doorward.commands.pass_issue", "Issue a pass.", part="wallet"),
                "revoke": Leaf("doorward.commands.pass_revoke", "Revoke a pass for ever."),
                "show": Leaf("doorward.commands.pass_show", "Decode a pass or presentation without verifying it."),
                "verify": Leaf(
                    "doorward.commands.pass_verify", "Verify a pass or presentation offline, as a door does."
                ),
            },
        ),
        "trust": Group(
            "Fetch what offline verification needs.",
            {
                "export": Leaf(
                    "doorward.commands.trust_export",
                    "Fetch trust file and status lists, for verifying offline.",
                ),
            },
        ),
        "wallet": Group(
            "Hold a key and passes, and show the rotating code.",
            {
                "new": Leaf("doorward.commands.wallet_new", "Make a wallet with a new P-256 key."),
                "list": Leaf("doorward.commands.wallet_list", "List the wallets and their passes."),
                "add": Leaf("doorward.commands.wallet_add", "Keep a pass that was issued for a wallet's key."),
                "show": Leaf("doorward.commands.wallet_show", "Show the rotating QR code of a pass.", part="wallet"),
            },
        ),
        "diag": Group(
            "Ask the daemon of a door, at the door.",
            {
                "status": Leaf(
                    "doorward.commands.diag_status",
                    "Show this door: lock, contact, alarms, age of its data.",
                ),
                "events": Leaf("doorward.commands.diag_events", "Show events of this door's journal."),
                "watch": Leaf("doorward.commands.diag_watch", "Show each event of this door as it is journaled."),
                "explain": Leaf("doorward.commands.diag_explain", "Say why a decision was made."),
                "why": Leaf("doorward.commands.diag_why", "Ask a door: would this open, and why (not)?"),
                "command": Leaf("doorward.commands.diag_command", "Bring a signed command to a door without network."),
                "replay": Leaf(
                    "doorward.commands.diag_replay",
                    "Run recorded inputs through this door's rules again, and compare.",
                ),
                "taps": Leaf(
                    "doorward.commands.diag_taps", "Show recorded taps with what policy is told of the credential."
                ),
            },
        ),
        "policy": Group(
            "Compare the rules of doors.",
            {
                "diff": Leaf(
                    "doorward.commands.policy_diff", "Tell what other rules would have decided on taps of the past."
                ),
            },
        ),
        "demo": Leaf(
            "doorward.commands.demo",
            "Show one door from claim to chain check.",
            part="demo",
        ),
        "fleet": Leaf("doorward.commands.fleet", "Run many simulated doors against a cloud, for load."),
        "bench": Leaf("doorward.commands.bench", "Measure this machine's speeds, each against its floor."),
        "completion": Leaf("doorward.commands.completion", "Print the completion script of a shell."),
        "reference": Leaf(
            "doorward.commands.reference",
            "Write the reference of this command line: Markdown, or manual pages.",
            hidden=True,
        ),
        "version": Leaf("doorward.commands.version", "Print the version."),
    },
    examples=f"Exit codes:\n{_EXIT_CODES}\n\nStart here:\n  doorward demo",
)


def app(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code.

    Args:
        arguments: without the program's name; those of the process when None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    json_lines = "--json" in given
    try:
        return _run(given)
    except CliError as error:
        complain(error, json_lines=json_lines)
        return error.code
    except typer.TyperException as error:
        complain(_wrong_usage(error), json_lines=json_lines)
        return ExitCode.UNUSABLE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001 - the one supervisor: whatever gets here is a defect, and is told as one
        traceback.print_exc()
        defect = CliError(
            ExitCode.INTERNAL,
            what="this is a defect of Doorward, not of what you did",
            remedy="please report it with the lines above and the output of: doorward version",
        )
        complain(defect, json_lines=json_lines)
        return defect.code


def _run(arguments: list[str]) -> int:
    if COMPLETION_VARIABLE in os.environ:
        completion_init()
    result = build(PROGRAM, TREE).main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    return ExitCode.OK if result is None else int(result)


def _wrong_usage(error: typer.TyperException) -> CliError:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", PROGRAM)
    what = error.format_message().rstrip(".")
    return CliError(ExitCode.UNUSABLE, what=what[:1].lower() + what[1:], remedy=f"see: {path} --help")
