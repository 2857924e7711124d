"""What is not installed where only serving is, and what to do about it."""

import sys

# What commands import and serving does without: pyproject.toml's training extra, and the other backend. Of these alone
# is it sure that an installation mends it; another missing module is a fault of ours.
OF_TRAINING = frozenset({"h5py", "jax", "keras", "onnx", "rich", "scipy", "tensorflow", "tf2onnx"})


def advice(module: str) -> str:
    """One line for whoever started a command that needs this module."""
    return (
        f"{sys.executable} has no {module}, which this command needs: `make test` installs it into .venv and "
        "runs the tests; `uv sync --frozen --all-extras` only installs it"
    )
