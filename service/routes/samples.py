"""GET /samples/{data set}/{index}: one test image."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from pydantic_core import to_json

from service.dependencies import SamplesDep, deadline_of, refuse_repeated, service_of
from service.errors import (
    DeadlinePassed,
    InvalidParameter,
    NotAcceptable,
    NotReady,
    UnknownDataset,
    UnknownSample,
)
from service.formats import choose_format
from service.openapi import BINARY, example, problems
from service.pictures.png import png
from service.routes import examples
from service.schemas import KnownQuery, Sample

FORMATS = {"png": "image/png", "json": "application/json"}
CACHE = "public, max-age=86400"  # a test image never changes

router = APIRouter(tags=["samples"], dependencies=[Depends(refuse_repeated)])


class SampleQuery(KnownQuery):
    """In which form."""

    format: str | None = Field(
        None, description="else by Accept, else png", json_schema_extra={"enum": list(FORMATS)}
    )


@router.get(
    "/samples/{dataset}/{index}",
    operation_id="get_sample",
    response_model=Sample,
    responses=example(
        examples.SAMPLE, "the image, or its label and pixels", {"image/png": BINARY}, json_first=False
    )
    | problems(UnknownDataset, UnknownSample, NotAcceptable, InvalidParameter, NotReady, DeadlinePassed),
)
async def get_sample(
    request: Request,
    samples: SamplesDep,
    dataset: Annotated[str, Path(examples=["mnist"])],
    index: Annotated[int, Path(description="in the original order, from 0", examples=[0])],
    _: Annotated[SampleQuery, Query()],
) -> Response:
    """One test image: a PNG, or its label and pixels as JSON."""
    chosen = choose_format(request, FORMATS)
    found = await samples.of(dataset, deadline_of(service_of(request)))
    image, label = found.at(index)
    headers = {"Cache-Control": CACHE, "Vary": "Accept"}
    if chosen == "png":
        return Response(png(Image.fromarray(_flat(image))), headers=headers, media_type=FORMATS[chosen])
    body: Sample = {
        "dataset": dataset,
        "index": index,
        "label": found.classes[label],
        "class_index": label,
        "shape": list(image.shape),
        "pixels": _flat(image).tolist(),
    }
    return Response(to_json(body), headers=headers, media_type=FORMATS[chosen])


def _flat(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H,W,1] → [H,W]; colour stays [H,W,3]."""
    return image[..., 0] if image.shape[-1] == 1 else image
