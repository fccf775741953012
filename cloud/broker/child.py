"""One running mosquitto: launch, what it says, signal, end.

Invariant: it runs as the unprivileged owner and in our folder, by which it is recognised later.
Must not: start it again; `server.py` does.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import structlog

from cloud.cluster.owner import Owner
from cloud.errors import CloudError, Reason

STOP_S: Final = 5.0
_CHUNK_BYTES: Final = 4_096
_LINE_CHARACTERS: Final = 500
_WORDS: Final = 5
_LOG: Final = structlog.get_logger(__name__)


class Child:
    """The process.

    Attributes:
        ended: set once it has ended.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._words: deque[str] = deque(maxlen=_WORDS)
        self.ended: Final = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: Sequence[str], folder: Path, owner: Owner) -> Self:
        """Start a command in a folder, in a session of its own, so that Ctrl-C reaches us alone.

        Raises:
            CloudError: BROKER_FAILED when it cannot be run.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                user=owner.uid if owner.switch else None,
                group=owner.gid if owner.switch else None,
                extra_groups=owner.groups if owner.switch else None,
            )
        except OSError as error:
            raise CloudError(Reason.BROKER_FAILED, f"{command[0]} cannot be run: {error.strerror}.") from error
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what it has said."""
        return " / ".join(self._words) or "it said nothing"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it still runs."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """End it: asked first, made to after `STOP_S`."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self.ended.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
        await self._reading

    async def _read(self) -> None:
        """Log what it says, line by line, until it ends."""
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - it was asked for
        rest = b""
        while data := await stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_CHUNK_BYTES:]
            for line in lines:
                self._words.append(line.decode(errors="replace")[:_LINE_CHARACTERS])
                _LOG.info("mosquitto", said=self._words[-1])
        await self._process.wait()
        self.ended.set()
