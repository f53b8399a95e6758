"""How figures look: one place for colours, markers, words and sizes.

Colours are Okabe and Ito's, distinct for colour-blind readers; a method has the same colour
and marker in every figure. Fonts are embedded as TrueType.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

WIDTHS = {"iclr": 5.5, "neurips": 5.5, "icml": 6.75, "icml-column": 3.25}
"""Text widths in inches."""


@dataclass(frozen=True)
class Look:
    """Colour and marker of a method."""

    colour: str
    marker: str
    label: str


METHODS = {
    "random": Look("#7F7F7F", "x", "Random"),
    "magnitude": Look("#0072B2", "s", "Magnitude at init"),
    "snip": Look("#D55E00", "^", "SNIP"),
    "grasp": Look("#E69F00", "v", "GraSP"),
    "synflow": Look("#009E73", "D", "SynFlow"),
    "magnitude_after_training": Look("#56B4E9", "P", "Magnitude after training"),
    "imp": Look("#CC79A7", "o", "IMP"),
}
_OTHERS = (("#882255", "<"), ("#117733", ">"), ("#332288", "h"), ("#999933", "*"))

DENSE = "#222222"

ABLATIONS = {
    "none": Look("#222222", "o", "Unmodified"),
    "shuffle": Look("#D55E00", "^", "Shuffled within layers"),
    "reinit": Look("#0072B2", "s", "Reinitialised"),
    "invert": Look("#009E73", "v", "Inverted scores"),
}

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "lines.markeredgewidth": 0.9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 0.0,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "tombola",
    "svg.fonttype": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for our figures, for as long as the context lasts."""
    from matplotlib import rc_context

    with rc_context(_RC):
        yield


def look(method: str) -> Look:
    """The look of a method; one we do not know gets the same look everywhere too."""
    if method in METHODS:
        return METHODS[method]
    colour, marker = _OTHERS[sum(method.encode()) % len(_OTHERS)]
    return Look(colour, marker, method.replace("_", " "))


def lighter(colour: str, amount: float) -> str:
    """The colour mixed with white: amount 0 leaves it, 1 is white."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (255 - c) * amount):02X}" for c in channels)


def percent(fraction: float) -> str:
    """A density as its axis says it: 100, 51.2, 6.9, 1.8, 0.13."""
    value = 100 * fraction
    digits = 0 if value >= 99.95 else 1 if value >= 1 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}"
