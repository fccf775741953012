"""Explanations as lines for people: the sentence, then one line a check."""

from typing import Final

from doorward.diag import Answer
from doorward.output import Output, Style

_STYLES: Final = {"passed": Style.GOOD, "failed": Style.BAD, "waits": Style.CAUTION}


def explanation_lines(out: Output, answer: Answer) -> list[str]:
    """Lay an explanation out; checks that were not reached are dim by having no mark."""
    lines = [answer["sentence"]]
    for check in answer["checks"]:
        outcome = check["outcome"]
        style = _STYLES.get(outcome)
        mark = f"{outcome:<11}" if style is None else out.paint(f"{outcome:<11}", style)
        fact = f": {check['fact']}" if check["fact"] else ""
        lines.append(f"  {check['step']:>2} {mark} {check['check']}{fact}")
    return lines
