"""`python -m service.figures`: a FigureRequest on standard input → a PNG on standard output.

Or, last on standard error, why there is none; where it may be drawn another time the process ends with NOT_READY.
"""

import os
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from service.errors import NotReady, Problem
from service.figures.request import NOT_READY, FigureRequest

NICENESS = 10  # predictions come first


def main() -> None:
    _step_back()
    try:
        sys.stdout.buffer.write(_picture(FigureRequest.model_validate_json(sys.stdin.buffer.read())))
    except NotReady as problem:
        sys.stderr.write(problem.detail)
        sys.exit(NOT_READY)
    except Problem as problem:
        sys.exit(problem.detail)


def _step_back() -> None:
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with suppress(OSError):  # Linux may share its time among sessions, and this process has one of its own
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def _picture(request: FigureRequest) -> bytes:
    """The PNG. Raises Problem."""
    try:
        from service.figures.draw import draw  # noqa: PLC0415 — Matplotlib's import is what may fail
    except OSError as error:
        raise NotReady("no figure can be drawn: there is no folder that Matplotlib may write to") from error
    file = BytesIO()
    draw(request).savefig(file, format="png")
    return file.getvalue()


if __name__ == "__main__":
    main()
