"""Files that are there as a whole or not at all, and what becomes of reading a damaged one."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OF_WRONG_BYTES = (
    KeyError, ValueError, TypeError, EOFError, RuntimeError, SyntaxError, MemoryError, tokenize.TokenError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What readers raise for them, depending on which are wrong: NumPy's headers are Python's, in a zip file."""


class DamagedError(ValueError):
    """A file is not what was once written."""


@contextmanager
def written(path: Path, partial: Path) -> Iterator[Path]:
    """Gives the path to write to, beside the one that it has afterwards. Whatever ends the writing, no part stays.

    Raises OSError with the name of the file.
    """
    try:
        with naming(partial):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raises OSError with this path where it has none: a full disk alone tells nobody which of several folders to
    look at."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def reading() -> Iterator[None]:
    """Of NumPy's and Keras's files: for nothing else, since any fault within is taken for the file's.

    Raises DamagedError, and OSError where the system has no such file or gives it to nobody.
    """
    try:
        yield
    except _OF_WRONG_BYTES as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise DamagedError(str(error)) from error  # it was asked for what lies beyond the file
