"""How the figures look, in both themes."""

from typing import Any

from service.pictures.colours import PALETTES, Colour, Theme

DPI = 110
# Okabe and Ito's colours, distinct also for the colour-blind; the two last are lightened for a dark ground.
COLOURS: dict[Theme, tuple[str, ...]] = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9"),
    "dark": ("#56b4e9", "#ff8c42", "#2fd0a0", "#e59ac4", "#f0e442", "#a8c7fa"),
}
GUIDES: dict[Theme, str] = {"light": "#8a9099", "dark": "#7d848e"}
"""lines to judge what is drawn by"""
_GRID: dict[Theme, str] = {"light": "#d5d8dc", "dark": "#3a3f47"}


def style(theme: Theme) -> dict[Any, Any]:
    """Matplotlib's settings for a theme."""
    ink, ground, grid = _written(PALETTES[theme].ink), _written(PALETTES[theme].ground), _GRID[theme]
    return {
        "figure.facecolor": ground,
        "figure.dpi": DPI,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": ground,
        "savefig.dpi": DPI,
        "axes.facecolor": ground,
        "axes.edgecolor": grid,
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": grid,
        "grid.linewidth": 0.6,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "font.family": "DejaVu Sans",
    }


def colour(theme: Theme, at: int) -> str:
    """The colour of the model at this place."""
    return COLOURS[theme][at % len(COLOURS[theme])]


def _written(one: Colour) -> str:
    """As Matplotlib takes it."""
    return "#{:02x}{:02x}{:02x}".format(*one)
