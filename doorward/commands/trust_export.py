"""`doorward trust export`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.api import CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.files import unusable, write_whole
from doorward.offline import load_trust
from doorward.output import Json, JsonOption, Output, pairs

TRUST_FILE: Final = "trust.cbor"

EXAMPLES: Final = """
Examples:
  doorward trust export --tenant north-campus --folder trust
  doorward trust export --tenant north-campus --folder trust --list 0 --list 1 --json
"""


def run(
    *,
    tenant: Institution,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the files are written.")] = Path(),
    lists: Annotated[
        list[int] | None, typer.Option("--list", metavar="N", min=0, max=65535, help="A status list; 0 when absent.")
    ] = None,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Fetch trust file and status lists, for verifying offline.

    Writes DIR/trust.cbor and DIR/status-N.cwt, and checks them: whoever has them can verify passes without any
    network, until they are too old. They hold no secret.
    """
    wanted = sorted(set(lists or [0]))
    files = {number: folder / f"status-{number}.cwt" for number in wanted}
    with connect(url=cloud, token_file=token_file, state=state) as api:
        trust = api.get_bytes("institutions", tenant, "trust")
        statuses = {number: api.get_bytes("institutions", tenant, "status", str(number)) for number in wanted}
    _write(folder, {folder / TRUST_FILE: trust, **{files[number]: data for number, data in statuses.items()}})
    held = load_trust(folder / TRUST_FILE, files.values())
    sequences = {number: status.sequence for number, status in sorted(held.statuses.items())}
    record: dict[str, Json] = {
        "institution": tenant,
        "trust": str(folder / TRUST_FILE),
        "trust_version": held.bundle.version,
        "statuses": [
            {"list": number, "file": str(files[number]), "sequence": sequence} for number, sequence in sequences.items()
        ],
    }
    facts = [("trust", f"{folder / TRUST_FILE} (version {held.bundle.version})")]
    facts += [("status", f"{files[number]} (sequence {sequence})") for number, sequence in sequences.items()]
    Output(json_lines=json_lines).result(record, *pairs(facts))


def _write(folder: Path, contents: Mapping[Path, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(folder, error, doing="made") from error
    for path, data in contents.items():
        write_whole(path, data)
