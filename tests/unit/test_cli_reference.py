"""The written reference is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from doorward.errors import MEANINGS, ExitCode
from doorward.main import TREE
from doorward.reference import Page, manual, markdown, pages
from tests.support.commands import run_here

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def test_docs_cli_is_current():
    written = DOCS.read_text(encoding="utf-8")
    assert written == markdown(TREE), "write it anew: .venv/bin/doorward reference --markdown docs/cli.md"


def test_every_exit_code_has_a_meaning():
    assert list(MEANINGS) == list(ExitCode)


def test_hidden_commands_are_left_out():
    names = [page.name for page in pages(TREE)]
    assert "doorward pass verify" in names
    assert "doorward reference" not in names


def test_a_manual_page_escapes_what_troff_would_read():
    page = Page(
        name="doorward try it",
        usage="doorward try it [OPTIONS]",
        summary="Try it.",
        paragraphs=(".dots and back\\slashes",),
        entries=(("--fast", "'quoted' first"),),
        examples="Examples:\n  doorward try it \\\n      --fast",
    )
    text = manual(page, "1.0")
    assert text.startswith('.TH "DOORWARD-TRY-IT" 1 "" "Doorward 1.0" "Doorward"\n')
    assert "\n\\&.dots and back\\eslashes\n" in text
    assert "\n.B \\-\\-fast\n\\&'quoted' first\n" in text
    assert "\n  doorward try it \\e\n      \\-\\-fast\n" in text
    assert not [line for line in text.splitlines() if line.startswith("'")]


def test_it_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "reference", "--markdown", tmp_path / "cli.md", "--man", tmp_path / "man", "--json")
    assert ran.code == ExitCode.OK
    assert len(ran.out.splitlines()) == 1 + len(list(pages(TREE)))
    assert (tmp_path / "man" / "doorward-pass-verify.1").read_text(encoding="utf-8").startswith(".TH")


@pytest.mark.parametrize("arguments", [(), ("--man", "/dev/null/man"), ("--markdown", "/nonexistent/cli.md")])
def test_what_cannot_be_written_is_refused(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert run_here(capsys, "reference", *arguments).code == ExitCode.UNUSABLE
