"""Mutation testing in minutes: mutmut's mutants, each in a process forked from one that has collected the tests.

`script/mutate edge.core.companions` puts every mutant of that module to the tests of `tests/core`, the quickest first.
mutmut itself collects the tests again for each mutant, which takes longer than most of them live.

Invariant: a mutant is killed by a test that fails, or by using ten times the processor time that all its tests take.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, process_time
from typing import NoReturn

import pytest
from _pytest.runner import runtestprotocol
from mutmut.__main__ import create_mutants
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths
from mutmut.utils.format_utils import mangled_name_from_mutant_name

FACTOR = 10
GRACE_S = 5
"""Processor time that a mutant gets in any case: what it breaks may cost the test that notices."""


@dataclass
class Forked:
    """A pytest plugin that runs the collected tests once, then the ones that reach it for each mutant."""

    modules: list[str]
    children: int
    seconds: dict[pytest.Item, float] = field(default_factory=dict)
    reached_by: dict[str, set[pytest.Item]] = field(default_factory=lambda: defaultdict(set))
    killers: dict[str, list[pytest.Item]] = field(default_factory=lambda: defaultdict(list))
    survived: dict[str, bool] = field(default_factory=dict)
    running: dict[int, tuple[str, int]] = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        self._run_unmutated(session.items)
        mutants = self._mutants()
        for number, mutant in enumerate(mutants):
            while len(self.running) >= self.children:
                self._reap()
            self._fork(mutant)
            if number % 100 == 0:
                _tell(f"mutate: {number} of {len(mutants)}")
        while self.running:
            self._reap()
        return True

    def _run_unmutated(self, items: list[pytest.Item]) -> None:
        set_mutant_under_test("stats")
        for item in items:
            before = process_time()
            if not _passes(item):
                pytest.exit(f"mutate: {item.nodeid} fails without any mutant", returncode=3)
            self.seconds[item] = process_time() - before
            for name in state()._stats:
                self.reached_by[name].add(item)
            state()._stats.clear()

    def _mutants(self) -> list[str]:
        names: list[str] = []
        for module in self.modules:
            meta = json.loads(Path(*module.split(".")).with_suffix(".py.meta").read_text())
            names += meta["exit_code_by_key"]
        return names

    def _fork(self, mutant: str) -> None:
        items = self._in_order(mangled_name_from_mutant_name(mutant))
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            _run_mutated(mutant, items, FACTOR * sum(self.seconds[item] for item in items), write)
        os.close(write)
        self.running[child] = mutant, read

    def _in_order(self, function: str) -> list[pytest.Item]:
        """The tests that reach a function: first those that killed a mutant of it, then the quickest."""
        killers = self.killers[function]
        quickest = sorted(self.reached_by[function].difference(killers), key=self.seconds.__getitem__)
        return [*killers, *quickest]

    def _reap(self) -> None:
        child, status = os.wait()
        mutant, read = self.running.pop(child)
        with os.fdopen(read) as pipe:
            killer = pipe.read()
        self.survived[mutant] = status == 0
        if status == 0:
            _tell(f"survived: {mutant}")
        function = mangled_name_from_mutant_name(mutant)
        found = [item for item in self.reached_by[function] if item.nodeid == killer]
        self.killers[function] = found + [item for item in self.killers[function] if item.nodeid != killer]


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _run_mutated(mutant: str, items: list[pytest.Item], limit_s: float, write: int) -> NoReturn:
    """In a process of its own: run tests until one fails, and write which."""
    most_s = round(limit_s) + GRACE_S
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    set_mutant_under_test(mutant)
    for item in items:
        if not _passes(item):
            os.write(write, item.nodeid.encode())
            os._exit(1)
    os._exit(0)


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def _generate() -> None:
    """Write the mutants below `mutants`, with what the tests need beside them."""
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(2)


def main() -> int:
    """Run; 0 when no mutant survived."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="edge.core.policy, wire.codec …")
    parser.add_argument("--tests", nargs="+", default=["tests/core"], metavar="PATH", help="default: tests/core")
    parser.add_argument("--children", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    began = monotonic()
    _generate()
    os.chdir("mutants")
    forked = Forked(asked.modules, asked.children)
    args = ["-q", "-m", "not slow and not fuzz and not project", "-p", "no:cacheprovider", *asked.tests]
    code = pytest.main(["--rootdir=.", *args], plugins=[forked])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return int(code)
    for module in asked.modules:
        told = [survived for mutant, survived in forked.survived.items() if mutant.startswith(f"{module}.")]
        sys.stdout.write(f"{module}: {told.count(False)} killed, {told.count(True)} survived\n")
    sys.stdout.write(f"mutate: {monotonic() - began:.0f} s\n")
    return int(any(forked.survived.values()))


if __name__ == "__main__":
    sys.exit(main())
