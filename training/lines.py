"""Lines that commands print. A path stands in them as it is: rich takes brackets for markup and :words: for emoji."""

from rich.console import Console
from rich.text import Text


def say(console: Console, line: str) -> None:
    """A line to know."""
    _print(console, Text(line))


def done(console: Console, line: str) -> None:
    """What was made."""
    _print(console, Text.assemble(("✓", "green"), f" {line}"))


def refuse(console: Console, line: str) -> int:
    """Say why not; the exit status."""
    _print(console, Text.assemble(("✗", "red"), f" {line}"))
    return 1


def _print(console: Console, line: Text) -> None:
    console.print(line, highlight=False, soft_wrap=True)
