"""Asking a door's daemon over its diagnostics socket, as `doorward diag` and the demonstration do.

Invariant: every answer has a deadline, except that a watch waits as long as its caller does.
Must not: judge what it brings; what a command moves, its signature decides at the door.
"""

import base64
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from doorward.errors import CliError, ExitCode
from edge.config_types import USUAL_SOCKETS

DEADLINE_S: Final = 10.0
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""500 events, the most that one answer holds, take about 250 KiB."""

SocketOption = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        metavar="PATH",
        envvar="DOORWARD_SOCKET",
        help="The daemon's diagnostics socket.  [default: /run/doorward/diag.sock]",
    ),
]

Answer = dict[str, Any]
"""JSON as the daemon wrote it; the caller picks members by name."""


class Diagnostics:
    """A conversation with one daemon.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def status(self) -> Answer:
        """Ask for the daemon's state."""
        status: Answer = self._one({"ask": "status"}, "status")
        return status

    def events(self, *, after: int | None, limit: int) -> list[Answer]:
        """Ask for journaled events: those after a number, or the newest; in the journal's order."""
        question: dict[str, Any] = {"ask": "events", "limit": limit}
        if after is not None:
            question["after"] = after
        events: list[Answer] = self._one(question, "events")
        return events

    def explain(self, seq: int | None) -> Answer:
        """Ask why an event is what it is; without a number the newest decision."""
        explanation: Answer = self._one(
            {"ask": "explain"} if seq is None else {"ask": "explain", "seq": seq}, "explanation"
        )
        return explanation

    def why(self, credential: str, *, at_ms: int | None, reader: str | None) -> Answer:
        """Ask whether a credential would open the door, now or at a Unix millisecond, at a reader, and why."""
        question: dict[str, Any] = {"ask": "why", "credential": credential}
        question |= {} if at_ms is None else {"at_ms": at_ms}
        why: Answer = self._one(question if reader is None else {**question, "reader": reader}, "why")
        return why

    def command(self, command: bytes) -> Answer:
        """Deliver a signed command, and tell what became of it."""
        text = base64.urlsafe_b64encode(command).rstrip(b"=").decode()
        became: Answer = self._one({"ask": "command", "command": text}, "command")
        return became

    def watch(self) -> Iterator[Answer]:
        """Give each event as it is journaled, until the daemon stops or the caller does.

        An answer holds `event`, or `lost`: how many events were left out because nobody read them in time.
        """
        with self._ask({"ask": "watch"}) as stream:
            self._read(stream)
            stream.settimeout(None)
            with contextlib.suppress(_EndedError):
                while True:
                    yield self._read(stream)

    def _one(self, question: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
        with self._ask(question) as stream:
            try:
                answer = self._read(stream)
                return answer[name]
            except (KeyError, _EndedError) as error:
                raise self._odd(f"it did not answer the question {question['ask']!r}") from error

    @contextlib.contextmanager
    def _ask(self, question: dict[str, Any]) -> Iterator["_Lines"]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(DEADLINE_S)
            try:
                connection.connect(str(self.path))
                connection.sendall(json.dumps(question).encode() + b"\n")
            except OSError as error:
                raise self._silent(error) from error
            yield _Lines(connection)

    def _read(self, stream: "_Lines") -> Answer:
        try:
            answer = json.loads(stream.line())
        except OSError as error:
            raise self._silent(error) from error
        except ValueError as error:
            raise self._odd("its answer is not JSON") from error
        if not isinstance(answer, dict):
            raise self._odd("its answer is not an object")
        if "error" in answer:
            raise CliError(
                ExitCode.REFUSED, what=f"the daemon refused: {answer['error']}", remedy="correct the question"
            )
        return answer

    def _silent(self, error: OSError) -> CliError:
        if isinstance(error, PermissionError):
            remedy = "ask as a member of the group doorward: sudo usermod -aG doorward $USER, then log in again"
        else:
            remedy = "start the daemon (systemctl start doorward-edge, or doorward edge run), or correct --socket"
        what = f"no daemon answers at {self.path} ({error.strerror or error})"
        return CliError(ExitCode.UNREACHABLE, what=what, remedy=remedy)

    def _odd(self, what: str) -> CliError:
        return CliError(
            ExitCode.UNREACHABLE,
            what=f"what answers at {self.path} is not a doorward daemon of this version: {what}",
            remedy="correct --socket, or install the same version for both",
        )


class _EndedError(Exception):
    """The daemon closed the conversation."""


class _Lines:
    """Lines of bounded length from a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting = bytearray()

    def settimeout(self, seconds: float | None) -> None:
        self._connection.settimeout(seconds)

    def line(self) -> bytes:
        """Give the next line.

        Raises:
            OSError: nothing came in time, or the line is too long.
            _EndedError: there are no more.
        """
        while b"\n" not in self._waiting:
            if len(self._waiting) > MAX_LINE_BYTES:
                raise OSError(f"a line of more than {MAX_LINE_BYTES} bytes")
            data = self._connection.recv(65_536)
            if not data:
                raise _EndedError
            self._waiting += data
        line, _, rest = bytes(self._waiting).partition(b"\n")
        self._waiting = bytearray(rest)
        return line


def at_socket(path: Path | None) -> Diagnostics:
    """Choose the socket: the one that is named, else the first of the usual places that is there."""
    found = next((place for place in USUAL_SOCKETS if place.exists()), USUAL_SOCKETS[0])
    return Diagnostics(found if path is None else path)
