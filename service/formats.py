"""Which format an answer takes: `?format=` first, then `Accept`, else the endpoint's own first choice."""

from collections.abc import Mapping

from starlette.requests import Request

from service.errors import NotAcceptable, brief

MOST_RANGES = 64  # of what a client accepts: tens of thousands would take the event loop's time


def choose_format(request: Request, offers: Mapping[str, str], hint: str | None = None) -> str:
    """One of `offers`: format → media type, as "png" → "image/png", the default first. Raises NotAcceptable, which ends
    with the hint."""
    asked = request.query_params.get("format")
    more = f"; {hint}" if hint else ""
    if asked is not None:
        if asked not in offers:
            raise NotAcceptable(f"format={brief(asked)} cannot be made here; {', '.join(offers)} can{more}")
        return asked
    accept = ", ".join(request.headers.getlist("accept")) or "*/*"
    ranges = [_media_range(one) for one in accept.split(",", MOST_RANGES)[:MOST_RANGES]]
    # Of those that are wanted as much, the first.
    best = max(offers, key=lambda name: _wanted(ranges, offers[name]))
    if _wanted(ranges, offers[best])[0] > 0:
        return best
    raise NotAcceptable(
        f"Accept: {brief(accept)} cannot be met; there are {', '.join(offers.values())}{more}"
    )


def _media_range(text: str) -> tuple[str, float]:
    """`image/*;q=0.8` → ("image/*", 0.8). A quality that is no number from 0 to 1 counts as 0."""
    pattern, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
    try:
        wanted = float(quality)
    except ValueError:
        wanted = 0.0
    return pattern, wanted if 0 <= wanted <= 1 else 0.0


def _wanted(ranges: list[tuple[str, float]], media_type: str) -> tuple[float, int, int]:
    """How much: the quality that the most specific range gives it (RFC 9110, section 12.5.1), then how specific and
    how early that range is, for `application/json, */*` asks for JSON."""
    own = media_type.partition(";")[0]
    exactness = {own: 2, f"{own.partition('/')[0]}/*": 1, "*/*": 0, "*": 0, "": 0}
    matching = [
        (exactness[pattern], -at, quality)
        for at, (pattern, quality) in enumerate(ranges)
        if pattern in exactness
    ]
    specific, place, quality = max(matching, default=(0, 0, 0.0))
    return quality, specific, place
