"""`doorward cloud call`."""

import json
from enum import Enum
from typing import Annotated, Any, Final

import typer

from doorward.api import CloudUrl, StateFolder, TokenFile, connect
from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output, json_line
from doorward.tokens import argument_bytes

EXAMPLES: Final = """
Examples:
  doorward cloud call POST institutions '{"id": "north-campus", "name": "North Campus"}'
  doorward cloud call POST institutions/north-campus/doors '{"id": "main", "site": "main-campus"}'
  doorward cloud call PUT institutions/north-campus/doors/main/policy \\
      '{"accessLevels": [{"id": 1, "schedules": [0]}]}'
  doorward cloud call PUT institutions/north-campus/doors/main/policy \\
      '{"settings": {"mode": "blocked"}, "lockOut": true}'
  doorward cloud call POST institutions/north-campus/doors/main/claims
  doorward cloud call GET 'institutions/north-campus/events?limit=10' --json
"""


class Method(Enum):
    """What is done to a resource."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"


def run(
    method: Annotated[Method, typer.Argument(metavar="METHOD", help="GET, POST or PUT.", case_sensitive=False)],
    path: Annotated[str, typer.Argument(metavar="PATH", help="What comes after /api/v1/ in the address.")],
    body: Annotated[
        str | None, typer.Argument(metavar="[JSON|-]", help="What to send, or - for standard input.")
    ] = None,
    *,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Call the cloud's API with the operator token.

    Prints the answer. For everything that has no command of its own. The API describes itself:
    doorward cloud call GET openapi.json
    """
    message = None if body is None else _parse(argument_bytes(body))
    with connect(url=cloud, token_file=token_file, state=state) as api:
        answer = api.call(method.value, path.removeprefix("/").removeprefix("api/v1/"), message)
    record = answer if isinstance(answer, dict) else {"answer": answer}
    Output(json_lines=json_lines).result(record, json.dumps(answer, ensure_ascii=False, indent=2))


def _parse(data: bytes) -> Any:  # noqa: ANN401 - JSON, passed on as it is
    try:
        return json.loads(data)
    except ValueError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"what to send is not JSON ({error})",
            remedy=f"quote it for the shell, e.g. '{json_line({'id': 'north-campus'})}'",
        ) from error
