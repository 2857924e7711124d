"""service.pictures.feature_maps: geometry and colours of small maps a person can check."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.pictures.colours import DIVERGING, PALETTES, SEQUENTIAL
from service.pictures.feature_maps import Layout, Maps, draw, plan, title
from service.pictures.tiles import GAP, enlargement, near_square, strip


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
    ("units", "columns", "rows"),
    [(1, 1, 1), (10, 10, 1), (64, 64, 1), (65, 33, 2), (392, 56, 7), (2048, 64, 32)],
)
def test_a_long_strip_is_wrapped_evenly(units: int, columns: int, rows: int) -> None:
    grid = strip(units)
    assert (grid.columns, grid.rows) == (columns, rows)


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


def test_the_sequential_map_grows_lighter_steadily() -> None:
    lightness = SEQUENTIAL @ np.array([0.2126, 0.7152, 0.0722])
    assert (lightness[8:] - lightness[:-8] > 2).all()


def test_the_diverging_map_is_as_light_on_either_side() -> None:
    lightness = DIVERGING @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(lightness - lightness[::-1]).max() < 36
    assert 126 <= lightness.argmax() <= 129
