"""Run a plan step by step, telling the progress; or tell it only.

Invariant: a step begins only when all before it have succeeded.
Must not: know what a step does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Generic, TypeVar

from provisioning.errors import ProvisioningError
from provisioning.plan import Step, StepId

T = TypeVar("T")


class Once(Generic[T]):
    """What one step leaves for later ones.

    Args:
        name: for the error of a step that came too early.
    """

    __slots__ = ("_name", "_values")

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: list[T] = []

    def put(self, value: T) -> T:
        """Leave the value; a later one replaces it."""
        self._values[:] = [value]
        return value

    def get(self) -> T:
        """Take the value.

        Raises:
            LookupError: its step has not run (a defect of the plan).
        """
        if not self._values:
            raise LookupError(self._name)
        return self._values[0]


@unique
class Stage(Enum):
    """How far a step is."""

    PLANNED = "planned"  # a dry run ends here
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is told about a step.

    Attributes:
        step: with its number and sentence.
        total: number of steps.
        stage: how far it is.
        outcome: what was done or what went wrong, empty before.
    """

    step: Step
    total: int
    stage: Stage
    outcome: str = ""


def apply(
    steps: Sequence[Step],
    actions: Mapping[StepId, Callable[[], str]],
    *,
    dry_run: bool,
    progress: Callable[[Progress], None],
) -> None:
    """Run each step's action; an action does the step and says in a few words what it did.

    Args:
        steps: in order.
        actions: one for each step.
        dry_run: only tell what would be done.
        progress: is told about each change, at once.

    Raises:
        ProvisioningError: a step failed; those after it were not begun.
    """
    total = len(steps)
    for step in steps:
        if dry_run:
            progress(Progress(step, total, Stage.PLANNED))
            continue
        progress(Progress(step, total, Stage.STARTED))
        try:
            outcome = actions[step.id]()
        except ProvisioningError as error:
            progress(Progress(step, total, Stage.FAILED, str(error)))
            raise
        progress(Progress(step, total, Stage.DONE, outcome))
