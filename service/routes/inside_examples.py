"""Real answers about what is inside a model and where it fails, shown in the documentation of the API."""

from typing import Any

FEATURE_MAPS: dict[str, Any] = {}
HARD_EXAMPLES: dict[str, Any] = {}
HARD_EXAMPLE: dict[str, Any] = {}
TRAINING: dict[str, Any] = {}
CONFUSION_MATRIX: dict[str, Any] = {}
CALIBRATION: dict[str, Any] = {}
WEIGHTS: dict[str, Any] = {}
