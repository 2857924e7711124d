"""The event loop of what is measured, and of what loads it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """On the loop that the service would have."""
    try:
        import uvloop  # noqa: PLC0415 — what the service runs on where it is installed
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
