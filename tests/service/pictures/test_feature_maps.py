"""service.pictures.feature_maps: geometry and colours of small maps a person can check."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.pictures.colours import DIVERGING, PALETTES, SEQUENTIAL
from service.pictures.feature_maps import Layout, Maps, draw, plan, title
from service.pictures.text import MARGIN
from service.pictures.tiles import GAP, enlargement, near_square, strip
from tests.service.pictures.conftest import Box, Line, apart


def maps_of(values: NDArray[np.float32], **changes: object) -> Maps:
    given: dict[str, object] = {
        "layer": "conv2d",
        "values": values,
        "shape": values.shape,
        "channels": range(values.shape[-1]),
        "low": float(values.min()),
        "high": float(values.max()),
        "signed": bool(values.min() < 0),
    }
    return Maps(**{**given, **changes})  # type: ignore[arg-type]


def tile(picture: NDArray[np.uint8], layout: Layout, at: int) -> NDArray[np.uint8]:
    left, top = layout.grid.corner(at)
    left, top = left + layout.left, top + layout.top
    return picture[top : top + layout.grid.height, left : left + layout.grid.width]


def drawn(maps: Maps) -> tuple[NDArray[np.uint8], Layout]:
    return np.asarray(draw(maps)), plan(maps)


@pytest.mark.parametrize("side", range(1, 81))
def test_a_tile_is_about_40_to_80_pixels(side: int) -> None:
    assert 40 <= side * enlargement(side, side) <= 80


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (3, 2, 2), (16, 4, 4), (17, 5, 4), (32, 6, 6), (128, 12, 11)]
)
def test_the_grid_is_near_square(count: int, columns: int, rows: int) -> None:
    grid = near_square(count, 13, 13)
    assert (grid.columns, grid.rows) == (columns, rows)
    assert grid.size == (columns * 65 + columns - 1, rows * 65 + rows - 1)


@pytest.mark.parametrize(
    ("units", "columns", "rows", "width", "height"),
    [
        (1, 1, 1, 40, 40),
        (10, 10, 1, 40, 40),
        (64, 64, 1, 9, 40),
        (65, 33, 2, 16, 24),
        (392, 56, 7, 10, 24),
        (1024, 64, 16, 9, 24),
        (1025, 61, 17, 9, 12),
        (2048, 64, 32, 9, 12),
    ],
)
def test_a_long_strip_is_wrapped_evenly_and_grows_no_higher_than_a_screen(
    units: int, columns: int, rows: int, width: int, height: int
) -> None:
    assert strip(units) == (columns, rows, width, height)


def test_every_value_is_a_block_of_its_colour_and_the_last_row_is_ragged() -> None:
    values = np.zeros((4, 4, 5), np.float32)
    values[1, 2, 3] = 2.0
    values[0, 0, 4] = 1.0
    picture, layout = drawn(maps_of(values))
    assert picture.shape == (layout.height, layout.width, 3)
    assert (layout.grid.columns, layout.grid.rows, layout.grid.width) == (3, 2, 60)
    peak = tile(picture, layout, 3)
    assert (peak[15:30, 30:45] == SEQUENTIAL[255]).all()
    peak = peak.copy()
    peak[15:30, 30:45] = SEQUENTIAL[0]
    assert (peak == SEQUENTIAL[0]).all()
    assert (tile(picture, layout, 4)[:15, :15] == SEQUENTIAL[128]).all()
    assert (tile(picture, layout, 5) == PALETTES["light"].ground).all()
    left, top = layout.left + 60, layout.top
    assert (picture[top : top + 121, left : left + GAP] == PALETTES["light"].ground).all()


def test_signed_layers_have_0_in_the_middle() -> None:
    values = np.array([[[-1.0, 0.0, 2.0]]], np.float32)
    picture, layout = drawn(maps_of(values))
    colours = [tile(picture, layout, at)[0, 0] for at in range(3)]
    assert (colours[2] == DIVERGING[255]).all()
    assert (colours[1] == DIVERGING[128]).all()
    assert (colours[0] == DIVERGING[64]).all()


def test_a_signed_layer_without_negative_values_here_keeps_its_colours() -> None:
    values = np.array([[[0.0, 2.0]]], np.float32)
    picture, layout = drawn(maps_of(values, signed=True))
    assert (tile(picture, layout, 0)[0, 0] == DIVERGING[128]).all()
    assert (tile(picture, layout, 1)[0, 0] == DIVERGING[255]).all()


def test_a_scale_for_each_channel_shows_the_weak_ones() -> None:
    values = np.zeros((1, 2, 2), np.float32)
    values[0, 1] = [0.5, 4.0]
    layer, layout = drawn(maps_of(values))
    channel, _ = drawn(maps_of(values, scale="channel"))
    assert (tile(layer, layout, 0)[0, -1] == SEQUENTIAL[32]).all()
    for at in range(2):
        assert (tile(channel, layout, at)[0, -1] == SEQUENTIAL[255]).all()


def test_a_global_scale_is_the_one_given() -> None:
    values = np.full((1, 1, 1), 2.0, np.float32)
    picture, layout = drawn(maps_of(values, low=0.0, high=4.0, scale="global"))
    assert (tile(picture, layout, 0) == SEQUENTIAL[128]).all()


def test_a_layer_of_zeros_is_dark_and_not_an_error() -> None:
    picture, layout = drawn(maps_of(np.zeros((3, 3, 2), np.float32)))
    assert (tile(picture, layout, 1) == SEQUENTIAL[0]).all()


def test_values_beyond_the_scale_are_its_ends() -> None:
    values = np.array([[[9.0]]], np.float32)
    picture, layout = drawn(maps_of(values, low=0.0, high=4.0, scale="global"))
    assert (tile(picture, layout, 0) == SEQUENTIAL[255]).all()


@pytest.mark.parametrize("units", [1, 10, 392])
def test_a_vector_is_a_strip_of_its_units(units: int) -> None:
    values = np.arange(1, units + 1, dtype=np.float32)
    picture, layout = drawn(maps_of(values, layer="dense"))
    assert (tile(picture, layout, units - 1) == SEQUENTIAL[255]).all()


def test_the_title_says_shape_and_range() -> None:
    values = np.zeros((13, 12, 32), np.float32)
    values[0, 0, 0] = 1.138
    assert title(maps_of(values)) == "conv2d · 32 × 13 × 12 · 0.00 … 1.14"
    some = maps_of(values[..., :2] - 1, shape=(13, 12, 32), channels=[0, 1])
    assert title(some) == "conv2d · 32 × 13 × 12 · 2 of 32 · −1.00 … 0.14"
    wide, narrow = np.array([1e-3, 12345], np.float32), np.array([-1e-3, 0.5], np.float32)
    assert title(maps_of(wide, layer="dense")) == "dense · 2 · 0.00 … 1.23e+04"
    assert title(maps_of(narrow, layer="dense")) == "dense · 2 · −0.001 … 0.50"


@pytest.mark.parametrize("shape", [(13, 13, 16), (5, 9, 3), (1, 1, 128), (392,), (2048,)])
def test_rows_are_numbered_by_their_first_channels(lines: list[Line], shape: tuple[int, ...]) -> None:
    channels = range(100, 100 + shape[-1])
    maps = maps_of(np.ones(shape, np.float32), channels=channels)
    picture, layout = draw(maps), plan(maps)
    grid, numbers = layout.grid, [line for line in lines if line.box[2] < layout.left]
    every = 2 if shape == (2048,) else 1  # rows lower than the type
    assert [line.text for line in numbers] == [str(one) for one in channels[:: every * grid.columns]]
    for at, line in enumerate(numbers):
        _, top = grid.corner(at * every * grid.columns)
        middle = layout.top + top + grid.height / 2
        assert (line.box[1] + line.box[3]) / 2 == pytest.approx(middle, abs=1.5)
    assert apart([line.box for line in lines], picture.size)


def test_units_with_names_have_them_below(lines: list[Line]) -> None:
    names = ["airplane", "a very long name", "cat"]
    maps = maps_of(np.arange(3, dtype=np.float32), layer="softmax", labels=names)
    picture, layout = draw(maps), plan(maps)
    below = [line for line in lines if line.text in names]
    assert [line.text for line in below] == names
    bar = layout.height - MARGIN - 24
    tiles = list[Box]()
    for at, line in enumerate(below):
        left, top = layout.grid.corner(at)
        left, top = layout.left + left, layout.top + top
        tiles.append((left, top, left + layout.grid.width, top + layout.grid.height))
        assert (line.box[0] + line.box[2]) / 2 == pytest.approx(left + layout.grid.width / 2, abs=1)
        assert 0 < line.box[1] - tiles[-1][3] < 10
    others = [*tiles, (layout.left, bar, layout.left + 180, bar + 8)]
    assert apart([*others, *(line.box for line in lines)], picture.size)
    assert len(lines) == 1 + len(names) + 3  # the title and the legend, but no numbers of channels


def test_a_picture_is_as_wide_as_its_title(lines: list[Line]) -> None:
    picture = draw(maps_of(np.ones((2, 2, 1), np.float32), layer="a_layer_whose_name_" + "is_long_" * 9))
    assert apart([line.box for line in lines], picture.size)


ONE, EACH, MANY = "one scale for the layer", "a scale for each channel", "scale of many test images"


@pytest.mark.parametrize(
    ("scale", "lowest", "units", "legend"),
    [
        ("layer", 0, False, ["0.00", "4.00", ONE]),
        ("layer", -1, False, ["−4.00", "0", "4.00", ONE]),
        ("channel", 0, False, ["0", "max", EACH]),
        ("channel", -1, False, ["−max", "0", "max", EACH]),
        ("channel", 0, True, ["0.00", "4.00", ONE]),  # the units of a vector share one
        ("global", 0, False, ["0.00", "4.00", MANY]),
        ("global", -1, True, ["−4.00", "0", "4.00", MANY]),
    ],
)
def test_the_legend_says_what_the_bar_spans(
    lines: list[Line], scale: str, lowest: float, *, units: bool, legend: list[str]
) -> None:
    shape = (6,) if units else (1, 2, 3)
    values = np.linspace(lowest, 2, 6, dtype=np.float32).reshape(shape)
    maps = maps_of(values, scale=scale, low=float(lowest), high=4.0)
    picture, layout = draw(maps), plan(maps)
    assert (lines[0].text, lines[0].box[1] < layout.top) == (title(maps), True)
    written = [line for line in lines if line.box[1] > layout.top + layout.grid.size[1]]
    assert sorted(line.text for line in written) == sorted(legend)
    ordered = sorted(written, key=lambda line: line.box[0])
    assert [line.text for line in ordered] == legend
    bar = np.argwhere((np.asarray(picture)[-MARGIN - 24] != PALETTES["light"].ground).any(-1))
    assert (ordered[0].box[0], ordered[-2].box[2]) == pytest.approx((bar.min(), bar.max() + 1), abs=2)
    assert apart([line.box for line in lines], picture.size)


def test_the_sequential_map_grows_lighter_steadily() -> None:
    lightness = SEQUENTIAL @ np.array([0.2126, 0.7152, 0.0722])
    assert (lightness[8:] - lightness[:-8] > 2).all()


def test_the_diverging_map_is_as_light_on_either_side() -> None:
    lightness = DIVERGING @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(lightness - lightness[::-1]).max() < 36
    assert 126 <= lightness.argmax() <= 129
