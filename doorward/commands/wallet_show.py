"""`doorward wallet show`."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.files import write_whole
from doorward.options import AtInstant, WalletFolder, WalletName, wallet_folder
from doorward.output import Json, JsonOption, Output, Style, rfc3339
from doorward.qr import code_png, frame_png, make_matrix, terminal_lines
from doorward.wallet import HeldPass, Wallet, open_wallet
from wire.presentation import ROTATION_S

EXAMPLES: Final = """
Examples:
  doorward wallet show --audience main-campus
  doorward wallet show anna --audience main-campus --png code.png --once
  doorward wallet show --audience main-campus --once | doorward pass show
"""

_ENTER_SCREEN: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""Alternate screen, cursor hidden, cleared (xterm control sequences)."""
_LEAVE_SCREEN: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_END_LINE: Final = "\x1b[K\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """One pass that is shown at one site, and where."""

    wallet: Wallet
    held: HeldPass
    audience: str
    png: Path | None
    frame: Path | None

    def sign(self, now_s: int) -> bytes:
        """Sign for this moment, draw the files that were asked for, and give the text form."""
        text = self.wallet.present(self.held, issued_at_s=now_s, audience=self.audience)
        if self.png is not None:
            write_whole(self.png, code_png(make_matrix(text)))
        if self.frame is not None:
            write_whole(self.frame, frame_png(make_matrix(text)))
        return text

    @property
    def files(self) -> list[str]:
        """The files that are drawn."""
        return [str(path) for path in (self.png, self.frame) if path is not None]

    def record(self, text: bytes, now_s: int) -> dict[str, Json]:
        """Describe one code for programs."""
        return {
            "text": text.decode("ascii"),
            "wallet": self.wallet.folder.name,
            "pass_id": self.held.pass_id,
            "audience": self.audience,
            "presented_at": rfc3339(now_s * 1000),
            "rotates_at": rfc3339((now_s + ROTATION_S) * 1000),
            "files": self.files,
        }


def run(
    name: WalletName = "default",
    *,
    audience: Annotated[
        str, typer.Option("--audience", metavar="SITE", envvar="DOORWARD_SITE", help="The site where it is shown.")
    ],
    pass_id: Annotated[
        str | None, typer.Option("--pass", metavar="ID", help="The pass to show; else the one that lasts longest.")
    ] = None,
    folder: WalletFolder = None,
    once: Annotated[bool, typer.Option("--once", help="Show one code and end.")] = False,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the code into a PNG file.")] = None,
    frame: Annotated[
        Path | None, typer.Option("--frame", metavar="FILE", help="Draw what a 1280x720 door camera sees (PNG).")
    ] = None,
    at: AtInstant = None,
    json_lines: JsonOption = False,
) -> None:
    """Show the rotating QR code of a pass.

    On a terminal the code is redrawn every 15 s, with a countdown, until Ctrl-C. With --png or --frame the file is
    rewritten instead. When standard output is no terminal, one code is written as text (DW1:…). --at implies --once.
    """
    wallet = open_wallet(wallet_folder(name, folder))
    held = _choose(wallet, pass_id)
    showing = Showing(wallet=wallet, held=held, audience=audience, png=png, frame=frame)
    out = Output(json_lines=json_lines)
    if at is not None or once or not (out.is_terminal or showing.files):
        _show_once(showing, out, _now_s() if at is None else at // 1000)
        return
    with contextlib.suppress(KeyboardInterrupt):
        _keep_showing(showing, out)


def _now_s() -> int:
    return time.time_ns() // 1_000_000_000


def _choose(wallet: Wallet, pass_id: str | None) -> HeldPass:
    passes = wallet.passes()
    found = [held for held in passes if pass_id is None or held.pass_id == pass_id.lower()]
    if found:
        return found[0]
    if passes:
        held_ids = ", ".join(held.pass_id for held in passes)
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"the wallet {wallet.folder} holds no pass {pass_id}",
            remedy=f"name one of: {held_ids}",
        )
    raise CliError(
        ExitCode.UNUSABLE,
        what=f"the wallet {wallet.folder} holds no pass",
        remedy="issue one with `doorward pass issue --wallet`, or keep one with `doorward wallet add`",
    )


def _show_once(showing: Showing, out: Output, now_s: int) -> None:
    text = showing.sign(now_s)
    if showing.files:
        lines = [f"Drew {path}." for path in showing.files]
    elif out.is_terminal:
        lines = [*terminal_lines(make_matrix(text)), _caption(showing, out, now_s)]
    else:
        lines = [text.decode("ascii")]
    out.result(showing.record(text, now_s), *lines)


def _keep_showing(showing: Showing, out: Output) -> None:
    """Sign anew every rotation, until Ctrl-C."""
    with _screen(out) if not showing.files else contextlib.nullcontext():
        while True:
            signed_s = _now_s()
            text = showing.sign(signed_s)
            if showing.files:
                out.result(showing.record(text, signed_s), f"Drew {', '.join(showing.files)}; again in {ROTATION_S} s.")
            code = terminal_lines(make_matrix(text))
            while (now_s := _now_s()) < signed_s + ROTATION_S:
                if not showing.files:
                    _redraw(out, [*code, _caption(showing, out, now_s), _countdown(out, signed_s + ROTATION_S - now_s)])
                time.sleep(1 - time.time() % 1)


@contextlib.contextmanager
def _screen(out: Output) -> Iterator[None]:
    """Take the terminal's alternate screen and give it back, also on Ctrl-C."""
    out.raw(_ENTER_SCREEN)
    try:
        yield
    finally:
        out.raw(_LEAVE_SCREEN)


def _redraw(out: Output, lines: list[str]) -> None:
    columns, rows = shutil.get_terminal_size()
    code_lines = len(lines) - 2
    needed_columns, needed_rows = 2 * code_lines - 1, len(lines) + 1
    if columns < needed_columns or rows < needed_rows:
        lines = [
            f"This terminal has {columns} x {rows} characters; the code needs {needed_columns} x {needed_rows}.",
            "Make the window larger or its letters smaller, or draw a file with --png.",
        ]
    out.raw(_HOME + "".join(line + _END_LINE for line in lines) + "\x1b[J")


def _caption(showing: Showing, out: Output, now_s: int) -> str:
    claims = showing.held.parsed.unverified
    told = f"{claims.kind.name.lower()} pass {showing.held.pass_id} of {claims.issuer}, for {showing.audience}"
    if now_s >= claims.expires_at_s:
        return told + out.paint("  This pass is over: doors will refuse it.", Style.CAUTION)
    return told


def _countdown(out: Output, left_s: int) -> str:
    return out.paint(f"New code in {left_s:2} s. End with Ctrl-C.", Style.QUIET)
