"""A diagnostics socket at which bytes answer, for what only a strange daemon says."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """Answer one conversation with these bytes, then close it; gives what was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def converse() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                for answer in answers:
                    connection.sendall(answer)

        thread = threading.Thread(target=converse)
        thread.start()
        try:
            yield asked
        finally:
            thread.join(30)
