"""`doorward version`."""

import platform
from importlib.metadata import version
from typing import Final

from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward version
  doorward version --json
"""


def run(*, json_lines: JsonOption = False) -> None:
    """Print the version."""
    record = {"name": "doorward", "version": version("doorward"), "python": platform.python_version()}
    Output(json_lines=json_lines).result(record, f"doorward {record['version']} (Python {record['python']})")
