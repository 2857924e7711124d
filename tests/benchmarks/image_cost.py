"""What an image costs before the net sees it: medians for several kinds, and how large photographs disturb small
images that are prepared at the same time.

    python -m tests.benchmarks.image_cost [--json FILE]
"""

import json
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from service.images import PrepareOptions, prepare
from service.manifest import InputSpec
from tests.benchmarks.arguments import new_file, parser_of
from tests.benchmarks.photographs import Scene, encode, photograph
from tests.benchmarks.wild_digits import ARTIFACTS, MAX_PIXELS

DIGIT = InputSpec(height=28, width=28, channels=1)
COLOUR = InputSpec(height=32, width=32, channels=3)
OPTIONS = PrepareOptions()
TWELVE_MEGAPIXELS = (4000, 3000)
ROUNDS = 15


def main() -> None:
    """Print the medians; with --json also write them."""
    parser = parser_of(__doc__)
    parser.add_argument("--json", type=new_file, help="also write the figures here")
    options = parser.parse_args()
    figures = {name: median_ms(work) for name, work in _kinds().items()}
    for name, milliseconds in figures.items():
        print(f"{name:<44} {milliseconds:>9.3f} ms")
    alone, beside = disturbance()
    print(f"{'small image, 99th percentile, alone':<44} {alone:>9.3f} ms")
    print(f"{'… while 12-megapixel JPEGs are prepared':<44} {beside:>9.3f} ms  ({beside / alone:.1f} times)")
    if options.json:
        options.json.write_text(json.dumps({**figures, "p99 alone": alone, "p99 beside": beside}, indent=1))


def median_ms(work: Callable[[], object]) -> float:
    """Median over rounds of the time for one call, in milliseconds."""
    work()
    start = time.perf_counter()
    work()
    calls = max(1, round(0.02 / (time.perf_counter() - start)))
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds) * 1000


def disturbance(rounds: int = 7, seconds: float = 1.5) -> tuple[float, float]:
    """99th percentile of a small image's time, in milliseconds: alone, and beside a thread with large JPEGs.

    Medians over rounds that take turns, since a percentile of one round says more of the machine than of us.
    """
    small, large = (
        _kinds()["28 × 28 PNG of the MNIST test set"],
        _kinds()["12-megapixel JPEG to MNIST's form"],
    )
    pairs = [(_percentile(small, seconds), _percentile_beside(small, large, seconds)) for _ in range(rounds)]
    alone, beside = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    return alone, beside


def _percentile_beside(work: Callable[[], object], other: Callable[[], object], seconds: float) -> float:
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            other()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        return _percentile(work, seconds)
    finally:
        stop.set()
        thread.join()


def _percentile(work: Callable[[], object], seconds: float) -> float:
    """At a request every two milliseconds, as a loop that also does other things would see them."""
    times = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        work()
        times.append(time.perf_counter() - start)
        time.sleep(0.002)
    return float(np.percentile(times, 99)) * 1000


def _kinds() -> dict[str, Callable[[], object]]:
    digit, photo = _test_image("mnist"), _test_image("cifar10")
    random = np.random.default_rng(0)
    large = Image.fromarray(photo).resize(TWELVE_MEGAPIXELS, Image.Resampling.BICUBIC)
    grain = random.integers(0, 12, (*TWELVE_MEGAPIXELS[::-1], 1), np.uint8)
    grainy = encode(Image.fromarray(np.minimum(np.asarray(large), 243) + grain), 85)
    page = photograph(digit, Scene(canvas=TWELVE_MEGAPIXELS, shading=0.4, jpeg=85), random)
    drawing = photograph(digit, Scene(canvas=(1050, 800), pen=1), random)
    noisy = photograph(digit, Scene(shading=0.4, noise=12, jpeg=80), random)
    files = {
        "28 × 28 PNG of the MNIST test set": (encode(Image.fromarray(digit), None), DIGIT),
        "32 × 32 PNG of the CIFAR-10 test set": (encode(Image.fromarray(photo), None), COLOUR),
        "1050 × 800 PNG, a hairline drawing": (drawing, DIGIT),
        "800 × 600 JPEG, shaded and noisy": (noisy, DIGIT),
        "12-megapixel JPEG to MNIST's form": (page, DIGIT),
        "12-megapixel JPEG to 32 × 32": (grainy, COLOUR),
    }
    return {name: _work(data, spec) for name, (data, spec) in files.items()}


def _work(data: bytes, spec: InputSpec) -> Callable[[], object]:
    return lambda: prepare(data, spec, OPTIONS, max_pixels=MAX_PIXELS)


def _test_image(dataset: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with np.load(ARTIFACTS / "datasets" / dataset / "test.npz") as arrays:
        return np.asarray(arrays["images"][0]).squeeze()


if __name__ == "__main__":
    main()
