"""The figures: learning curves, histograms of weights, confusion matrix, reliability diagram."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.ticker import MaxNLocator

from service.artifact_files import samples_folder, unchanged
from service.figures.request import FigureRequest
from service.figures.style import GUIDES, colour, style
from service.manifest import TEST_IMAGES, TEST_PROBABILITIES, Reading
from service.pictures.colours import Theme
from service.reports import Report, reliability, trainings
from service.schemas_inside import WeightStatistics

Panel = tuple[str, str]  # a layer's name and one of its tensors'
NORMALISATION = ("BatchNormalization", "LayerNormalization")
LINE = 12  # points, of one line of words above a panel


def draw(request: FigureRequest) -> Figure:
    """The figure that is asked for. Raises what Report does for what a model was published without."""
    reports = [Report(request.artifacts, manifest) for manifest in request.published()]
    drawings: dict[str, Callable[[], Figure]] = {
        "training": lambda: learning_curves(reports, request.theme),
        "weights": lambda: weights(reports, request.layer, request.theme),
        "confusion-matrix": lambda: confusion_matrix(reports[0], request.theme),
        "calibration": lambda: calibration(reports[0], request),
    }
    with mpl.rc_context(rc=style(request.theme)):
        figure = drawings[request.kind]()
        # Drawn here and not when it is saved: some settings are read as late as that.
        figure.canvas.draw()
        return figure


class _Curve(NamedTuple):
    """Of one net that was trained: a model, or one of those that it was put together of."""

    name: str
    history: list[dict[str, int | float]]
    readings: list[Reading]
    """of the model; of its parts none are known"""


def learning_curves(reports: Sequence[Report], theme: Theme) -> Figure:
    """Loss and accuracy by epoch, training dashed and validation solid, with the readings on the test set."""
    figure = Figure(figsize=(9, 4.1))
    loss, accuracy = figure.subplots(1, 2)
    curves = [curve for report in reports for curve in _curves(report)]
    coloured = [(one, colour(theme, at)) for at, one in enumerate(curves)]
    # Those with readings first: the legend has a column for each net, and the first columns are the longer ones.
    for one, own in sorted(coloured, key=lambda pair: not pair[0].readings):
        label = f"{one.name} " if len(curves) > 1 else ""
        for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
            _plot(axes, one.history, key, own, label)
        _mark_readings(accuracy, one.readings, own, label, theme)
    # Not the loss of the other answers: nobody is to compare it with their nll.
    loss.set_title("loss as minimised, with smoothing and penalties")
    accuracy.set_title("accuracy")
    accuracy.yaxis.set_major_formatter("{x:.0%}")
    columns = len(curves) if len(curves) > 1 else 3
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    _head(figure, reports, "learning curves")
    return figure


def _curves(report: Report) -> list[_Curve]:
    nets, manifest = trainings(report.history()), report.manifest
    if len(nets) == 1:
        return [_Curve(f"{manifest.name} {manifest.version}", nets[0], manifest.metrics.readings)]
    # With the version: what is served under a member's name may be another net by now.
    names = [f"{one.name} {one.version}" for one in manifest.members]
    return [_Curve(name, history, []) for name, history in zip(names, nets, strict=True)]


def _plot(axes: Axes, history: list[dict[str, int | float]], key: str, own: str, label: str) -> None:
    """One net's curves of one figure by epoch. Of a single epoch they are points, since there is no line."""
    epochs, training, validation = ([row[one] for row in history] for one in ("epoch", key, f"val_{key}"))
    ring, diamond = ("o", "D") if len(epochs) == 1 else (None, None)
    axes.plot(
        epochs, training, "--", color=own, lw=1.2, marker=ring, fillstyle="none", label=f"{label}training"
    )
    axes.plot(epochs, validation, color=own, marker=diamond, label=f"{label}validation")
    axes.set_xlabel("epoch")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def _mark_readings(axes: Axes, readings: list[Reading], own: str, label: str, theme: Theme) -> None:
    """A point at each reading on the test set, and, of a net that is alone, what it says at the foot."""
    for reading in readings:
        axes.axvline(reading.epoch, color=GUIDES[theme], lw=0.8, ls=":")
        if not label:
            axes.annotate(
                f"epoch {reading.epoch}\n{reading.test_accuracy:.2%}",
                (reading.epoch, 0.03), xycoords=("data", "axes fraction"),
                xytext=(-4, 0), textcoords="offset points", ha="right", va="bottom", fontsize=8,
            )  # fmt: skip
    if readings:
        points = [one.epoch for one in readings], [one.test_accuracy for one in readings]
        axes.plot(*points, "o", ms=5, color=own, zorder=5, label=f"{label}test")


def weights(reports: Sequence[Report], layer: str | None, theme: Theme) -> Figure:
    """A histogram for each layer and tensor, on common axes for all models, and above it a line of words on each."""
    found = [_tensors(report, layer) for report in reports]
    panels = list(dict.fromkeys(panel for tensors in found for panel in tensors))
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    height = 2.1 + len(reports) * LINE / 72
    figure = Figure(figsize=(max(5.2, 3.4 * columns), 0.9 + height * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, StepPatch] = {}
    for axes, panel in zip(grid, panels, strict=False):
        tops, words = [], []
        for at, (report, tensors) in enumerate(zip(reports, found, strict=True)):
            if panel in tensors:
                own = colour(theme, at)
                handles[report.manifest.name], top, said = _histogram(axes, tensors[panel], own)
                tops.append(top)
                words.append((said, own))
        _put_above(axes, words)
        axes.set_title(" · ".join(panel) if layer is None else panel[1], pad=LINE * len(words) + 6)
        axes.set(ylim=(0, 1.1 * max(tops) or 1), ylabel="density", xlabel="weight")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles))
    _head(figure, reports, "weights" if layer is None else f"weights\n{layer}")
    return figure


def _tensors(report: Report, layer: str | None) -> dict[Panel, WeightStatistics]:
    """What is drawn: all of one layer, or of all layers the kernels, which tell the most."""
    layers = report.weights(layer)
    return {
        (one["name"], tensor["name"]): tensor
        for one in layers
        for tensor in one["weights"]
        if layer is not None or (one["type"] not in NORMALISATION and len(tensor["shape"]) > 1)
    }


def _histogram(axes: Axes, tensor: WeightStatistics, own: str) -> tuple[StepPatch, float, str]:
    """Draws one model's; gives what stands for it in the legend, the height that is worth showing, and its words."""
    edges, counts = np.array(tensor["histogram"]["edges"]), np.array(tensor["histogram"]["counts"])
    # Densities, since the models' bins are not equally wide.
    density = counts / np.maximum(np.diff(edges) * max(counts.sum(), 1), np.finfo(float).tiny)
    axes.stairs(density, edges, fill=True, color=own, alpha=0.3)
    outline = axes.stairs(density, edges, color=own, lw=1.3)
    second, peak = np.sort(density)[-2:]
    cut = peak > 2 * second > 0  # weights that L2 has brought to 0: one bin that would flatten all others
    words = f"σ {tensor['standard_deviation']:.3g}" + (f" (peak {peak:.0f})" if cut else "")
    return outline, float(second if cut else peak), words


def _put_above(axes: Axes, lines: Sequence[tuple[str, str]]) -> None:
    """Words, each in its colour. Not within the axes: a peak that is cut reaches their upper edge anywhere."""
    for at, (words, own) in enumerate(lines, 1):
        height = 4 + LINE * (len(lines) - at)
        axes.annotate(
            words, (0, 1), xycoords="axes fraction", xytext=(0, height), textcoords="offset points",
            color=own, fontsize=8.5, weight="bold", va="bottom",
        )  # fmt: skip


def confusion_matrix(report: Report, theme: Theme) -> Figure:
    """Counts, rows true and columns predicted. Colours are those of the errors: the diagonal has none."""
    matrix, classes = np.array(report.manifest.metrics.confusion), report.manifest.classes
    figure = Figure(figsize=(7.2, 6.4))
    axes = figure.subplots()
    errors = np.where(np.eye(len(classes), dtype=bool), 0, matrix)
    image = axes.imshow(errors, cmap="Blues" if theme == "light" else "viridis")
    ticks = range(len(classes))
    rotation = 0 if max(map(len, classes)) <= 2 else 45
    axes.set_xticks(
        ticks, classes, rotation=rotation, ha="right" if rotation else "center", rotation_mode="anchor"
    )
    axes.set_yticks(ticks, classes)
    axes.grid(visible=False)
    axes.set(xlabel="predicted", ylabel="true")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axes.text(
                column, row, f"{count}", ha="center", va="center", fontsize=8,
                weight="bold" if row == column else "normal", color=_readable(image, errors[row, column]),
            )  # fmt: skip
    whole = MaxNLocator(integer=True)
    figure.colorbar(image, ax=axes, shrink=0.8, label="images taken for another class", ticks=whole)
    _head(figure, [report], "confusion matrix")
    return figure


def _readable(image: Any, value: Any) -> str:
    """Black or white, by the luminance of the colour behind it."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"


def calibration(report: Report, request: FigureRequest) -> Figure:
    """Reliability: accuracy against confidence, and how many images each bin has."""
    manifest, theme = report.manifest, request.theme
    folder = unchanged(request.artifacts, manifest, [TEST_PROBABILITIES])
    with np.load(samples_folder(request.artifacts, manifest.dataset) / TEST_IMAGES) as arrays:
        bins = reliability(np.load(folder / TEST_PROBABILITIES), arrays["labels"])
    figure = Figure(figsize=(5.4, 5.6))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    own = colour(theme, 0)
    above.plot([0, 1], [0, 1], "--", color=GUIDES[theme], lw=1, label="as sure as right")
    known = [one for one in bins if one.accuracy is not None]
    edges = [one.low for one in bins] + [1.0]
    above.stairs([one.accuracy or 0 for one in bins], edges, fill=True, color=own, alpha=0.25)
    above.plot(
        [one.confidence for one in known],
        [one.accuracy for one in known],
        "o-",
        ms=4,
        color=own,
        label="model",
        clip_on=False,  # a point may be on the axes' edge: it is whole, and above their line
        zorder=3,
    )
    metrics = manifest.metrics
    power = f" × entropy^{metrics.temperature_exponent:g}" if metrics.temperature_exponent else ""
    above.set(ylabel="accuracy", ylim=(0, 1), xlim=(0, 1))
    above.legend(loc="upper left")
    above.text(
        0.98, 0.04,
        f"ECE {metrics.ece:.2%}\nbefore temperature {metrics.temperature:g}{power}: "
        f"{metrics.ece_before_temperature:.2%}",
        ha="right", va="bottom", transform=above.transAxes, fontsize=8,
    )  # fmt: skip
    below.stairs([one.count for one in bins], edges, fill=True, color=own, alpha=0.6)
    below.set(yscale="log", ylabel="images", xlabel="confidence: best probability", ylim=(0.7, None))
    _head(figure, [report], "reliability")
    return figure


def _head(figure: Figure, reports: Sequence[Report], what: str) -> None:
    names = ", ".join(report.manifest.name for report in reports)
    figure.suptitle(f"{names} · {what}", x=0.01, ha="left", fontsize=11, weight="bold")
