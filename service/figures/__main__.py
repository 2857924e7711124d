"""`python -m service.figures`: a FigureRequest on standard input → a PNG on standard output."""

import os
import sys
from io import BytesIO

from service.errors import Problem
from service.figures.draw import draw
from service.figures.request import FigureRequest

NICENESS = 10  # predictions come first


def main() -> None:
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    file = BytesIO()
    try:
        figure = draw(FigureRequest.model_validate_json(sys.stdin.buffer.read()))
    except Problem as problem:
        sys.exit(problem.detail)
    figure.savefig(file, format="png")
    sys.stdout.buffer.write(file.getvalue())


if __name__ == "__main__":
    main()
