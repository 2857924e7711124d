"""What looking inside costs: the time of a feature-map PNG, and whether predictions suffer from it.

    python -m tests.benchmarks.feature_maps [--json FILE]

Two servers on one core, one of which has feature maps loaded, are loaded in turn from another core; the figures
are medians of the ratios of neighbouring rounds, so that a machine that slows down between them does not show.
Processor time a prediction is what a busy machine disturbs least. Needs Linux and wrk.
"""

import json
import os
import statistics
import sys
import time

from tests.benchmarks.arguments import new_file, parser_of
from tests.benchmarks.serving import wrk
from tests.benchmarks.serving.bench import DIGITS, SHORT, Bench, Cores, Section
from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.messages import get
from tests.benchmarks.serving.servers import digit, is_seven, service
from tests.benchmarks.serving.turns import PROCESSOR, RATE, Case, Turns

LAYERS = ("conv2d", "conv2d_1", "dense", "softmax")
PICTURES = 100
ROUNDS = 20
CONNECTIONS = 16
PLAIN, LOOKING = "without feature maps", "feature maps loaded"


def main() -> None:
    """Print the figures; with --json also write them."""
    parser = parser_of(__doc__)
    parser.add_argument("--json", type=new_file, help="also write the figures here")
    options = parser.parse_args()
    if not wrk.installed():
        sys.exit(wrk.MISSING)
    try:
        figures = measured(Bench(SHORT, Cores.allowed()))
    except BenchmarkError as error:
        sys.exit(str(error))
    for name, value in figures.items():
        print(f"{name:<52} {value:>10.3f}")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def measured(bench: Bench) -> dict[str, float]:
    """By name. Raises BenchmarkError."""
    idle = "3600"  # seconds: what was opened for pictures stays open
    with (
        service(bench, CONVSCOPE_FEATURE_MAPS_IDLE=idle) as plain,
        service(bench, CONVSCOPE_FEATURE_MAPS_IDLE=idle) as looking,
    ):
        os.sched_setaffinity(0, {bench.cores.load})
        return pictures(looking) | throughput(bench, {PLAIN: plain, LOOKING: looking})


def pictures(child: Child) -> dict[str, float]:
    """Milliseconds from request to PNG, each of another test image: the graph runs every time."""
    figures = {}
    for layer in LAYERS:
        # The first open the graph, the test set and the font.
        times = [picture_ms(child, layer, sample) for sample in range(PICTURES + 3)][3:]
        figures[f"png of {layer}, median ms"] = statistics.median(times)
    before = child.processor_seconds()
    for sample in range(PICTURES, 3 * PICTURES):
        picture_ms(child, LAYERS[0], sample)
    used = child.processor_seconds() - before
    figures[f"png of {LAYERS[0]}, processor ms"] = 1000 * used / (2 * PICTURES)
    return figures


def picture_ms(child: Child, layer: str, sample: int) -> float:
    """One picture."""
    path = f"/models/{DIGITS}/feature-maps?layer={layer}&sample={sample}&format=png"
    began = time.perf_counter()
    answer = get(child.port, path)
    if answer.status != 200:
        raise BenchmarkError(f"{path} answered {answer.status}: {answer.body[:200]!r}")
    return 1000 * (time.perf_counter() - began)


def throughput(bench: Bench, children: dict[str, Child]) -> dict[str, float]:
    """Predictions of both servers in turn, each first as often as the other."""
    section = Section()
    turns = Turns(bench, section)
    for name, child in children.items():
        turns.add(name, Case(child, digit(), is_seven, CONNECTIONS), warm=1)
    turns.take("predictions", ROUNDS)
    return {
        **{f"predictions a second, {name}": section.median(f"{name}: {RATE}") for name in children},
        "ratio of predictions a second": section.ratio(f"{LOOKING}: {RATE}", f"{PLAIN}: {RATE}"),
        "ratio of predictions a processor second": section.ratio(
            f"{PLAIN}: {PROCESSOR}", f"{LOOKING}: {PROCESSOR}"
        ),
    }


if __name__ == "__main__":
    main()
