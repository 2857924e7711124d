"""Types for argparse that know what is possible, so that nothing impossible is begun."""

import argparse
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Of a script whose docstring, with its command line in a paragraph of its own, is what --help says of it."""
    return argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Whole numbers within these bounds."""
    expected = f"a whole number from {least} on" if most is None else f"a whole number from {least} to {most}"

    def number(text: str) -> int:
        if not (text.isdecimal() and int(text) >= least and (most is None or int(text) <= most)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return int(text)

    return number


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """What argparse's choices are, which an option that may be left out cannot have."""

    def name(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
        return text

    return name


def seconds(text: str) -> float:
    """None or more of them."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def new_file(text: str) -> Path:
    """Where a file can be written, in a folder that is made if it is missing."""
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"no file can be written there: {error}") from error
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"no file can be written as {text}")
    return path
