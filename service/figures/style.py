"""How the figures look, in both themes."""

from typing import Any, Literal

Theme = Literal["light", "dark"]

DPI = 110
# Okabe and Ito's colours, distinct also for the colour-blind; the two last are lightened for a dark ground.
COLOURS = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9"),
    "dark": ("#56b4e9", "#ff8c42", "#2fd0a0", "#e59ac4", "#f0e442", "#a8c7fa"),
}
_GROUND = {"light": "#ffffff", "dark": "#14161a"}
_INK = {"light": "#1c1e21", "dark": "#e8eaed"}
_FAINT = {"light": "#d5d8dc", "dark": "#3a3f47"}


def style(theme: Theme) -> dict[Any, Any]:
    """Matplotlib's settings for a theme."""
    ink, ground, faint = _INK[theme], _GROUND[theme], _FAINT[theme]
    return {
        "figure.facecolor": ground,
        "figure.dpi": DPI,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": ground,
        "savefig.dpi": DPI,
        "axes.facecolor": ground,
        "axes.edgecolor": faint,
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
        "grid.color": faint,
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


def faint(theme: Theme) -> str:
    """Of lines that are not the matter."""
    return "#8a9099" if theme == "light" else "#7d848e"
