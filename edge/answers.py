"""What a technician is told of a running door: how it stands, what it would do, what became of a command.

Invariant: every value is as it is at this moment, or says as of when; of people there are numbers only.
Must not: decide; a command that is delivered here goes to the core as it came.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge.asked import QuestionError, read_asked
from edge.attend import Attended, AttendedInputs
from edge.clock import Clock
from edge.config import DisplayConfig, EdgeConfig, ReaderConfig
from edge.controller import Controller
from edge.core.door_state import InputLine
from edge.explain import why
from edge.materials import Materials
from edge.ports import Display, Reader
from edge.report import Json, plain_command, plain_foreseen, plain_lines, plain_state, rfc3339
from edge.store import Store
from wire.names import ClockState


@dataclass(frozen=True, slots=True)
class Answers:
    """Puts together what `doorward diag` prints."""

    config: EdgeConfig
    clock: Clock
    store: Store
    controller: Controller
    materials: Materials
    readers: Mapping[str, Attended[Reader]]
    inputs: Sequence[AttendedInputs]
    displays: Mapping[str, Attended[Display]]
    sync: Callable[[], Awaitable[dict[str, Json]]] | None

    async def status(self) -> dict[str, Json]:
        """Give the daemon's state, as of now."""
        now = self.clock.now()
        marks = await self.store.marks()
        return {
            "as_of": rfc3339(now.wall_ms),
            "device": self.config.device.id,
            **plain_state(self.controller.state, now.wall_s),
            "refused_at_start": [
                {"document": each.field, "reason": each.reason.value} for each in self.materials.faults
            ],
            "lines": plain_lines(self.controller.lines),
            "clock": {"state": now.clock.name, "uncertainty_ms": now.uncertainty_ms},
            "journal": {
                "epoch": self.store.epoch.hex(),
                "boot": self.store.boot,
                "first": marks.first,
                "last": marks.last,
                "durable": marks.durable,
                "backed_up": marks.backed_up,
                "only_in_cloud": marks.only_in_cloud,
                "alarmed": self.store.alarmed,
                "failed": self.controller.storage_failed,
                "recording": self.controller.recording,
            },
            "sync": None if self.sync is None else await self.sync(),
            "lock": self.config.lock.url,
            "lock_answers": self.controller.state.door.lock_answers,
            "readers": [_plain_reader(each, self.readers[each.id]) for each in self.config.readers],
            "inputs": [_plain_inputs(each) for each in self.inputs],
            "displays": [_plain_display(each, self.displays[each.id]) for each in self.config.displays],
        }

    def why(self, credential: str, at_ms: int | None, reader: str | None) -> dict[str, Json]:
        """Tell what a credential would meet, now or at a Unix millisecond, at a reader or the first one.

        Raises:
            QuestionError: it is no credential, or there is no such reader.
        """
        now = self.clock.now()
        if at_ms is not None:
            now = replace(now, wall_ms=at_ms, clock=ClockState.TRUSTED, uncertainty_ms=0)
        asked = read_asked(credential, self._reader(reader), now.monotonic_ms)
        foreseen = why(self.controller.state, asked, now)
        return {"at": rfc3339(now.wall_ms), "reader": asked.reader, **plain_foreseen(foreseen)}

    def _reader(self, name: str | None) -> str:
        """Choose where: the areas of anti-passback, which a reader leads into, hang on it."""
        if name is None:
            return next(iter(self.readers), "none")
        if name not in self.readers:
            raise QuestionError(f'"reader" is one of this door\'s: {", ".join(self.readers) or "it has none"}')
        return name

    async def deliver(self, command: bytes) -> dict[str, Json]:
        """Deliver a signed command and tell what the journal says of it.

        Raises:
            StoreError: the journal could not be written; the command was not carried out.
        """
        written = await self.controller.deliver(command)
        return plain_command(written, self.controller.state)


def _plain_inputs(each: AttendedInputs) -> dict[str, Json]:
    """Give how the inputs at one address stand, and which wires are taken from there."""
    wires: list[Json] = [line.value for line in InputLine if line in each.lines]
    return {"id": each.id, "url": each.url, "wires": wires, **_plain_attended(each)}


def _plain_reader(each: ReaderConfig, attended: Attended[Reader]) -> dict[str, Json]:
    """Give how a reader stands, and what went wrong with what it read since the start."""
    return {"id": each.id, "url": each.url, **_plain_attended(attended), "troubles": {**attended.troubles()}}


def _plain_display(each: DisplayConfig, attended: Attended[Display]) -> dict[str, Json]:
    """Give how a display stands, and whose feedback it shows; no reader means all of them."""
    readers: list[Json] = [*each.readers]
    return {"id": each.id, "url": each.url, "readers": readers, **_plain_attended(attended)}


def _plain_attended(attended: Attended[Reader] | Attended[Display] | AttendedInputs) -> dict[str, Json]:
    """Give whether a device is there, and why not; the sentence ends with what a person does about it."""
    error = attended.error
    return {
        "state": attended.state.value,
        "reason": None if error is None else error.reason.value,
        "sentence": None if error is None else str(error),
    }
