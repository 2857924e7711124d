"""What `python -m service.figures` is asked, as JSON on its standard input."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.manifest import Manifest
from service.pictures.colours import Theme

NOT_READY = 75
"""What it ends with when what it draws from cannot be read now; why is the last line of its standard error then."""

Kind = Literal["training", "weights", "confusion-matrix", "calibration"]


class FigureRequest(BaseModel):
    """One figure of one or several models, as they were when they were published."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    artifacts: Path
    manifests: tuple[str, ...] = Field(min_length=1, repr=False, description="of each model, as JSON")
    layer: str | None = Field(None, description="of weights: one layer, else all that have any")
    theme: Theme = "light"

    def published(self) -> list[Manifest]:
        """The manifests, read."""
        return [Manifest.model_validate_json(one) for one in self.manifests]

    def __str__(self) -> str:
        """As the log has it."""
        models = ", ".join(f"{one.name} {one.version}" for one in self.published())
        return f"{self.kind} of {models}" + ("" if self.layer is None else f", layer {self.layer}")
