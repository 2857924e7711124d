from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from training.lines import done, refuse, say

PATH = "../u/[bold]x[/y]/:warning:/" + "long" * 10


@pytest.mark.parametrize(("write", "mark"), [(say, ""), (done, "✓ "), (refuse, "✗ ")])
def test_a_path_is_printed_as_it_is_on_one_line(write: Callable[[Console, str], object], mark: str) -> None:
    console = Console(file=StringIO(), width=20)
    write(console, PATH)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == f"{mark}{PATH}\n"
