"""service.figures.draw: what stands in the figures, by Matplotlib's own objects."""

import json
from itertools import combinations

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.text import Text

from service.errors import NotReady, UnknownLayer
from service.figures.draw import draw
from service.figures.request import FigureRequest
from tests.service.shipped import ARTIFACTS, MODELS, latest, manifest


def request(kind: str, *names: str, **more: object) -> FigureRequest:
    models = [(name, latest(name).name) for name in names]
    return FigureRequest.model_validate({"kind": kind, "artifacts": ARTIFACTS, "models": models, **more})


def test_learning_curves_have_every_epoch_and_mark_the_readings() -> None:
    loss, accuracy = draw(request("training", "cifar10-strided")).axes
    for axes in (loss, accuracy):
        assert [np.size(line.get_xdata()) for line in axes.lines[:2]] == [50, 50]
    readings = manifest("cifar10-strided")["metrics"]["readings"]
    words = [text.get_text() for text in accuracy.texts]
    assert words == [f"epoch {one['epoch']}\ntest {one['test_accuracy']:.1%}" for one in readings]


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
    shown = sorted(int(text.get_text()) for text in axes.texts)
    matrix = manifest("mnist-baseline")["metrics"]["confusion"]
    assert shown == sorted(count for row in matrix for count in row if count)


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
