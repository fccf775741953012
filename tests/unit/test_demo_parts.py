"""The demonstration's parts: waiting that never hopes, programs that are always ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from doorward.demo.processes import Program
from doorward.demo.stage import Stage
from doorward.demo.waiting import NotSeenError, must, wait_for


def test_a_wait_ends_with_what_was_seen():
    looks = iter([None, None, "there"])
    assert wait_for("it", lambda: next(looks), deadline_s=10) == "there"


def test_a_wait_in_vain_says_for_what():
    with pytest.raises(NotSeenError, match="in vain for the moon"):
        wait_for("the moon", lambda: None, deadline_s=0)


def test_what_must_be_is_insisted_on(tmp_path: Path):
    must(tmp_path.is_dir(), "there is a folder")
    with pytest.raises(NotSeenError, match="the door is open"):
        must(tmp_path.is_file(), "the door is open")


def test_a_program_that_fails_is_told_with_its_last_lines(tmp_path: Path):
    program = Program("broken", ["nonsense"], tmp_path)
    with pytest.raises(NotSeenError, match="exit code 2"):
        program.wait_line("never", deadline_s=30)
    assert program.has_failed()
    assert not program.has_finished_well()
    assert any("no such command" in line for line in program.last_lines())
    with pytest.raises(NotSeenError, match="exit code 2"):
        program.finish(deadline_s=1)
    program.stop()


def test_a_program_that_does_its_work_finishes_well(tmp_path: Path):
    program = Program("version", ["version"], tmp_path)
    program.finish(deadline_s=30)
    assert program.has_finished_well()
    assert program.last_lines()[0].startswith("doorward ")


def test_a_program_that_hangs_is_not_seen_to_finish_and_is_ended_nevertheless(tmp_path: Path):
    program = Program("hanging", ["version"], tmp_path)
    os.kill(program.pid, signal.SIGSTOP)
    with pytest.raises(NotSeenError, match="did not finish"):
        program.finish(deadline_s=0.1)
    program.check_alive()
    program.stop(patience_s=0.1)
    assert program.has_failed()


def test_a_stage_that_was_never_used_leaves_nothing(tmp_path: Path):
    stage = Stage(tmp_path)
    assert stage.folder.parent == tmp_path
    with pytest.raises(NotSeenError, match="the cloud was not started"):
        _ = stage.api
    with pytest.raises(NotSeenError, match="the cloud was not started"):
        _ = stage.link
    assert stage.door_status() is None
    stage.close()
    assert list(tmp_path.iterdir()) == []
