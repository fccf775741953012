"""Whatever the line and the cloud do, nothing is deleted that the cloud's backup lacks, and everything arrives once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.memory_uplink import Fault
from tests.support.sync_bench import Bench

if TYPE_CHECKING:
    from sync.push import Pause

_FAULTS = st.sampled_from([fault for fault in Fault if fault is not Fault.NONE])


class LossyLine(RuleBasedStateMachine):
    """A door writes, over a line that loses, doubles, delays and lies, to a cloud that may lose its disk."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.bench = Bench()
        self.backed_up: list[bytes] = []
        self.runner.run(self.bench.trusting())

    def teardown(self) -> None:
        try:
            self._heal()
        finally:
            self.runner.close()

    def _step(self) -> Pause:
        return self.runner.run(self.bench.engine.push.step())

    # --- what happens --------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 300))
    def door_writes(self, count: int) -> None:
        self.bench.journal.write(count)

    @rule()
    def line_works(self) -> None:
        self._step()

    @rule(fault=_FAULTS, claimed=st.integers(0, 400))
    def line_fails(self, fault: Fault, claimed: int) -> None:
        self.bench.uplink.faults = [fault]
        self.bench.uplink.claimed = claimed
        self._step()
        self.bench.uplink.faults = []

    @rule(fault=_FAULTS, claimed=st.integers(0, 400))
    def quiet_door_asks(self, fault: Fault, claimed: int) -> None:
        self.bench.engine.push.probe()
        self.line_fails(fault, claimed)

    @rule(place=st.integers(0, 10))
    def held_batch_arrives(self, place: int) -> None:
        self.bench.uplink.release(place)

    @rule()
    def cloud_backs_up(self) -> None:
        self.bench.cloud.back_up()
        self.backed_up = list(self.bench.stored)

    @rule()
    def cloud_is_restored(self) -> None:
        self.bench.cloud.restore()

    @rule()
    def daemon_restarts(self) -> None:
        self.bench.restarted()

    @precondition(lambda self: not self.bench.journal.out_of_order)
    @rule()
    def disk_hangs_once(self) -> None:
        self.bench.journal.out_of_order = True
        self._step()
        self.bench.journal.out_of_order = False

    # --- what holds always ---------------------------------------------------------------------------------

    @invariant()
    def only_what_is_backed_up_is_deleted(self) -> None:
        journal = self.bench.journal
        assert journal.history[: journal.deleted] == self.backed_up[: journal.deleted]

    @invariant()
    def cloud_has_every_event_at_most_once_and_in_order(self) -> None:
        assert self.bench.stored == self.bench.journal.history[: len(self.bench.stored)]

    def _heal(self) -> None:
        """Once the line works, everything arrives: also what a restored cloud lost, since a quiet door asks."""
        journal = self.bench.journal
        for _ in range(2):
            self.bench.engine.push.probe()
            # Twice the runs of the smallest size, a refused one before each rewind, and a margin.
            self.runner.run(self.bench.push_until_quiet(steps=len(journal.history) // 50 + 12))
        assert self.bench.stored == journal.history


TestLossyLine = LossyLine.TestCase
TestLossyLine.settings = settings(stateful_step_count=30)
