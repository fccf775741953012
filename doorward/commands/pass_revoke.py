"""`doorward pass revoke`."""

from typing import Annotated, Final

import typer

from doorward.api import CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward pass revoke --tenant north-campus 0000000012af
  doorward pass revoke --tenant north-campus --cloud https://cloud.example \\
      --token-file operator.token 0000000012af --json
"""


def run(
    pass_id: Annotated[str, typer.Argument(metavar="PASS_ID", help="The pass id, 12 hexadecimal digits.")],
    *,
    tenant: Institution,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Revoke a pass for ever.

    Doors that are online refuse it within a second; a door that is offline, once it is online again or its
    revocation data is too old for its rules.
    """
    with connect(url=cloud, token_file=token_file, state=state) as api:
        answer = api.post("institutions", tenant, "passes", pass_id.lower(), "revoke")
    record = {"pass_id": pass_id.lower(), "revoked": True, "revoked_at": (answer or {}).get("revokedAt")}
    Output(json_lines=json_lines).result(record, f"Revoked the pass {pass_id.lower()}.")
