"""What TensorFlow says of itself while it is imported, and nobody asked for."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# That oneDNN is used, which is the default, and a line before it. Two of TensorFlow 2.21's libraries have the lines
# (its framework, its profiler), and print them while they are opened: TF_CPP_MIN_LOG_LEVEL is read only after that.
_WITHHELD = (b"oneDNN custom operations are on", b"WARNING: All log messages before absl::InitializeLog()")
_STANDARD_ERROR = 2


@contextmanager
def quiet() -> Iterator[None]:
    """Whatever else is said within comes out at the end of it, whether it fails or not."""
    if sys.stderr is None:  # it was closed, and its number may be another file's
        yield
        return
    with tempfile.TemporaryFile() as said:
        usual = os.dup(_STANDARD_ERROR)
        try:
            os.dup2(said.fileno(), _STANDARD_ERROR)
            yield
        finally:
            os.dup2(usual, _STANDARD_ERROR)
            os.close(usual)
            said.seek(0)
            for line in said:
                if not any(text in line for text in _WITHHELD):
                    sys.stderr.write(line.decode(errors="replace"))
