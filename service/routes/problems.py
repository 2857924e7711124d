"""GET /problems/{slug}: the page a problem's `type` leads to."""

from html import escape
from inspect import getdoc
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from service.errors import NotFound, Problem, brief, problem_types
from service.openapi import problems
from service.page.document import document

router = APIRouter(tags=["documentation"])


@router.get("/problems", operation_id="list_problems", response_class=HTMLResponse)
async def list_problems() -> HTMLResponse:
    """Every type of problem that an answer can be, with its status."""
    rows = "".join(
        f'<li><a href="/problems/{slug}">{escape(kind.title)}</a> ({kind.status})</li>'
        for slug, kind in sorted(problem_types().items())
    )
    return HTMLResponse(document("Problems", f"<ul>{rows}</ul>"))


@router.get(
    "/problems/{slug}",
    operation_id="get_problem",
    response_class=HTMLResponse,
    responses=problems(NotFound),
)
async def get_problem(slug: Annotated[str, Path(examples=["unknown-model"])]) -> HTMLResponse:
    """What one type of problem means and what to do about it."""
    kind = problem_types().get(slug)
    if kind is None:
        raise NotFound(f"there is no problem {brief(slug)!r}; GET /problems lists them")
    return HTMLResponse(document(kind.title, _explanation(kind)))


def _explanation(kind: type[Problem]) -> str:
    text = escape(" ".join((getdoc(kind) or "").split()))
    return (
        f"<p>HTTP status {kind.status}, type <code>/problems/{kind.slug}</code></p><p>{text}</p>"
        '<p><a href="/problems">All problems</a> · <a href="/docs">Documentation</a></p>'
    )
