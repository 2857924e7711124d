"""What `python -m service` has uvicorn do."""

import gc
import sys
from typing import Any

import pytest

from service.__main__ import main


def uvicorns_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By the environment as it is, without arguments; nothing is served."""
    options: dict[str, Any] = {}
    monkeypatch.setattr("uvicorn.run", options.update)
    for run in ("run_one", "run_several"):
        monkeypatch.setattr(f"service.workers.{run}", lambda config: options.update(vars(config)))
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(sys, "argv", ["service"])
    main()
    return options
