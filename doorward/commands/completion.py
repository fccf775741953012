"""`doorward completion`."""

from enum import Enum
from typing import Annotated, Final

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # imported there, not re-exported

from doorward.output import Output

EXAMPLES: Final = """
Examples:
  doorward completion bash > ~/.local/share/bash-completion/completions/doorward
  doorward completion zsh > ~/.zfunc/_doorward
  doorward completion fish > ~/.config/fish/completions/doorward.fish
"""


class Shell(Enum):
    """The shells whose completion is known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def run(shell: Annotated[Shell, typer.Argument(help="The shell that shall complete.")]) -> None:
    """Print the completion script of a shell."""
    script = get_completion_script(prog_name="doorward", complete_var="_DOORWARD_COMPLETE", shell=shell.value)
    Output(json_lines=False).say(script)
