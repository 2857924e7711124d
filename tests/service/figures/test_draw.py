"""service.figures.draw: what stands in the figures, by Matplotlib's own objects."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from service.errors import NotReady, UnknownLayer
from service.figures.draw import draw
from service.figures.request import FigureRequest
from service.manifest import HISTORY, MANIFEST, TEST_PROBABILITIES, file_entry
from tests.service.shipped import ARTIFACTS, MODELS, latest, manifest, test_set


def request(kind: str, *names: str, **more: object) -> FigureRequest:
    manifests = [(latest(name) / MANIFEST).read_text(encoding="utf-8") for name in names]
    return FigureRequest.model_validate(
        {"kind": kind, "artifacts": ARTIFACTS, "manifests": manifests, **more}
    )


def history(name: str) -> list[dict[str, float]]:
    epochs: list[dict[str, float]] = json.loads((latest(name) / HISTORY).read_text(encoding="utf-8"))[
        "epochs"
    ]
    return epochs


def trained_for(folder: Path, name: str, epochs: int) -> FigureRequest:
    """The learning curves of a model that was trained for no more than these."""
    text = json.dumps({"epochs": history(name)[:epochs]})
    version = folder / "models" / name / latest(name).name
    version.mkdir(parents=True)
    (version / HISTORY).write_text(text, encoding="utf-8")
    about = manifest(name)
    about["files"][HISTORY] = file_entry(version / HISTORY).model_dump()
    return request("training", name, artifacts=folder, manifests=[json.dumps(about)])


def test_learning_curves_have_every_epoch_and_mark_the_readings() -> None:
    loss, accuracy = draw(request("training", "cifar10-strided")).axes
    rows = history("cifar10-strided")
    for axes, figure in ((loss, "loss"), (accuracy, "accuracy")):
        training, validation = axes.lines[:2]
        assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
        for line, key in ((training, figure), (validation, f"val_{figure}")):
            assert np.array_equal(line.get_xdata(), range(1, 51))
            assert np.array_equal(line.get_ydata(), [row[key] for row in rows])
            assert line.get_marker() == "None"
    readings = manifest("cifar10-strided")["metrics"]["readings"]
    words = [text.get_text() for text in accuracy.texts]
    assert words == [f"epoch {one['epoch']}\n{one['test_accuracy']:.2%}" for one in readings]
    dots = next(line for line in accuracy.lines if line.get_label() == "test")
    assert np.array_equal(dots.get_xdata(), [one["epoch"] for one in readings])
    assert np.array_equal(dots.get_ydata(), [one["test_accuracy"] for one in readings])


def test_a_loss_that_is_not_the_services_own_says_so_within_its_panel() -> None:
    figure = draw(request("training", "cifar10-strided"))
    loss, accuracy = figure.axes
    assert "as minimised" in loss.get_title(loc="left")
    figure.draw_without_rendering()  # lays it out
    title = next(one for one in loss.findobj(Text) if one.get_text() == loss.get_title(loc="left"))
    assert title.get_window_extent().x1 < accuracy.get_window_extent().x0


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_short_training_is_seen_and_its_epochs_are_whole(tmp_path: Path, epochs: int) -> None:
    for axes in draw(trained_for(tmp_path, "mnist-baseline", epochs)).axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [*range(1, epochs + 1)]
        marks = [line.get_marker() for line in axes.lines]
        assert len(set(marks)) == (2 if epochs == 1 else 1)  # told apart without a line
        assert ("None" in marks) == (epochs > 1)


@pytest.mark.parametrize(
    ("names", "with_readings"),
    [
        (["cifar10-strided", "cifar10-strided-l2"], ["cifar10-strided", "cifar10-strided-l2"]),
        (["mnist-l2", "cifar10-strided"], ["cifar10-strided"]),
        (["cifar10-strided", "cifar10-pair"], ["cifar10-strided"]),
    ],
)
def test_the_legend_of_several_explains_the_readings_of_each_in_one_column(
    names: list[str], with_readings: list[str]
) -> None:
    figure = draw(request("training", *names))
    figure.draw_without_rendering()  # lays it out
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    tests = [f"{name} {latest(name).name} test" for name in with_readings]
    assert [text for text in legend if text.endswith(" test")] == tests
    columns: dict[float, set[str]] = {}
    for text in figure.legends[0].get_texts():
        columns.setdefault(round(text.get_window_extent().x0), set()).add(text.get_text().rpartition(" ")[0])
    assert all(len(models) == 1 for models in columns.values())
    dots = {line.get_label(): line.get_color() for line in figure.axes[1].lines}
    for label in tests:
        assert dots[label] == dots[label.replace(" test", " validation")]


def test_a_net_put_together_of_two_has_the_curves_of_both_with_their_versions() -> None:
    towers = [f"{one['name']} {one['version']}" for one in manifest("cifar10-pair")["members"]]
    for names, legend in (
        (["cifar10-pair"], towers),
        (["mnist-l2", "cifar10-pair"], [f"mnist-l2 {latest('mnist-l2').name}", *towers]),
    ):
        figure = draw(request("training", *names))
        lines = [line for line in figure.axes[0].lines if str(line.get_label()).endswith("validation")]
        assert [line.get_label() for line in lines] == [f"{name} validation" for name in legend]
        assert len({line.get_color() for line in lines}) == len(legend)
        for line in lines[-2:]:
            assert np.array_equal(line.get_xdata(), range(1, 51))


def test_two_models_share_their_axes() -> None:
    figure = draw(request("weights", "mnist-baseline", "mnist-l2"))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"{layer} · kernel" for layer in ("conv2d", "conv2d_1", "dense", "dense_1")
    ]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["mnist-baseline", "mnist-l2"]
    for axes, layer in zip(panels, ("conv2d", "conv2d_1", "dense", "dense_1"), strict=True):
        said = [text.get_text().split(" (")[0] for text in axes.texts]
        assert said == [f"σ {deviation(name, layer):.3g}" for name in names]
        for one in (patch for patch in axes.patches if isinstance(patch, StepPatch)):
            density, edges, _ = one.get_data()
            assert (density * np.diff(edges)).sum() == pytest.approx(1)  # whatever the width of its bins


def deviation(name: str, layer: str) -> float:
    """Standard deviation of a layer's kernel."""
    layers = json.loads((latest(name) / "weights.json").read_text())["layers"]
    kernel = next(one for one in layers if one["name"] == layer)["weights"][0]
    return float(kernel["standard_deviation"])


def test_one_layer_shows_all_its_tensors() -> None:
    figure = draw(request("weights", "mnist-l2", layer="dense"))
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == ["kernel", "bias"]
    assert figure.get_suptitle() == "mnist-l2 · weights\ndense"
    with pytest.raises(UnknownLayer):
        draw(request("weights", "mnist-l2", layer="flatten"))


@pytest.mark.parametrize("layer", ["conv2d", None])
def test_nothing_runs_through_the_words_of_a_histogram(layer: str | None) -> None:
    figure = draw(request("weights", "mnist-baseline", "mnist-l2", layer=layer))
    figure.draw_without_rendering()  # lays it out
    panels = [axes for axes in figure.axes if axes.get_visible()]
    words = [text for axes in panels for text in axes.texts]
    assert any("peak" in text.get_text() for text in words)  # cut, by the upper edge of its axes
    titles = [
        one for axes in panels for one in axes.findobj(Text) if one.get_text() == axes.get_title(loc="left")
    ]
    assert len(titles) == len(panels)
    boxes = [one.get_window_extent() for one in (*words, *titles, *panels)]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_a_confusion_matrix_shows_every_count() -> None:
    axes = draw(request("confusion-matrix", "mnist-baseline")).axes[0]
    matrix = np.array(manifest("mnist-baseline")["metrics"]["confusion"])
    shown = np.zeros_like(matrix)
    for text in axes.texts:
        column, row = text.get_position()
        shown[int(row), int(column)] = int(text.get_text())
    assert np.array_equal(shown, matrix)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    errors = matrix - np.diag(matrix.diagonal())
    assert not np.array_equal(errors, errors.T)
    assert np.array_equal(np.asarray(axes.images[0].get_array()), errors)  # the diagonal would outshine them


def test_what_is_drawn_is_what_the_manifests_sent_say() -> None:
    served = manifest("mnist-baseline")
    served["metrics"]["confusion"] = [[7 * (row == column) for column in range(10)] for row in range(10)]
    axes = draw(request("confusion-matrix", "mnist-baseline", manifests=[json.dumps(served)])).axes[0]
    assert [text.get_text() for text in axes.texts] == 10 * ["7"]


def test_a_file_that_the_manifest_sent_does_not_tell_of_is_not_drawn_from() -> None:
    served = manifest("mnist-baseline")
    served["files"]["weights.json"]["sha256"] = 64 * "0"
    with pytest.raises(NotReady, match=r"weights\.json has another checksum"):
        draw(request("weights", "mnist-baseline", manifests=[json.dumps(served)]))


@pytest.mark.parametrize("name", ["mnist-compact", "cifar10-strided"])
def test_images_are_counted_in_whole_numbers(name: str) -> None:
    bar = draw(request("confusion-matrix", name)).axes[1]
    ticks = [label.get_text() for label in bar.get_yticklabels()]
    assert len(ticks) > 2
    assert all(tick.isdecimal() for tick in ticks)


def test_a_reliability_diagram_has_accuracy_above_and_images_below_by_confidence() -> None:
    above, below = draw(request("calibration", "cifar10-strided")).axes
    probabilities, labels = np.load(latest("cifar10-strided") / TEST_PROBABILITIES), test_set("cifar10")[1]
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    counts, edges = np.histogram(best, bins=15, range=(0, 1))
    hits, _ = np.histogram(best[right], bins=15, range=(0, 1))
    for axes, expected in ((above, hits / np.maximum(counts, 1)), (below, counts)):
        [steps] = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
        values, bounds, _ = steps.get_data()
        assert values == pytest.approx(expected)
        assert bounds == pytest.approx(edges)
    model = next(line for line in above.lines if line.get_label() == "model")
    sums, _ = np.histogram(best, bins=15, range=(0, 1), weights=best)
    assert model.get_xdata() == pytest.approx((sums / np.maximum(counts, 1))[counts > 0], rel=1e-5)
    assert model.get_ydata() == pytest.approx((hits / np.maximum(counts, 1))[counts > 0])
    metrics = manifest("cifar10-strided")["metrics"]
    [words] = [text.get_text() for text in above.texts]
    assert words == (
        f"ECE {metrics['ece']:.2%}\n"
        f"before temperature {metrics['temperature']:g}: {metrics['ece_before_temperature']:.2%}"
    )
    assert metrics["ece"] != metrics["ece_before_temperature"]


def test_a_point_on_the_edge_of_a_reliability_diagram_is_whole() -> None:
    above = draw(request("calibration", "cifar10-batchnorm")).axes[0]
    model = next(line for line in above.lines if line.get_label() == "model")
    assert np.min(np.asarray(model.get_ydata())) == above.get_ylim()[0]  # one is on the edge
    assert not model.get_clip_on()
    assert model.get_zorder() > above.spines["bottom"].get_zorder()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["training", "weights", "confusion-matrix", "calibration"])
def test_words_stand_out_from_the_ground_in_both_themes(kind: str, theme: str) -> None:
    figure = draw(request(kind, "mnist-baseline", theme=theme))
    ground = luminance(figure.get_facecolor())
    labels = [label for axes in figure.axes for label in (*axes.get_xticklabels(), axes.xaxis.label)]
    assert labels
    for label in labels:
        lighter, darker = sorted((luminance(label.get_color()), ground), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2's contrast for text


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_learning_curves_and_weights(name: str) -> None:
    for kind in ("training", "weights"):
        assert draw(request(kind, name)).axes


def luminance(color: object) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(color)]  # type: ignore[arg-type]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
