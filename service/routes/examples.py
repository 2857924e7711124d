"""Real answers, shown in the documentation of the API."""

from typing import Any

PREDICTION: dict[str, Any] = {}
TOP_K: dict[str, Any] = {}
BATCH: dict[str, Any] = {}
MODELS: dict[str, Any] = {}
MODEL: dict[str, Any] = {}
LAYERS: dict[str, Any] = {}
SAMPLE: dict[str, Any] = {}
