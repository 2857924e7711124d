"""/docs, /redoc and a first page, all without the network."""

from html import escape
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Match, Mount
from starlette.types import Scope

from service.dependencies import SnapshotDep
from service.page.document import document

OPENAPI = "/openapi.json"
VENDOR = "/page/vendor"
VENDORED = Path(__file__).resolve().parent.parent / "page" / "vendor"

router = APIRouter(tags=["documentation"], include_in_schema=False)


class Assets(Mount):
    """Says which route it is, as FastAPI's own do: requests are counted by it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def assets() -> Assets:
    """What the pages load."""
    return Assets(VENDOR, StaticFiles(directory=VENDORED), name="vendored")


@router.get(OPENAPI)
async def openapi(request: Request) -> JSONResponse:
    """All of this for programs."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Swagger UI."""
    return get_swagger_ui_html(
        openapi_url=OPENAPI,
        title=f"{request.app.title}: documentation",
        swagger_js_url=f"{VENDOR}/swagger-ui-bundle.js",
        swagger_css_url=f"{VENDOR}/swagger-ui.css",
        swagger_favicon_url=f"{VENDOR}/favicon-32x32.png",
        # Otherwise it asks a validator on the web about every document that is not on localhost.
        swagger_ui_parameters={"validatorUrl": None, "displayRequestDuration": True},
    )


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """ReDoc."""
    return get_redoc_html(
        openapi_url=OPENAPI,
        title=f"{request.app.title}: reference",
        redoc_js_url=f"{VENDOR}/redoc.standalone.js",
        redoc_favicon_url=f"{VENDOR}/favicon-32x32.png",
        with_google_fonts=False,
    )


@router.get("/")
async def home(snapshot: SnapshotDep) -> HTMLResponse:
    """What is served, and where to read on."""
    rows = "".join(
        f'<tr><td><a href="/models/{model.name}">{escape(model.name)}</a></td>'
        f"<td>{escape(model.manifest.dataset)}</td><td>{model.manifest.metrics.accuracy:.2%}</td></tr>"
        for model in snapshot.latest()
    )
    return HTMLResponse(
        document(
            "Small image classifiers",
            '<p>Try it in the <a href="/docs">documentation</a>, or read the <a href="/redoc">reference</a>.</p>'
            f"<table><tr><th>model</th><th>data set</th><th>test accuracy</th></tr>{rows}</table>",
        )
    )
