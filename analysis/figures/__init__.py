"""Figures by name. Each is `SQL`, `select` (rows to facts) and `draw` (facts to ink)."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.errors import FigureError
from analysis.figures import options
from analysis.figures.options import FIGURES, parse, problems
from analysis.figures.provenance import trace

__all__ = ["FIGURES", "FigureError", "Prepared", "check", "draw", "prepare", "select", "trace"]


@dataclass(frozen=True)
class Prepared:
    """A figure before its ink: the facts, what draws them, and (JSON) where they come from."""

    name: str
    facts: Any
    draw: Callable[[Any], Any]
    about: str


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


def prepare(connection: Any, sweep: str, entry: Any) -> Prepared:
    """An entry of a sweep's `figures:`, ready to be drawn.

    Raises
    ------
    FigureError
        When it is not known or has nothing to show.
    """
    from analysis.figures import save

    if found := problems(entry):
        raise FigureError(found[0])
    name, given = parse(entry)
    module = _module(name)
    facts = select(connection, sweep, name, given)
    about = save.about(connection, sweep, name, given, module.SQL, facts.runs)
    return Prepared(name, facts, module.draw, about)


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
        known = ", ".join(FIGURES)
        raise FigureError(
            f"sweep {sweep_name} asks for no figures; add `figures: [{known}]` to its file"
        )
    with results.scanning(store), results.connect(store) as connection:
        results.figures_of(connection, sweep_name)
        prepared = [prepare(connection, sweep_name, entry) for entry in figures]
    names = [figure.name for figure in prepared]
    paths: list[Path] = []
    for number, figure in enumerate(prepared):
        nth = names[: number + 1].count(figure.name)
        stem = figure.name if nth == 1 else f"{figure.name}-{nth}"
        paths += save.save(figure.draw, figure.facts, figure.about, out_dir / stem)
    return paths
