"""The parts of provisioning that need no cloud: plan, apply, folder, claim."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioning import folder as door_folder
from provisioning.apply import Once, Progress, Stage, apply
from provisioning.errors import ProvisioningError, Reason
from provisioning.est import read_claim
from provisioning.folder import names_in, prepare_folder, put_aside, read_secret, write_file
from provisioning.plan import DesiredDoor, Step, StepId, plan_door
from wire.messages import encode_claim_code

SECRET = b"0123456789"
CODE = encode_claim_code(secret=SECRET, ca_fingerprint=b"abcdefghij")
DESIRED = DesiredDoor(
    cloud_url="https://cloud.example:8443",
    claim_code=CODE,
    folder=Path("/var/lib/doorward"),
    readers={"outside": "serial:///dev/ttyDW0"},
    lock="simulated:///var/lib/doorward/twin",
)


# --- plan --------------------------------------------------------------------------------------------------


def test_a_plan_names_every_step_once_and_counts_from_one():
    steps = plan_door(DESIRED, ())
    assert [step.id for step in steps] == list(StepId)
    assert [step.number for step in steps] == list(range(1, len(StepId) + 1))


def test_the_configuration_comes_last():
    assert plan_door(DESIRED, ())[-1].id is StepId.CONFIG


def test_a_plan_says_what_is_kept_and_what_is_replaced():
    fresh = " ".join(step.sentence for step in plan_door(DESIRED, ()))
    again = " ".join(step.sentence for step in plan_door(DESIRED, ("device.key", "edge.toml")))
    assert "Make a device key" in fresh
    assert "Keep the device key" in again
    assert "Write /var/lib/doorward/edge.toml" in fresh
    assert "Replace /var/lib/doorward/edge.toml" in again


def test_neither_plan_nor_door_nor_claim_shows_the_code():
    shown = f"{plan_door(DESIRED, ())} {DESIRED} {read_claim(CODE)}"
    assert CODE not in shown
    assert repr(SECRET) not in shown
    assert SECRET.hex() not in shown


# --- apply -------------------------------------------------------------------------------------------------

STEPS = (Step(1, StepId.FOLDER, "first"), Step(2, StepId.KEY, "second"), Step(3, StepId.TRUST, "third"))


def test_steps_run_in_order_and_tell_what_they_did():
    told: list[Progress] = []
    apply(
        STEPS,
        {StepId.FOLDER: lambda: "a", StepId.KEY: lambda: "b", StepId.TRUST: lambda: "c"},
        dry_run=False,
        progress=told.append,
    )
    assert [(each.step.number, each.total, each.stage, each.outcome) for each in told] == [
        (1, 3, Stage.STARTED, ""),
        (1, 3, Stage.DONE, "a"),
        (2, 3, Stage.STARTED, ""),
        (2, 3, Stage.DONE, "b"),
        (3, 3, Stage.STARTED, ""),
        (3, 3, Stage.DONE, "c"),
    ]


def test_after_a_failure_nothing_more_is_begun():
    told: list[Progress] = []

    def fail() -> str:
        raise ProvisioningError(Reason.BUSY, what="busy", remedy="wait")

    with pytest.raises(ProvisioningError):
        apply(STEPS, {StepId.FOLDER: lambda: "a", StepId.KEY: fail}, dry_run=False, progress=told.append)
    assert (told[-1].step.number, told[-1].stage, told[-1].outcome) == (2, Stage.FAILED, "busy; wait")


def test_a_dry_run_does_nothing():
    told: list[Progress] = []
    apply(STEPS, {}, dry_run=True, progress=told.append)
    assert [each.stage for each in told] == [Stage.PLANNED] * 3


def test_what_a_step_leaves_is_there_for_later_ones():
    cell: Once[int] = Once("a number")
    with pytest.raises(LookupError):
        cell.get()
    assert (cell.put(1), cell.put(2), cell.get()) == (1, 2, 2)


# --- claim -------------------------------------------------------------------------------------------------


def test_a_code_may_be_typed_carelessly():
    assert read_claim(CODE.lower().replace("-", " ")) == read_claim(CODE)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (CODE[:-1], "32 letters and digits"),
        (CODE[:-1] + "U", "claim codes do not use"),
        (CODE * 10, "far too long"),
    ],
)
def test_a_code_that_is_none_is_told_why(code: str, fault: str):
    with pytest.raises(ProvisioningError) as caught:
        read_claim(code)
    assert caught.value.reason is Reason.CLAIM_MALFORMED
    assert fault in str(caught.value)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_exit_code_that_the_command_line_documents(reason: Reason):
    assert reason.exit_code in {1, 2, 3, 4}


# --- folder ------------------------------------------------------------------------------------------------


def test_a_file_has_its_mode_before_it_has_content(tmp_path: Path):
    old = os.umask(0)
    try:
        write_file(tmp_path / "secret", b"key", mode=0o600)
        write_file(tmp_path / "public", b"certificate")
    finally:
        os.umask(old)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("secret", "public")] == [0o600, 0o644]


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path):
    write_file(tmp_path / "file", b"old content")
    write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == {"file"}


def test_what_an_interrupted_write_left_does_not_stop_the_next(tmp_path: Path):
    (tmp_path / ".file.new").write_bytes(b"half")
    write_file(tmp_path / "file", b"whole")
    assert names_in(tmp_path) == {"file"}


def test_a_link_that_somebody_laid_is_not_followed(tmp_path: Path):
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / ".file.new").symlink_to(tmp_path / "target")
    write_file(tmp_path / "file", b"content")
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path / "file", b"content")
    assert names_in(tmp_path) == {"file"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_under_sudo_a_file_belongs_to_the_folders_owner(tmp_path: Path):
    os.chown(tmp_path, 12_345, 54_321)
    write_file(tmp_path / "file", b"content")
    found = (tmp_path / "file").stat()
    assert (found.st_uid, found.st_gid) == (12_345, 54_321)


def test_a_missing_secret_is_none(tmp_path: Path):
    assert read_secret(tmp_path / "device.key") is None


@pytest.mark.parametrize(("mode", "usable"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
def test_a_secret_is_read_only_when_it_is_one(tmp_path: Path, mode: int, *, usable: bool):
    path = tmp_path / "device.key"
    path.write_bytes(b"key")
    path.chmod(mode)
    if usable:
        assert read_secret(path) == b"key"
    else:
        with pytest.raises(ProvisioningError) as caught:
            read_secret(path)
        assert caught.value.reason is Reason.KEY_UNUSABLE


def test_a_secret_that_is_a_folder_cannot_be_read(tmp_path: Path):
    with pytest.raises(ProvisioningError) as caught:
        read_secret(tmp_path)
    assert caught.value.reason is Reason.FOLDER_UNUSABLE


def test_a_new_folder_is_for_its_owner_only(tmp_path: Path):
    prepare_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert names_in(tmp_path / "a" / "b") == frozenset()


@pytest.mark.parametrize(
    ("number", "advice"), [(28, "free some space"), (13, "sudo"), (30, "sudo"), (5, "repair this one")]
)
def test_a_folder_that_cannot_be_used_says_what_to_do(number: int, advice: str):
    error = door_folder.unusable(Path("/door"), OSError(number, "reason"))
    assert advice in str(error)


def test_journals_are_put_aside_side_by_side(tmp_path: Path):
    for content in (b"one", b"two"):
        (tmp_path / "journal.db").write_bytes(content)
        put_aside(tmp_path / "journal.db")
    assert (tmp_path / "journal.db.before-1").read_bytes() == b"one"
    assert (tmp_path / "journal.db.before-2").read_bytes() == b"two"
    assert put_aside(tmp_path / "journal.db") is None


def test_a_folder_that_does_not_exist_has_no_files(tmp_path: Path):
    assert names_in(tmp_path / "nothing") == frozenset()
