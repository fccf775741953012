"""A simulated door for twins, demonstrations and tests: no real door hangs on it.

The relay writes what it does into a state folder (`simulated_folder.py`); the wires are driven by lines written to the
Unix socket `control.sock` in that folder. Contact, request-to-exit and fire input are there from the beginning; a wire
that nobody has driven yet, such as the lock monitor, is not connected.

Invariant: the relay is never energised longer than the last `hold_ms`, whoever forgets to release it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType

from edge.ports import InputChange, InputLine, InputsError, LineState, LockError, LockInfo, Reason
from firmware_adapters.simulated_folder import SOCKET_FILE, StateFolder, monotonic_ms, wall_ms
from firmware_adapters.simulated_socket import ControlSocket, send_line

# One day: longer than any scheduled unlock, short enough that a lost release ends.
LONGEST_HOLD_MS = 86_400_000

# Between attempts to put a release on record.
RETRY_S = 1.0

# A finger's press: well over the 50 ms that inputs are debounced.
REX_PULSE_S = 0.2

# Changes that wait for the daemon; the reserve lets a pressed button always be released.
MOST_CHANGES = 256
RESERVED_CHANGES = 16

MAX_COMMAND_BYTES = 64

# What a line on the control socket does; "rex press" falls back by itself after REX_PULSE_S.
COMMANDS: Mapping[str, tuple[InputLine, LineState]] = MappingProxyType(
    {
        "contact open": (InputLine.CONTACT, LineState.ACTIVE),
        "contact closed": (InputLine.CONTACT, LineState.INACTIVE),
        "contact fault": (InputLine.CONTACT, LineState.FAULT),
        "rex press": (InputLine.REX, LineState.ACTIVE),
        "fire on": (InputLine.FIRE, LineState.ACTIVE),
        "fire off": (InputLine.FIRE, LineState.INACTIVE),
        "fire fault": (InputLine.FIRE, LineState.FAULT),
        "bolt home": (InputLine.LOCK_MONITOR, LineState.INACTIVE),
        "bolt withdrawn": (InputLine.LOCK_MONITOR, LineState.ACTIVE),
        "bolt fault": (InputLine.LOCK_MONITOR, LineState.FAULT),
        "other-door closed": (InputLine.INTERLOCK, LineState.INACTIVE),
        "other-door open": (InputLine.INTERLOCK, LineState.ACTIVE),
        "other-door fault": (InputLine.INTERLOCK, LineState.FAULT),
        "case closed": (InputLine.TAMPER, LineState.INACTIVE),
        "case open": (InputLine.TAMPER, LineState.ACTIVE),
        "case fault": (InputLine.TAMPER, LineState.FAULT),
        "mains on": (InputLine.POWER, LineState.INACTIVE),
        "mains off": (InputLine.POWER, LineState.ACTIVE),
        "mains fault": (InputLine.POWER, LineState.FAULT),
    },
)
# How door.json spells the states of each line.
WORDS: Mapping[InputLine, Mapping[LineState, str]] = MappingProxyType(
    {
        InputLine.CONTACT: {LineState.INACTIVE: "closed", LineState.ACTIVE: "open", LineState.FAULT: "fault"},
        InputLine.REX: {LineState.INACTIVE: "released", LineState.ACTIVE: "pressed"},
        InputLine.FIRE: {LineState.INACTIVE: "off", LineState.ACTIVE: "on", LineState.FAULT: "fault"},
        InputLine.LOCK_MONITOR: {
            LineState.INACTIVE: "home",
            LineState.ACTIVE: "withdrawn",
            LineState.FAULT: "fault",
        },
        InputLine.INTERLOCK: {LineState.INACTIVE: "closed", LineState.ACTIVE: "open", LineState.FAULT: "fault"},
        InputLine.TAMPER: {LineState.INACTIVE: "closed", LineState.ACTIVE: "open", LineState.FAULT: "fault"},
        InputLine.POWER: {LineState.INACTIVE: "on", LineState.ACTIVE: "off", LineState.FAULT: "fault"},
    },
)
ALWAYS_CONNECTED = frozenset({InputLine.CONTACT, InputLine.REX, InputLine.FIRE})


class SimulatedLock:
    """A relay that exists as a state and a history in a folder."""

    def __init__(self, path: str) -> None:
        """Hold the folder's relay and drive it to released.

        Raises:
            LockError: the folder is in use or cannot be written.
        """
        self._info = LockInfo(f"simulated:{path}", simulated=True)
        self._folder = StateFolder(Path(path), holder="lock", error=LockError)
        self._deadline: asyncio.TimerHandle | None = None
        self._cause_seq: int | None = None
        self._energised_at_ms: int | None = None
        self._closed = False
        self._drop(by="start")

    @property
    def info(self) -> LockInfo:
        """Tell that this lock is simulated, and where its folder is."""
        return self._info

    async def energise(self, *, hold_ms: int, cause_seq: int) -> None:
        """Unlock for `hold_ms`; see `Lock.energise`. The relay's line is on record when this returns."""
        if self._closed:
            raise LockError(Reason.CLOSED, what=f"{self._info.id} was closed", remedy="open the lock again")
        if not 1 <= hold_ms <= LONGEST_HOLD_MS:
            raise LockError(
                Reason.UNSUPPORTED,
                what=f"{self._info.id} cannot be energised for {hold_ms} ms",
                remedy=f"use 1 to {LONGEST_HOLD_MS} ms",
            )
        self._record("energise", by="command", hold_ms=hold_ms, cause_seq=cause_seq)
        self._cancel_deadline()
        self._deadline = asyncio.get_running_loop().call_later(hold_ms / 1000, self._drop_at_deadline)
        self._cause_seq = cause_seq
        self._energised_at_ms = monotonic_ms()
        self._folder.update(lock="unlocked", lock_until_wall_ms=wall_ms() + hold_ms)

    async def release(self) -> None:
        """Secure the door now; on record only when it was not secure."""
        if self._energised_at_ms is not None:
            self._drop(by="command")

    async def aclose(self) -> None:
        """Leave the relay released and let go of the folder."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._energised_at_ms is not None:
                self._drop(by="close")
        finally:
            self._folder.close()

    def _drop_at_deadline(self) -> None:
        try:
            self._drop(by="deadline")
        except LockError:
            # A full disk: door.json already says until when the relay held; put the release on record later.
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(RETRY_S, self._drop_at_deadline)

    def _drop(self, *, by: str) -> None:
        held_ms = 0 if self._energised_at_ms is None else monotonic_ms() - self._energised_at_ms
        self._folder.update(lock="locked", lock_until_wall_ms=None)
        self._record("release", by=by, hold_ms=held_ms, cause_seq=self._cause_seq)
        self._cancel_deadline()
        self._energised_at_ms = None

    def _record(self, action: str, *, by: str, hold_ms: int, cause_seq: int | None) -> None:
        self._folder.append_relay(
            {
                "t_wall_ms": wall_ms(),
                "t_mono_ms": monotonic_ms(),
                "action": action,
                "by": by,
                "hold_ms": hold_ms,
                "cause_seq": cause_seq,
            },
        )

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class SimulatedInputs:
    """The wires of a door, driven through a Unix socket."""

    def __init__(self, path: str) -> None:
        """Hold the folder's inputs; all but the button keep the state they had, as a real door's do.

        Raises:
            InputsError: the folder is in use or cannot be written.
        """
        self._folder = StateFolder(Path(path), holder="inputs", error=InputsError)
        self._states = _states_in(self._folder.state())
        self._changes: asyncio.Queue[InputChange | None] = asyncio.Queue(MOST_CHANGES)
        self._control = ControlSocket(
            self._folder.path, SOCKET_FILE, self._obey, max_line_bytes=MAX_COMMAND_BYTES, error=InputsError
        )
        self._rex_release: asyncio.TimerHandle | None = None
        self._iterating = False
        self._closed = False
        self._folder.update(**{line.value: WORDS[line][state] for line, state in self._states.items()})

    async def changes(self) -> AsyncIterator[InputChange]:
        """Yield each line's state, then its changes; see `Inputs.changes`. The socket is there meanwhile."""
        if self._iterating or self._closed:
            raise InputsError(
                Reason.CLOSED if self._closed else Reason.BUSY,
                what=f"the inputs of {self._folder.path} are {'closed' if self._closed else 'watched already'}",
                remedy="watch them once, and open them again after closing",
            )
        self._iterating = True
        self._changes = asyncio.Queue(MOST_CHANGES)
        try:
            self._control.listen()
            for line, state in tuple(self._states.items()):
                yield InputChange(line, state, monotonic_ms())
            while (change := await self._changes.get()) is not None:
                yield change
        finally:
            await self._control.stop()
            self._iterating = False

    async def aclose(self) -> None:
        """Let go of the folder and end the iteration."""
        if self._closed:
            return
        self._closed = True
        if self._rex_release is not None:
            self._rex_release.cancel()
        self._folder.close()
        if not self._changes.full():
            self._changes.put_nowait(None)

    def _obey(self, line: bytes) -> str:
        command = " ".join(line.decode("ascii", "replace").split())
        if command not in COMMANDS:
            return f"error: unknown command; use one of: {', '.join(COMMANDS)}"
        if self._changes.qsize() >= MOST_CHANGES - RESERVED_CHANGES:
            return "error: the daemon does not take the changes; wait and try again"
        input_line, state = COMMANDS[command]
        if input_line is InputLine.REX:
            self._release_rex_later()
        try:
            self._set(input_line, state)
        except InputsError as error:
            return f"error: {error}"
        return "ok"

    def _release_rex_later(self) -> None:
        if self._rex_release is not None:
            self._rex_release.cancel()
        loop = asyncio.get_running_loop()
        self._rex_release = loop.call_later(REX_PULSE_S, self._set, InputLine.REX, LineState.INACTIVE)

    def _set(self, line: InputLine, state: LineState) -> None:
        if self._states.get(line) is state:
            return
        self._states[line] = state
        # The daemon first: a request to exit never waits for storage.
        self._changes.put_nowait(InputChange(line, state, monotonic_ms()))
        self._folder.update(**{line.value: WORDS[line][state]})


def _states_in(door: Mapping[str, object]) -> dict[InputLine, LineState]:
    """Read the connected lines' states from door.json; a button is never held over a restart."""
    states = {line: LineState.INACTIVE for line in WORDS if line in ALWAYS_CONNECTED}
    for line, words in WORDS.items():
        for state, word in words.items():
            if door.get(line.value) == word and line is not InputLine.REX:
                states[line] = state
    return states


async def send_control(folder: Path, command: str) -> None:
    """Drive the inputs of the simulated door in `folder` as `COMMANDS` says, from any process.

    Raises:
        InputsError: no daemon watches the inputs, or it refuses the command.
    """
    await send_line(folder, SOCKET_FILE, command.encode(), error=InputsError)
