"""Everything that people send, right and wrong, over some connections for some seconds.

python -m tests.benchmarks.serving.mixed_load --port PORT --seconds S --json FILE
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tests.benchmarks.arguments import parser_of
from tests.benchmarks.serving.bench import COLOUR, DIGITS
from tests.benchmarks.serving.messages import Request, encoded, form, image, test_images

if TYPE_CHECKING:
    import httpx

CONNECTIONS = 8
PREDICT = f"/predict/{DIGITS}"
OVERSIZE = 11 * 1024 * 1024  # bytes; the service takes ten mebibytes
NOBODY = "/predict/nobody"


class Kind(NamedTuple):
    """A kind of request, the status it must be answered with, and how often it comes beside the others."""

    make: Callable[[], Request]
    status: int
    weight: int


def _digit(kind: str = "PNG") -> bytes:
    return encoded(test_images("mnist", 1)[0], kind)


def _photo(kind: str = "PNG", times: int = 1) -> bytes:
    return encoded(np.kron(test_images("cifar10", 1)[0], np.ones((times, times, 1), np.uint8)), kind)


def _files() -> list[bytes]:
    return [encoded(one) for one in test_images("mnist", 16)]


MIXED = {
    "digit, PNG": Kind(lambda: image(PREDICT, _digit()), 200, 20),
    "digit, JPEG": Kind(lambda: image(PREDICT, _digit("JPEG"), "image/jpeg"), 200, 5),
    "digit in a form": Kind(lambda: form(PREDICT, "file", [_digit()]), 200, 5),
    "photo, PNG": Kind(lambda: image(f"/predict/{COLOUR}", _photo()), 200, 8),
    "photo, 640 × 640 JPEG": Kind(
        lambda: image(f"/predict/{COLOUR}", _photo("JPEG", 20), "image/jpeg"), 200, 2
    ),
    "16 digits": Kind(lambda: form(f"{PREDICT}/batch", "files", _files()), 200, 2),
    "16 digits, one broken": Kind(
        lambda: form(f"{PREDICT}/batch", "files", [*_files()[:15], b"broken"]), 200, 2
    ),
    "top-k": Kind(lambda: image(f"{PREDICT}/top-k?k=10", _digit()), 200, 2),
    "k=11": Kind(lambda: image(f"{PREDICT}/top-k?k=11", _digit()), 422, 2),
    "PNG cut off": Kind(lambda: image(PREDICT, _digit()[:120]), 422, 3),
    "JPEG cut off": Kind(lambda: image(f"/predict/{COLOUR}", _photo("JPEG")[:300], "image/jpeg"), 422, 3),
    "PNG with other bytes": Kind(lambda: image(PREDICT, _digit()[:60] + bytes(range(200))), 422, 3),
    "empty body": Kind(lambda: image(PREDICT, b""), 422, 3),
    "text": Kind(lambda: Request(PREDICT, b"seven", "text/plain"), 415, 3),
    "text that says it is a PNG": Kind(lambda: image(PREDICT, b"seven"), 415, 3),
    "unknown model": Kind(lambda: image(NOBODY, _digit()), 404, 3),
    "unknown version": Kind(lambda: image(f"{PREDICT}?version=99", _digit()), 404, 2),
    "form without its end": Kind(
        lambda: form(PREDICT, "file", [_digit()])._replace(body=form(PREDICT, "file", [_digit()]).body[:200]),
        422,
        2,
    ),
    "blank": Kind(lambda: image(PREDICT, encoded(np.zeros((28, 28, 1), np.uint8))), 422, 2),
    "oversize": Kind(lambda: image(PREDICT, bytes(OVERSIZE)), 413, 1),
}


@cache
def request_of(kind: str) -> Request:
    return MIXED[kind].make()


async def mixed(port: int, seconds: float) -> dict[str, Counter[str]]:
    """How often each kind was answered with each status."""
    import httpx  # noqa: PLC0415 — serving does without it, and other sections than the soak do

    until = time.monotonic() + seconds
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in MIXED}
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, timeout=60, limits=httpx.Limits()) as client:
        await asyncio.gather(*(_caller(client, until, seed, counts) for seed in range(CONNECTIONS)))
    return counts


async def _caller(
    client: "httpx.AsyncClient", until: float, seed: int, counts: dict[str, Counter[str]]
) -> None:
    chance = random.Random(seed)
    kinds, weights = list(MIXED), [kind.weight for kind in MIXED.values()]
    while time.monotonic() < until:
        kind = chance.choices(kinds, weights)[0]
        request = request_of(kind)
        headers = {"Content-Type": request.content_type}
        answer = await client.post(request.path, content=request.body, headers=headers)
        counts[kind][str(answer.status_code)] += 1


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--json", type=Path, required=True, help="where the counts go")
    options = parser.parse_args()
    options.json.write_text(json.dumps(asyncio.run(mixed(options.port, options.seconds))))


if __name__ == "__main__":
    main()
