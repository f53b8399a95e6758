"""Figures by name. Each is `SQL`, `select` (rows to facts) and `draw` (facts to ink)."""

from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.errors import FigureError
from analysis.figures import options
from analysis.figures.options import FIGURES, parse, problems
from analysis.figures.provenance import trace

__all__ = ["FIGURES", "FigureError", "check", "draw", "select", "trace"]


def check(figures: list[Any]) -> list[str]:
    """What is wrong with a sweep file's `figures:`, a sentence each; empty when nothing is."""
    return [problem for entry in figures for problem in problems(entry)]


def select(connection: Any, sweep: str, name: str, given: dict[str, Any]) -> Any:
    """What a figure shows: the facts that its `draw` puts to paper.

    Raises
    ------
    FigureError
        When it is not known or has nothing to show.
    """
    if found := problems({name: given}):
        raise FigureError(found[0])
    return _module(name).select(connection, sweep, options.made(name, given))


def _module(name: str) -> Any:
    return import_module(f"analysis.figures.{FIGURES[name].module}")


def draw(store: str | Path, sweep_name: str, figures: list[Any], out_dir: Path) -> list[Path]:
    """Draw figures of a sweep into a folder, as PDF and PNG; the paths in order.

    The n-th figure of one name is called `name-n`. Nothing is written unless all can be drawn.

    Raises
    ------
    FigureError
        When a figure is not known, has nothing to show, or nothing was asked for.
    StoreError
        When the store is missing, damaged, or does not know the sweep.
    """
    from analysis import results
    from analysis.figures import save

    if found := check(figures):
        raise FigureError(found[0])
    if not figures:
        names = ", ".join(FIGURES)
        raise FigureError(
            f"sweep {sweep_name} asks for no figures; add `figures: [{names}]` to its file"
        )
    stems: list[str] = []
    selected = []
    with results.scanning(store), results.connect(store) as connection:
        results.figures_of(connection, sweep_name)
        for name, given in map(parse, figures):
            stems.append(name)
            facts = select(connection, sweep_name, name, given)
            module = _module(name)
            about = save.about(connection, sweep_name, name, given, module.SQL, facts.runs)
            nth = stems.count(name)
            selected.append((module.draw, facts, about, name if nth == 1 else f"{name}-{nth}"))
    return [
        path
        for draw_, facts, about, stem in selected
        for path in save.save(draw_, facts, about, out_dir / stem)
    ]
