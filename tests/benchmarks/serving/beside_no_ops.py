"""This project beside the two no-ops and its own engine: all are up, and loads take turns on the same core."""

from contextlib import ExitStack

from tests.benchmarks.serving.bench import BEST_DIGITS, COLOUR, DIGITS, Bench, Section
from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.engine_alone import engines_alone
from tests.benchmarks.serving.messages import Request, binary_tensor, encoded, form, test_images
from tests.benchmarks.serving.servers import (
    NO_OPS,
    are_labelled,
    are_probabilities,
    digit,
    is_answered,
    is_cat,
    is_seven,
    no_op,
    photo,
    service,
)
from tests.benchmarks.serving.turns import ONE, P50, PROCESSOR, RATE, Case, Turns, row

BARE, NO_OP = NO_OPS
OURS = "this project, raw body"
FORM = "this project, multipart"
BATCH = "this project, 64 PNG a request"
BEST_BATCH = f"this project, {BEST_DIGITS}, 64 PNG a request"
TENSOR = "this project, 64 binary tensors a request"
PHOTO = f"this project, {COLOUR}, raw body"
ROWS = 64
FEW = 4
BY_FEW = f", {FEW} clients"


def measure(bench: Bench, section: Section) -> None:
    """Medians, and medians of ratios of neighbouring rounds."""
    turns = Turns(bench, section)
    with ExitStack() as stack:
        no_ops = {name: stack.enter_context(no_op(bench, name)) for name in NO_OPS}
        ours = stack.enter_context(service(bench))
        for name, child in no_ops.items():
            turns.add(name, Case(child, digit(), is_answered), warm=1)
            if name != BARE or bench.plan.alone:
                turns.add(name + ONE, Case(child, digit(), is_answered, 1), warm=0)
        turns.add(OURS, Case(ours, digit(), is_seven), warm=1)
        turns.add(OURS + ONE, Case(ours, digit(), is_seven, 1), warm=0)
        others = _others(ours, few=bench.plan.alone)
        for name, case in others.items():
            turns.add(name, case)
        engines = stack.enter_context(engines_alone(bench, (DIGITS, BEST_DIGITS, COLOUR)))
        for model, engine in engines.items():
            turns.add_engine(_engine(model), engine)
            section.lines.append(f"{model} by {engine.name} alone is fastest with {engine.rows} rows a run")
            section.facts[f"{_engine(model)}, images/s by rows a run"] = engine.sweep
        turns.take("beside the no-ops", bench.plan.rounds)
        section.rows = [row(section, name, child, one=name + ONE) for name, child in no_ops.items()]
        section.rows.append(row(section, OURS, ours, one=OURS + ONE))
    section.rows += [row(section, name) for name in (*others, *map(_engine, (DIGITS, BEST_DIGITS, COLOUR)))]
    _compare(section)


def _engine(model: str) -> str:
    return f"the engine alone, {model}"


def _others(ours: Child, *, few: bool) -> dict[str, Case]:
    """What is compared besides single images; many of them in a request also from few clients, if wanted."""
    pngs = batch_of_digits(DIGITS)
    tensor = binary_tensor(f"/v2/models/{DIGITS}/infer", test_images("mnist", ROWS))
    labelled, inferred = are_labelled(ROWS), are_probabilities(ROWS)
    cases = {
        FORM: Case(ours, form(f"/predict/{DIGITS}", "file", [digit().body]), is_seven),
        BATCH: Case(ours, pngs, labelled, images=ROWS),
        BEST_BATCH: Case(ours, batch_of_digits(BEST_DIGITS), labelled, images=ROWS),
        TENSOR: Case(ours, tensor, inferred, images=ROWS),
        PHOTO: Case(ours, photo(), is_cat),
    }
    if few:
        cases[BATCH + BY_FEW] = Case(ours, pngs, labelled, FEW, ROWS)
        cases[TENSOR + BY_FEW] = Case(ours, tensor, inferred, FEW, ROWS)
    return cases


def batch_of_digits(model: str) -> Request:
    """The first ROWS test images as PNGs in one form."""
    files = [encoded(one) for one in test_images("mnist", ROWS)]
    return form(f"/predict/{model}/batch", "files", files)


def _compare(section: Section) -> None:
    """What the goals ask for; `… by processor time` is what load elsewhere on the machine disturbs less."""
    pairs = {
        "share of the no-op": (OURS, NO_OP),
        "multipart, share of raw": (FORM, OURS),
        "batch, share of the engine": (BATCH, _engine(DIGITS)),
        f"batch of {BEST_DIGITS}, share of the engine": (BEST_BATCH, _engine(BEST_DIGITS)),
        "tensors, share of the engine": (TENSOR, _engine(DIGITS)),
        f"batch{BY_FEW}, share of the engine": (BATCH + BY_FEW, _engine(DIGITS)),
        f"tensors{BY_FEW}, share of the engine": (TENSOR + BY_FEW, _engine(DIGITS)),
        f"{COLOUR}, share of the engine": (PHOTO, _engine(COLOUR)),
    }
    for name, (one, other) in pairs.items():
        if f"{one}: {RATE}" in section.rounds:
            section.figures[name] = section.ratio(f"{one}: {RATE}", f"{other}: {RATE}")
            by_time = section.ratio(f"{other}: {PROCESSOR}", f"{one}: {PROCESSOR}")
            section.figures[f"{name}, by processor time"] = by_time
    section.figures["p50 at 1 client, times the no-op"] = section.ratio(
        f"{OURS + ONE}: {P50}", f"{NO_OP + ONE}: {P50}"
    )
    section.figures["p50 at 1 client, times the no-op, by processor time"] = section.ratio(
        f"{OURS + ONE}: {PROCESSOR}", f"{NO_OP + ONE}: {PROCESSOR}"
    )
