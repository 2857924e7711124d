"""What `python -m service.figures` is asked, as JSON on its standard input."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NOT_READY = 75
"""What it ends with when what it draws from cannot be read now; why is the last line of its standard error then."""

Kind = Literal["training", "weights", "confusion-matrix", "calibration"]


class FigureRequest(BaseModel):
    """One figure of one or several published models."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    artifacts: Path
    models: tuple[tuple[str, str], ...] = Field(min_length=1, description="name and version of each")
    manifests: tuple[str, ...] = Field(
        (), repr=False, description="of each, as JSON; without them, those that stand in the folders now"
    )
    layer: str | None = Field(None, description="of weights: one layer, else all that have any")
    theme: Literal["light", "dark"] = "light"
