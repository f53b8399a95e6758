"""Figures by name. Each is `SQL`, `select` (rows to facts) and `draw` (facts to ink)."""

from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.errors import FigureError
from analysis.figures.options import parse, problems
from analysis.figures.provenance import trace

__all__ = ["NAMES", "FigureError", "check", "draw", "trace"]

NAMES = {
    "accuracy-vs-sparsity": "analysis.figures.accuracy_vs_sparsity",
    "accuracy-vs-pruning-step": "analysis.figures.accuracy_vs_pruning_step",
    "ablations": "analysis.figures.ablations",
    "density-by-layer": "analysis.figures.density_by_layer",
    "layer-collapse": "analysis.figures.layer_collapse",
}


def check(figures: list[Any]) -> list[str]:
    """What is wrong with a sweep file's `figures:`, a sentence each; empty when nothing is."""
    return [problem for entry in figures for problem in problems(entry)]


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
        names = ", ".join(NAMES)
        raise FigureError(
            f"sweep {sweep_name} asks for no figures; add `figures: [{names}]` to its file"
        )
    stems: list[str] = []
    made = []
    with results.scanning(store), results.connect(store) as connection:
        results.figures_of(connection, sweep_name)
        for name, given in map(parse, figures):
            stems.append(name)
            module = import_module(NAMES[name])
            facts = module.select(connection, sweep_name, given)
            about = save.about(connection, sweep_name, name, given, module.SQL, facts.runs)
            nth = stems.count(name)
            made.append((module.draw, facts, about, name if nth == 1 else f"{name}-{nth}"))
    return [
        path
        for draw_, facts, about, stem in made
        for path in save.save(draw_, facts, about, out_dir / stem)
    ]
