"""Files that are there as a whole or not at all, and what a damaged one does to NumPy's reader."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAMAGED = (
    KeyError, ValueError, TypeError, EOFError, RuntimeError, SyntaxError, MemoryError, tokenize.TokenError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What `numpy.load` raises for a file with wrong bytes, depending on which: its headers are Python's, in a zip file."""


@contextmanager
def written(path: Path, partial: Path) -> Iterator[Path]:
    """Gives the path to write to, beside the one that it has afterwards. Whatever ends the writing, no part stays.

    Raises OSError with the name of the file: a full disk alone tells nobody which of several folders to look at.
    """
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(partial)) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def reading() -> Iterator[None]:
    """Where a damaged file makes NumPy ask the system for what cannot be, that is a ValueError like the others."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise ValueError(str(error)) from error
