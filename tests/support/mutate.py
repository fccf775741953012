"""Mutation testing in minutes: mutmut's mutants, each in a process forked from one that has collected the tests.

`script/mutate edge.core.companions` puts every mutant of that module to the tests of `tests/core`, the quickest first.
mutmut itself collects the tests again for each mutant, which takes longer than most of them live.

Invariants: a mutant is killed by a test that fails, or by using ten times the processor time that all its tests take;
whatever else ends a mutant's process is a fault of this program and ends the run. Each result is on disk as soon as it
is known, in `mutants/results.jsonl`. What lives is accepted only where `accepted_mutants.toml` says why.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import json
import os
import resource
import signal
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from time import monotonic, process_time
from typing import TYPE_CHECKING, NoReturn

import pytest
from _pytest.runner import runtestprotocol
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths
from mutmut.utils.format_utils import mangled_name_from_mutant_name, orig_function_and_class_names_from_key

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTOR = 10
EXAMPLES = 20
OFTEN, QUICK_S = 40, 0.2
"""How many of the tests that killed most come first, if they take no longer."""
GRACE_S = 5
"""Processor time that a mutant gets in any case: what it breaks may cost the test that notices."""
ACCEPTED_FILE = Path(__file__).with_name("accepted_mutants.toml")
RESULTS_FILE = "results.jsonl"

KILLED, SURVIVED, TIMED_OUT, UNREACHED = "killed", "survived", "timed out", "no test reaches it"
_KILLED_CODE = 41
_EXIT_CODES = {0: SURVIVED, _KILLED_CODE: KILLED}


@dataclass(frozen=True)
class Result:
    """What became of a mutant.

    Attributes:
        killer: the id of the test that failed.
        source: which text of the module it was a mutant of.
    """

    mutant: str
    state: str
    killer: str = ""
    source: str = ""


@dataclass
class Forked:
    """A pytest plugin that runs the collected tests once, then the ones that reach it for each mutant."""

    mutants: list[str]
    children: int
    results: Path
    sources: dict[str, str]
    seconds: dict[pytest.Item, float] = field(default_factory=dict)
    reached_by: dict[str, set[pytest.Item]] = field(default_factory=lambda: defaultdict(set))
    killers: dict[str, list[pytest.Item]] = field(default_factory=lambda: defaultdict(list))
    kills: Counter[pytest.Item] = field(default_factory=Counter)
    found: list[Result] = field(default_factory=list)
    running: dict[int, tuple[str, int]] = field(default_factory=dict)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """Have a property tried on few examples: what lives reads hundreds of seconds of them otherwise."""
        from hypothesis import settings  # noqa: PLC0415 - pytest wants to rewrite its assertions first

        profile = settings.get_profile("ci")
        settings.register_profile("mutate", parent=profile, max_examples=EXAMPLES)
        settings.load_profile("mutate")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of pytest's own loop."""
        self._run_unmutated(session.items)
        gc.collect()
        gc.freeze()  # or each process would copy every page as soon as it counts what is no longer used
        for number, mutant in enumerate(self.mutants):
            while len(self.running) >= self.children:
                self._reap()
            if self.reached_by[mangled_name_from_mutant_name(mutant)]:
                self._fork(mutant)
            else:
                self._note(Result(mutant, UNREACHED))
            if number % 100 == 0:
                _tell(f"mutate: {number} of {len(self.mutants)}")
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
        """The tests that reach a function: those that killed a mutant of it, those that killed most, the quickest."""
        killers = self.killers[function]
        others = self.reached_by[function].difference(killers)
        often = sorted((item for item in others if self.kills[item]), key=self.kills.__getitem__, reverse=True)
        best = [item for item in often if self.seconds[item] < QUICK_S][:OFTEN]
        return [*killers, *best, *sorted(others.difference(best), key=self.seconds.__getitem__)]

    def _reap(self) -> None:
        child, status = os.wait()
        mutant, read = self.running.pop(child)
        with os.fdopen(read) as pipe:
            told = pipe.read()
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}:
            ended = TIMED_OUT
        elif os.WIFEXITED(status) and os.WEXITSTATUS(status) in _EXIT_CODES:
            ended = _EXIT_CODES[os.WEXITSTATUS(status)]
        else:
            pytest.exit(f"mutate: the process of {mutant} broke (status {status}): {told}", returncode=3)
        self._note(Result(mutant, ended, told))
        function = mangled_name_from_mutant_name(mutant)
        found = [item for item in self.reached_by[function] if item.nodeid == told]
        self.kills.update(found)
        self.killers[function] = found + [item for item in self.killers[function] if item.nodeid != told]

    def _note(self, result: Result) -> None:
        result = replace(result, source=self.sources[_module_of(result.mutant)])
        self.found.append(result)
        with self.results.open("a") as file:
            file.write(json.dumps(vars(result)) + "\n")
        if result.state in {SURVIVED, UNREACHED}:
            _tell(f"{result.state}: {result.mutant}")


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _run_mutated(mutant: str, items: list[pytest.Item], limit_s: float, write: int) -> NoReturn:
    """In a process of its own: run tests until one fails, and write which."""
    try:
        most_s = round(limit_s) + GRACE_S
        resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s + GRACE_S))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        set_mutant_under_test(mutant)
        for item in items:
            if not _passes(item):
                os.write(write, item.nodeid.encode())
                os._exit(_KILLED_CODE)
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told and is no kill
        os.write(write, repr(error)[:400].encode())
    os._exit(3)


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def _generate(modules: list[str]) -> list[str]:
    """Write the mutants of modules below `mutants`, with what the tests need beside them, and return their names."""
    set_mutant_under_test("mutant_generation")
    files = [Path(*module.split(".")).with_suffix(".py") for module in modules]
    config().only_mutate = [str(file) for file in files]
    for file in files:
        # One that an earlier run only copied would be taken for one that has no mutants.
        if not Path("mutants", f"{file}.meta").exists():
            Path("mutants", file).unlink(missing_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    with contextlib.redirect_stdout(sys.stderr):
        create_mutants(2)
    metas = [json.loads(Path("mutants", f"{file}.meta").read_text()) for file in files]
    return [name for meta in metas for name in meta["exit_code_by_key"]]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Have the folder `mutants` for this run only."""
    Path("mutants").mkdir(exist_ok=True)
    with Path("mutants", ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("mutate: another run has the folder mutants; wait for it, or use another checkout")
        yield


def _module_of(mutant: str) -> str:
    return mutant.rpartition(".")[0]


def source_of(module: str) -> str:
    """Tell which text of a module its mutants were made of."""
    return sha256(Path(*module.split(".")).with_suffix(".py").read_bytes()).hexdigest()[:12]


def _on_record(mutants: list[str]) -> list[Result]:
    """The last results of mutants that were killed here, as far as their module is still the same."""
    last: dict[str, Result] = {}
    record = Path("mutants", RESULTS_FILE)
    for line in record.read_text().splitlines() if record.exists() else ():
        result = Result(**json.loads(line))
        last[result.mutant] = result
    sources = {module: source_of(module) for module in {_module_of(mutant) for mutant in mutants}}
    known = (last[mutant] for mutant in mutants if mutant in last)
    return [
        each for each in known if each.state in {KILLED, TIMED_OUT} and each.source == sources[_module_of(each.mutant)]
    ]


def change_of(mutant: str) -> tuple[str, str]:
    """Return the function that a mutant changes, and its changed lines, `-` the old and `+` the new."""
    function, of_class = orig_function_and_class_names_from_key(mutant)
    module = mutant.rpartition(".")[0]
    lines = get_diff_for_mutant(mutant).splitlines()[2:]
    changed = [line[0] + line[1:].strip() for line in lines if line[:1] in {"-", "+"}]
    return ".".join(filter(None, [module, of_class, function])), "\n".join(changed)


@dataclass(frozen=True)
class Accepted:
    """Which changes may live: some by function and changed lines, some wherever one text takes another's place."""

    changes: frozenset[tuple[str, str]]
    alike: tuple[tuple[str, str], ...]

    def __contains__(self, change: tuple[str, str]) -> bool:
        """Tell whether a change, by function and changed lines, may live."""
        return change in self.changes or self._reads_alike(change[1])

    def _reads_alike(self, changed: str) -> bool:
        lines = changed.splitlines()
        if [line[0] for line in lines] != ["-", "+"]:
            return False
        old, new = lines[0][1:], lines[1][1:]
        return any(
            old[:at] + becomes + old[at + len(text) :] == new
            for text, becomes in self.alike
            for at in range(len(old))
            if old.startswith(text, at)
        )


def read_accepted() -> Accepted:
    """Read `accepted_mutants.toml`."""
    document = tomllib.loads(ACCEPTED_FILE.read_text())
    changes = frozenset((entry["function"], entry["change"].strip()) for entry in document.get("mutant", []))
    return Accepted(changes, tuple((entry["text"], entry["becomes"]) for entry in document.get("alike", [])))


def _report(modules: list[str], found: list[Result]) -> int:
    """Print what became of the mutants; 1 when one lives."""
    accepted = read_accepted()
    left = 0
    for module in modules:
        of_module = [result for result in found if _module_of(result.mutant) == module]
        counts = Counter(result.state for result in of_module)
        lives = [change_of(result.mutant) for result in of_module if result.state in {SURVIVED, UNREACHED}]
        unexplained = [change for change in lives if change not in accepted]
        left += len(unexplained)
        for function, change in unexplained:
            sys.stdout.write(f"\n{function}\n{change}\n")
        sys.stdout.write(
            f"{module}: {len(of_module)} mutants: {counts[KILLED]} killed, {counts[TIMED_OUT]} timed out, "
            f"{len(lives) - len(unexplained)} accepted, {len(unexplained)} live\n"
        )
        sys.stdout.flush()
    return int(left > 0)


def main() -> int:
    """Run; 0 when no mutant lives but those accepted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="edge.core.policy, wire.codec …")
    parser.add_argument("--tests", nargs="+", default=["tests/core"], metavar="PATH", help="default: tests/core")
    parser.add_argument("--slow", action="store_true", help="put them to the slow and fuzz tests too")
    parser.add_argument("--rest", action="store_true", help="only the mutants that no run here has killed yet")
    parser.add_argument("--children", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    began = monotonic()
    with _alone():
        mutants = _generate(asked.modules)
        before = _on_record(mutants) if asked.rest else []
        done = {result.mutant for result in before}
        mutants = [mutant for mutant in mutants if mutant not in done]
        sources = {module: source_of(module) for module in asked.modules}
        home = Path.cwd()
        os.chdir("mutants")
        forked = Forked(mutants, asked.children, Path.cwd() / RESULTS_FILE, sources)
        marks = "not project" if asked.slow else "not slow and not fuzz and not project"
        code = pytest.main(["--rootdir=.", "-q", "-m", marks, "-p", "no:cacheprovider", *asked.tests], plugins=[forked])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return int(code)
        os.chdir(home)
        left = _report(asked.modules, [*before, *forked.found])
    sys.stdout.write(f"mutate: {monotonic() - began:.0f} s\n")
    return left


if __name__ == "__main__":
    sys.exit(main())
