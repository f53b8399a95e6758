"""Figures by name. Each is `SQL`, `select` (rows to facts) and `draw` (facts to ink)."""

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.errors import FigureError

NAMES = {
    "accuracy-vs-sparsity": "analysis.figures.accuracy_vs_sparsity",
    "ablations": "analysis.figures.ablations",
    "density-by-layer": "analysis.figures.density_by_layer",
}

_LISTS = ("methods", "networks", "datasets")
_COMMON = {*_LISTS, "spread", "width", "title"}
OPTIONS = {
    "accuracy-vs-sparsity": _COMMON | {"chance", "floor"},
    "ablations": _COMMON,
    "density-by-layer": (_COMMON - {"spread"}) | {"densities"},
}
"""Options of each figure in a sweep file."""

_FRACTIONS = ("chance", "floor")
_CHOICES = {
    "spread": ("std", "minmax", "ci95"),
    "width": ("iclr", "neurips", "icml", "icml-column"),
}


def check(figures: list[Any]) -> list[str]:
    """What is wrong with a sweep file's `figures:`, a sentence each; empty when nothing is."""
    return [problem for entry in figures for problem in _check(*_parse(entry))]


def draw(store: str | Path, sweep: str, figures: list[Any], out: Path) -> list[Path]:
    """Draw figures of a sweep into a folder, as PDF and PNG; the paths in order.

    Raises
    ------
    FigureError
        When a figure is not known, has nothing to show, or nothing was asked for.
    """
    from analysis import results
    from analysis.figures import save

    if problems := check(figures):
        raise FigureError(problems[0])
    if not figures:
        raise FigureError(
            f"sweep {sweep} asks for no figures; add `figures: [{', '.join(NAMES)}]` to its file"
        )
    connection = results.connect(store)
    results.figures_of(connection, sweep)
    paths: list[Path] = []
    seen: dict[str, int] = {}
    for entry in figures:
        name, options = _parse(entry)
        seen[name] = seen.get(name, 0) + 1
        stem = name if seen[name] == 1 else f"{name}-{seen[name]}"
        module = import_module(NAMES[name])
        facts = module.select(connection, sweep, options)
        paths += save.save(module, facts, connection, sweep, name, options, out / stem)
    return paths


def _parse(entry: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, dict) and len(entry) == 1:
        [(name, options)] = entry.items()
        return str(name), options if isinstance(options, dict) else {}
    return str(entry), {}


def _check(name: str, options: dict[str, Any]) -> list[str]:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        return [f"no figure {name!r}; " + (f"did you mean {near[0]}?" if near else _known(NAMES))]
    problems = []
    for option, value in options.items():
        if option not in OPTIONS[name]:
            near = difflib.get_close_matches(option, OPTIONS[name], n=1)
            hint = f"did you mean {near[0]}?" if near else _known(OPTIONS[name])
            problems.append(f"{name} has no option {option!r}; {hint}")
        elif option in _CHOICES and value not in _CHOICES[option]:
            problems.append(f"{name}: {option} takes {', '.join(_CHOICES[option])}, not {value!r}")
        elif option in _FRACTIONS and not _is_fraction(value):
            problems.append(f"{name}: {option} takes a number between 0 and 1, not {value!r}")
        elif option in _LISTS and not isinstance(value, list):
            problems.append(f"{name}: {option} takes a list, not {value!r}")
    return problems


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _known(names: Any) -> str:
    return f"known: {', '.join(sorted(names))}"
