"""Widths of text, which figures are laid out by."""

from matplotlib import rc_context

from analysis import style
from analysis.figures import axes


def test_a_width_is_that_of_the_font_which_is_set() -> None:
    with rc_context({"font.family": ["DejaVu Sans Mono"]}):
        wide = axes.inches("iterations, measured")
    with style.style():
        narrow = axes.inches("iterations, measured")
    assert narrow < wide
