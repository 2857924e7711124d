"""GET /models/{model}/hard-examples…: the test images a model gets wrong, or hardly right."""

import csv
from functools import partial
from io import StringIO
from typing import Annotated, NamedTuple

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from numpy.typing import NDArray
from pydantic import Field
from pydantic_core import to_json

from service.dependencies import (
    ModelName,
    deadline_of,
    find_model,
    refuse_repeated,
    service_of,
    still_connected,
)
from service.errors import (
    DeadlinePassed,
    InvalidParameter,
    NotAcceptable,
    NotInArtifact,
    NotReady,
    QueueFull,
    UnknownDataset,
    UnknownModel,
    UnknownSample,
    UnknownVersion,
)
from service.formats import choose_format
from service.hard_examples import (
    Answers,
    HardExample,
    Kind,
    Selection,
    Sort,
    TestAnswers,
    class_of,
    example_at,
    nearest_confusions,
    select,
)
from service.model import Model
from service.openapi import BINARY, example, problems
from service.pictures import contact_sheet
from service.pictures.colours import Theme
from service.pictures.png import png
from service.routes import inside_examples
from service.samples import SampleSet
from service.schemas import VersionQuery
from service.schemas_inside import HardExampleDetail, HardExampleItem, HardExampleList, VotesBody

FORMATS = {"json": "application/json", "png": "image/png", "csv": "text/csv; charset=utf-8"}
OF_ONE = {"json": FORMATS["json"]}
COLUMNS = (
    "index", "true", "true_label", "predicted", "predicted_label", "probability_true", "probability_predicted",
    "margin", "entropy", "loss", "image", "disputed",
    "votes_given", "votes_guessed", "votes_neither", "votes_both", "votes_guessed_label",
)  # fmt: skip
SHEET_LIMIT = 200  # images of one contact sheet: beyond, nobody looks
SHORT_LIST = 200  # rows that are made in a few milliseconds

ORDER = {
    "loss": "greatest loss first",
    "margin": "smallest margin first",
    "entropy": "greatest entropy first",
}

router = APIRouter(tags=["hard examples"], dependencies=[Depends(refuse_repeated)])


class HardExamplesQuery(VersionQuery):
    """Which test images, in what order and form."""

    kind: Kind = Field("misclassified", description="correct: those the model nearly got wrong")
    sort: Sort = Field(
        "loss",
        description="loss and entropy: greatest first; margin: smallest first, where the model hesitates most",
    )
    true: str | None = Field(None, description="only images of this class, by label or index")
    predicted: str | None = Field(None, description="only images taken for this class, by label or index")
    limit: int = Field(
        24, ge=1, le=10_000, description=f"how many; a contact sheet has at most {SHEET_LIMIT}"
    )
    offset: int = Field(0, ge=0, description="how many to leave out first")
    theme: Theme = Field("light", description="of the png")
    format: str | None = Field(
        None, description="else by Accept, else json", json_schema_extra={"enum": list(FORMATS)}
    )


class _Listing(NamedTuple):
    """What a list is made of."""

    model: Model
    samples: SampleSet
    found: Answers
    query: HardExamplesQuery
    selection: Selection


class HardExampleQuery(VersionQuery):
    """Of which model one test image is told; there is JSON only."""

    format: str | None = Field(None, description="json", json_schema_extra={"enum": list(OF_ONE)})


@router.get(
    "/models/{model}/hard-examples",
    operation_id="list_hard_examples",
    response_model=HardExampleList,
    responses=example(
        inside_examples.HARD_EXAMPLES,
        "the test images, a contact sheet of them, or a table",
        {"image/png": BINARY, "text/csv": {"type": "string"}},
    )
    | problems(
        UnknownModel, UnknownVersion, UnknownDataset, NotInArtifact, NotAcceptable, InvalidParameter,
        QueueFull, NotReady, DeadlinePassed,
    ),
)  # fmt: skip
async def list_hard_examples(
    request: Request, model: ModelName, query: Annotated[HardExamplesQuery, Query()]
) -> Response:
    """Test images the model gets wrong, the worst first. `kind=correct&sort=margin` gives the narrow escapes."""
    served = find_model(request, model, query)
    chosen = choose_format(request, FORMATS)
    if chosen == "png" and query.limit > SHEET_LIMIT:
        raise InvalidParameter(f"limit is {query.limit}; a contact sheet has at most {SHEET_LIMIT} images")
    selection = _selection(query, served)
    service = service_of(request)
    deadline, wanted = deadline_of(service), still_connected(request)
    samples = await service.samples.of(served.manifest.dataset, deadline)
    read = partial(service.test_answers.of, served.manifest, samples)
    listing = _Listing(served, samples, await service.aside.do(read, deadline, wanted), query, selection)
    takes_long = chosen == "png" or query.limit > SHORT_LIST
    lane = service.drawing if takes_long else service.aside
    content = await lane.do(partial(_list, listing, chosen), deadline, wanted)
    return Response(content, headers={"Vary": "Accept"}, media_type=FORMATS[chosen])


@router.get(
    "/models/{model}/hard-examples/{index}",
    operation_id="get_hard_example",
    response_model=HardExampleDetail,
    responses=example(inside_examples.HARD_EXAMPLE)
    | problems(
        UnknownModel, UnknownVersion, UnknownDataset, UnknownSample, NotInArtifact, NotAcceptable, InvalidParameter,
        QueueFull, NotReady, DeadlinePassed,
    ),
)  # fmt: skip
async def get_hard_example(
    request: Request,
    model: ModelName,
    index: Annotated[int, Path(description="of any test image, in the original order", examples=[1901])],
    query: Annotated[HardExampleQuery, Query()],
) -> Response:
    """One test image with all its probabilities, what it is nearest to being taken for, and people's votes."""
    served = find_model(request, model, query)
    choose_format(request, OF_ONE)
    service = service_of(request)
    deadline = deadline_of(service)
    samples = await service.samples.of(served.manifest.dataset, deadline)
    make = partial(_one, service.test_answers, served, samples, index)
    content = await service.aside.do(make, deadline, still_connected(request))
    return Response(content, media_type=FORMATS["json"])


def _one(test_answers: TestAnswers, model: Model, samples: SampleSet, index: int) -> bytes:
    found = test_answers.of(model.manifest, samples)
    one = example_at(found, samples, index)
    classes = model.classes
    row = found.probabilities[index]
    body: HardExampleDetail = {
        "model": model.name,
        "version": model.version,
        "dataset": model.manifest.dataset,
        "kind": one.kind,
        **item(one, model),
        "probabilities": [
            {"label": label, "index": at, "probability": float(row[at])} for at, label in enumerate(classes)
        ],
        "confusions": [
            {
                "label": classes[near.index],
                "index": near.index,
                "probability": near.probability,
                "count": near.count,
            }
            for near in nearest_confusions(found, index)
        ],
    }
    return to_json(body)


def _list(listing: _Listing, chosen: str) -> bytes:
    """What was chosen of it, in one format."""
    model, samples, found, query, selection = listing
    indices = select(found, selection)
    page = [
        example_at(found, samples, int(index)) for index in indices[query.offset : query.offset + query.limit]
    ]
    if chosen == "png":
        return _sheet(listing, page, len(indices))
    items = [item(one, model) for one in page]
    if chosen == "csv":
        return _table(items).encode()
    body: HardExampleList = {
        "model": model.name,
        "version": model.version,
        "dataset": model.manifest.dataset,
        "kind": query.kind,
        "sort": query.sort,
        "total": len(indices),
        "offset": query.offset,
        "limit": query.limit,
        "items": items,
    }
    return to_json(body)


def _selection(query: HardExamplesQuery, model: Model) -> Selection:
    true, predicted = (
        None if text is None else class_of(text, model.classes, name)
        for name, text in (("true", query.true), ("predicted", query.predicted))
    )
    return Selection(query.kind, query.sort, true, predicted)


def item(one: HardExample, model: Model) -> HardExampleItem:
    """A test image as the answers have it."""
    classes = model.classes
    return {
        "index": one.index,
        "true": {"index": one.true, "label": classes[one.true]},
        "predicted": {"index": one.predicted, "label": classes[one.predicted]},
        "probability_true": one.probability_true,
        "probability_predicted": one.probability_predicted,
        "margin": one.margin,
        "entropy": one.entropy,
        "loss": one.loss,
        "image": f"/samples/{model.manifest.dataset}/{one.index}",
        "votes": _votes(one, classes),
        "disputed": one.disputed,
    }


def _votes(one: HardExample, classes: list[str]) -> VotesBody | None:
    votes = one.votes
    if votes is None:
        return None
    return {
        "given": votes.given,
        "guessed": votes.guessed,
        "neither": votes.neither,
        "both": votes.both,
        # Where the model guessed the label itself, all who took it are counted as `given`.
        "guessed_label": None if votes.guessed_index == one.true else classes[votes.guessed_index],
    }


def _table(items: list[HardExampleItem]) -> str:
    """The same fields as CSV (RFC 4180), with labels and indices side by side."""
    rows = list(map(_row, items))
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _row(one: HardExampleItem) -> dict[str, object]:
    same = {name: value for name, value in one.items() if name in COLUMNS}
    votes = {f"votes_{name}": value for name, value in (one["votes"] or {}).items()}
    return {
        **same,
        **votes,
        "true": one["true"]["index"],
        "true_label": one["true"]["label"],
        "predicted": one["predicted"]["index"],
        "predicted_label": one["predicted"]["label"],
        "disputed": str(one["disputed"]).lower(),
    }


def _sheet(listing: _Listing, page: list[HardExample], total: int) -> bytes:
    model, samples, _, query, selection = listing
    entries = [_entry(one, samples.images[one.index], model.classes) for one in page]
    part = contact_sheet.part(query.offset, len(page), total)
    classes = {"true": selection.true, "predicted": selection.predicted}
    chosen = [f"{name} {model.classes[index]}" for name, index in classes.items() if index is not None]
    title = " · ".join([model.name, query.kind, *chosen, part, ORDER[query.sort]])
    return png(contact_sheet.draw(entries, title, query.theme))


def _entry(one: HardExample, image: NDArray[np.uint8], classes: list[str]) -> contact_sheet.Entry:
    return contact_sheet.Entry(
        image=image,
        index=one.index,
        true=classes[one.true],
        predicted=classes[one.predicted],
        probability_predicted=one.probability_predicted,
        probability_true=one.probability_true,
        loss=one.loss,
        disputed=one.disputed,
    )
