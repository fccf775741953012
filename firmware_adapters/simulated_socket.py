"""The Unix socket through which another process acts on a simulated device: one line, one answer.

Invariant: what clients send, and how many they are, is bounded; only a dead process's socket is replaced.
This module must not know what a line means.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.ports import InputsError, ReaderError, Reason
from firmware_adapters.line_framer import LineFramer

MOST_CLIENTS = 16
CLIENT_IDLE_S = 300.0
CONTROL_DEADLINE_S = 5.0
_CHUNK_BYTES = 4096


class ControlSocket:
    """A socket in a folder that is held; it is there from `listen` to `stop`.

    Args:
        folder: of the device; the caller's hold on it says that a socket which is there already is a dead one.
        name: of the socket.
        obey: carries a line out and gives the answer; a longer line than `max_line_bytes` is cut to one byte more.
        error: what is raised when the socket cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        obey: Callable[[bytes], str],
        *,
        max_line_bytes: int,
        error: type[InputsError | ReaderError],
    ) -> None:
        self._folder = folder
        self._name = name
        self._obey = obey
        self._max_line_bytes = max_line_bytes
        self._error = error
        self._listener: socket.socket | None = None
        self._clients: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Open the socket; raises the given error when something else is in its place."""
        # A process that was killed leaves its socket behind; the claim on the folder says that it is ours.
        self._remove()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_socket_path(self._folder, self._name) as path:
                listener.bind(path)
            listener.listen(MOST_CLIENTS)
            listener.settimeout(0)
        except OSError as error:
            listener.close()
            raise self._error(
                Reason.FAULT,
                what=f"{self._folder / self._name} cannot be opened ({error.strerror})",
                remedy="remove what is there, or give the twin another folder",
            ) from error
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        self._listener = listener

    async def stop(self) -> None:
        """Close the socket and end its conversations; a second call does nothing."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients, timeout=CONTROL_DEADLINE_S)
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            (self._folder / self._name).unlink()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(0)
            client = asyncio.create_task(self._converse(connection))
            self._clients.add(client)
            client.add_done_callback(self._clients.discard)
            # Also when it is cancelled before it has begun.
            client.add_done_callback(lambda _: connection.close())

    async def _converse(self, connection: socket.socket) -> None:
        """Answer each line of one client, until it leaves or falls silent for `CLIENT_IDLE_S`."""
        loop = asyncio.get_running_loop()
        framer = LineFramer(self._max_line_bytes)
        with contextlib.suppress(OSError):
            while True:
                async with asyncio.timeout(CLIENT_IDLE_S):
                    data = await loop.sock_recv(connection, _CHUNK_BYTES)
                if not data:
                    return
                for line in framer.feed(data):
                    answer = "error: too many clients" if len(self._clients) > MOST_CLIENTS else self._obey(line)
                    async with asyncio.timeout(CONTROL_DEADLINE_S):
                        await loop.sock_sendall(connection, answer.encode() + b"\n")


@contextlib.contextmanager
def short_socket_path(folder: Path, name: str) -> Iterator[str]:
    """Give a path to a socket that fits the 108 bytes of a Unix socket address, however deep the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


async def send_line(folder: Path, name: str, line: bytes, *, error: type[InputsError | ReaderError]) -> None:
    """Send one line to the socket of a simulated device, from any process.

    Raises:
        the given error: nobody listens there, or the line is refused.
    """
    try:
        async with asyncio.timeout(CONTROL_DEADLINE_S):
            with short_socket_path(folder, name) as path:
                reader, writer = await asyncio.open_unix_connection(path)
            with contextlib.closing(writer):
                writer.write(line + b"\n")
                answer = (await reader.readline()).decode("ascii", "replace").strip()
    except (OSError, TimeoutError) as fault:
        raise error(
            Reason.LOST,
            what=f"nothing listens at {folder / name} ({fault})",
            remedy="start the daemon of that door",
        ) from fault
    if answer != "ok":
        raise error(
            Reason.UNSUPPORTED,
            what=f"the simulated device at {folder / name} did not take the line",
            remedy=answer.removeprefix("error: ") or "try again",
        )
