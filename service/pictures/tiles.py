"""Many small pictures in one: rows and columns of equal tiles, a pixel apart."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GAP = 1  # px between tiles
WIDEST = 64  # tiles in a row of a strip
_TILE = 60  # px that an enlarged tile's longer side comes close to


class Grid(NamedTuple):
    """Where the tiles stand."""

    columns: int
    rows: int
    width: int
    """of a tile, px, enlarged"""
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole, px."""
        return (
            self.columns * self.width + (self.columns - 1) * GAP,
            self.rows * self.height + (self.rows - 1) * GAP,
        )

    def corner(self, tile: int) -> tuple[int, int]:
        """Left and top of a tile, px from the grid's own corner."""
        row, column = divmod(tile, self.columns)
        return column * (self.width + GAP), row * (self.height + GAP)


def enlargement(height: int, width: int) -> int:
    """The whole number that brings a tile's longer side closest to 60 px: 40 … 80 where there is a choice."""
    return max(1, round(_TILE / max(height, width)))


def near_square(count: int, height: int, width: int) -> Grid:
    """For `count` tiles [height,width]: about as wide as high, the last row as ragged as it must be."""
    scale = enlargement(height, width)
    columns = max(1, min(count, math.ceil(math.sqrt(count * height / width))))
    return Grid(columns, math.ceil(count / columns), width * scale, height * scale)


def strip(count: int) -> Grid:
    """For a vector of `count` units: one row, wrapped evenly where it would pass 64; many rows are lower ones."""
    rows = math.ceil(count / WIDEST)
    columns = math.ceil(count / rows)
    width = min(40, max(9, 560 // columns))
    if rows == 1:
        return Grid(columns, rows, width, 40)
    return Grid(columns, rows, width, 24 if rows <= 16 else 12)


def arrange(tiles: NDArray[np.uint8], grid: Grid, ground: tuple[int, int, int]) -> NDArray[np.uint8]:
    """uint8 [N,h,w,3] → [H,W,3], each tile enlarged by whole numbers to its nearest pixels."""
    count, height, width, _ = tiles.shape
    places = grid.rows * grid.columns
    cells = np.empty((places, grid.height + GAP, grid.width + GAP, 3), np.uint8)
    cells[:] = ground
    enlarged = tiles.repeat(grid.height // height, axis=1).repeat(grid.width // width, axis=2)
    cells[:count, : grid.height, : grid.width] = enlarged
    rows = cells.reshape(grid.rows, grid.columns, grid.height + GAP, grid.width + GAP, 3)
    whole = rows.transpose(0, 2, 1, 3, 4).reshape(
        grid.rows * (grid.height + GAP), grid.columns * (grid.width + GAP), 3
    )
    return whole[:-GAP, :-GAP]
