"""The cloud's API as a command uses it: one base address, one operator token, faults as sentences.

Invariant: every request has a deadline; whatever goes wrong is a `CliError` that says what to do.
Must not: print a token, or retry what may have been done.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self
from urllib.parse import quote

import httpx
import typer

from doorward.errors import CliError, ExitCode
from doorward.files import read_bounded
from doorward.output import Json
from doorward.places import cloud_state
from doorward.tokens import pass_from_base64

TOKEN_FILE: Final = "operator.token"  # noqa: S105 - a file's name
ADDRESS_FILE: Final = "cloud.json"
DEADLINE_S: Final = 15.0
"""For one request; the slowest of ours (a new institution's keys) takes well under a second."""
_MAX_FILE_BYTES: Final = 4096
_MAX_FAULTS: Final = 5
"""Members of a request that one sentence names."""
_TOKEN_REMEDY: Final = "name the token's file with --token-file; the cloud keeps it as STATE/operator.token"  # noqa: S105

CloudUrl = Annotated[
    str | None,
    typer.Option(
        "--cloud", metavar="URL", envvar="DOORWARD_CLOUD", help="The cloud's API; else the running one of --state."
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", envvar="DOORWARD_TOKEN_FILE", help="The operator token; else that of --state."
    ),
]
StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        envvar="DOORWARD_CLOUD_STATE",
        help="The state folder of a cloud on this machine.  [default: ~/.local/share/doorward/cloud]",
    ),
]
Institution = Annotated[
    str,
    typer.Option("--tenant", metavar="INSTITUTION", envvar="DOORWARD_TENANT", help="The institution's short name."),
]


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error answer says (RFC 9457)."""

    status: int
    reason: str
    detail: str


class CloudApi:
    """A connection to the operators' API; use it in a `with` statement.

    Args:
        url: scheme, host and port.
        token: the operator token.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=DEADLINE_S, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, *path: str, **query: str | int) -> Any:  # noqa: ANN401 - JSON; the caller picks members by name
        """Read a resource as JSON."""
        return self._json(self._send("GET", path, query=query))

    def get_bytes(self, *path: str) -> bytes:
        """Read a resource as bytes."""
        return self._send("GET", path).content

    def post(self, *path: str, body: object = None) -> Any:  # noqa: ANN401 - as get
        """Make or change something."""
        return self._json(self._send("POST", path, body=body))

    def put(self, *path: str, body: object) -> Any:  # noqa: ANN401 - as get
        """Replace something."""
        return self._json(self._send("PUT", path, body=body))

    def health(self) -> Any:  # noqa: ANN401 - as get
        """Ask how the cloud is; a sick one answers too, with what is wrong."""
        return self._json(self._request("GET", "/health"))

    def metrics(self) -> str:
        """Read what Prometheus would read."""
        return self._request("GET", "/metrics").text

    def counted(self, name: str) -> int:
        """Read a counter of the cloud's metrics, summed over the labels that `name` leaves open."""
        lines = self.metrics().splitlines()
        return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name))

    def call(self, method: str, place: str, body: object) -> Any:  # noqa: ANN401 - as get
        """Send a request to any place below /api/v1/, its query included."""
        return self._json(self._request(method, "/api/v1/" + place, body=body))

    def issue_pass(self, tenant: str, request: Mapping[str, Json]) -> bytes:
        """Have a pass issued and give its bytes; members that are None are left out."""
        body = {name: value for name, value in request.items() if value is not None}
        return pass_from_base64(str(self.post("institutions", tenant, "passes", body=body)["pass"]).encode())

    def _send(
        self, method: str, path: tuple[str, ...], *, query: dict[str, str | int] | None = None, body: object = None
    ) -> httpx.Response:
        return self._request(method, "/api/v1/" + "/".join(quote(part, safe="") for part in path), query, body)

    def _request(
        self, method: str, place: str, query: dict[str, str | int] | None = None, body: object = None
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, place, params=query or None, json=body)
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise CliError(
                ExitCode.UNREACHABLE,
                what=f"the cloud at {self._url} does not answer ({_cause(error)})",
                remedy="start it with `doorward cloud serve`, or correct --cloud",
            ) from error
        if answer.is_success:
            return answer
        raise _refused(answer)

    def _json(self, answer: httpx.Response) -> Any:  # noqa: ANN401 - as get
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise CliError(
                ExitCode.UNREACHABLE,
                what=f"what answers at {self._url} is not the cloud's API",
                remedy="correct --cloud; the API's address is in STATE/cloud.json",
            ) from error


def connect(*, url: str | None, token_file: Path | None, state: Path | None) -> CloudApi:
    """Find address and token in the options, else in the state folder of a cloud on this machine.

    Raises:
        CliError: UNUSABLE when the token cannot be read, UNREACHABLE when no cloud runs there.
    """
    folder = cloud_state() if state is None else state
    if token_file is None and not (folder / TOKEN_FILE).exists():
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"no cloud has run with the state folder {folder}",
            remedy="name its folder with --state, or its address and token with --cloud and --token-file",
        )
    token = read_bounded(folder / TOKEN_FILE if token_file is None else token_file, _MAX_FILE_BYTES)
    if not token.strip().isascii() or not token.strip():
        raise CliError(ExitCode.UNUSABLE, what="the operator token is not text", remedy=_TOKEN_REMEDY)
    return CloudApi(_running(folder) if url is None else url.rstrip("/"), token.decode("ascii").strip())


def _running(folder: Path) -> str:
    path = folder / ADDRESS_FILE
    if path.exists():
        try:
            return str(json.loads(read_bounded(path, _MAX_FILE_BYTES))["api_url"])
        except (ValueError, KeyError, TypeError) as error:
            raise CliError(
                ExitCode.UNUSABLE, what=f"{path} does not name an address", remedy="name it yourself with --cloud"
            ) from error
    raise CliError(
        ExitCode.UNREACHABLE,
        what=f"no cloud runs with the state folder {folder}",
        remedy="start it with `doorward cloud serve`, or name another one with --cloud and --token-file",
    )


def problem_of(answer: httpx.Response) -> Problem:
    """Read an error answer; one without a problem document is told by its status."""
    try:
        found = answer.json()
        detail = ": ".join((str(found["detail"]).rstrip("."), *_faults(found.get("errors"))))
        return Problem(answer.status_code, str(found["reason"]), detail)
    except (ValueError, KeyError, TypeError):
        return Problem(answer.status_code, answer.reason_phrase.upper(), f"it answered {answer.status_code}")


def _faults(errors: object) -> list[str]:
    """Name each member of the request that was wrong, in one clause, if the cloud says so."""
    named = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    clauses = [_fault(str(each.get("key", "the request")), str(each.get("message"))) for each in named[:_MAX_FAULTS]]
    return ["; ".join(clauses)] if clauses else []


def _fault(member: str, message: str) -> str:
    return f"{member}: missing" if message == repr(member) else f"{member}: {message}"


def _refused(answer: httpx.Response) -> CliError:
    problem = problem_of(answer)
    down = problem.status >= httpx.codes.INTERNAL_SERVER_ERROR
    remedy = "see the cloud's log and its /health page" if down else "correct that and try again"
    if problem.status == httpx.codes.BAD_REQUEST:
        remedy = "correct that and try again; what is expected: doorward cloud call GET openapi.json"
    if problem.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        remedy = _TOKEN_REMEDY
    code = ExitCode.UNREACHABLE if down else ExitCode.REFUSED
    return CliError(code, what=f"the cloud refused ({problem.reason}): {problem.detail}", remedy=remedy)


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__
