"""Which format an answer takes: `?format=` first, then `Accept`, else the endpoint's own first choice."""

from collections.abc import Mapping

from starlette.requests import Request

from service.errors import NotAcceptable


def choose_format(request: Request, offers: Mapping[str, str]) -> str:
    """One of `offers` (format → media type, the default first). Raises NotAcceptable.

    >>> {"png": "image/png", "json": "application/json"}
    """
    asked = request.query_params.get("format")
    if asked is not None:
        if asked not in offers:
            raise NotAcceptable(f"format={asked} cannot be made here; {', '.join(offers)} can")
        return asked
    accept = request.headers.get("accept", "*/*")
    ranges = sorted(map(_media_range, accept.split(",")), key=lambda one: -one[1])
    for pattern, quality in ranges:
        if quality > 0:
            for name, media_type in offers.items():
                if _matches(pattern, media_type):
                    return name
    raise NotAcceptable(f"Accept: {accept} cannot be met; there are {', '.join(offers.values())}")


def _media_range(text: str) -> tuple[str, float]:
    """`image/*;q=0.8` → ("image/*", 0.8). A quality that is no number counts as 0."""
    pattern, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
    try:
        return pattern, float(quality)
    except ValueError:
        return pattern, 0.0


def _matches(pattern: str, media_type: str) -> bool:
    family, _, kind = pattern.partition("/")
    own_family, _, own_kind = media_type.partition(";")[0].partition("/")
    return family in ("*", "", own_family) and kind in ("*", "", own_kind)
