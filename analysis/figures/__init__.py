"""Figures by name: each kind has its `SQL`, `select` (rows → facts) and `draw` (facts → figure)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.figures.provenance import changes, trace
from analysis.selection import options
from analysis.selection.options import FIGURES, parse, problems
from tombola.errors import (
    FigureError,
    NotAllDrawn,
    PublishedError,
    StatisticsError,
    TombolaError,
)

__all__ = [
    "FIGURES",
    "FORMATS",
    "MISSING",
    "FigureError",
    "Prepared",
    "changes",
    "check",
    "compare",
    "draw",
    "draw_published",
    "known_formats",
    "ledger",
    "made",
    "mistakes",
    "prepare",
    "select",
    "trace",
]

FORMATS = ("pdf", "png", "svg")
"""File formats of figures; each file contains its provenance."""

MISSING = "missing"
"""Result of `compare` for a missing file."""


@dataclass(frozen=True)
class _Request:
    """A valid entry of `figures:`: the figure, its options as written, and their values."""

    name: str
    given: dict[str, Any]
    options: options.AnyOptions

    @property
    def module(self) -> Any:
        """Module with the `SQL`, `select` and `draw` of the figure."""
        return import_module(f"analysis.figures.kinds.{FIGURES[self.name].module}")


@dataclass(frozen=True)
class Prepared:
    """A figure before it is drawn: its facts, its draw function and its provenance (JSON)."""

    name: str
    facts: Any
    draw: Callable[[Any], Any]
    about: str


def check(figures: list[Any]) -> list[str]:
    """Return the mistakes in a sweep file's `figures:`, a sentence each."""
    return [problem for entry in figures for problem in problems(entry)]


def mistakes(source: Any) -> list[str]:
    """Return a line for each mistake in the figures of a sweep file, with its place."""
    entries = source.data.get("figures")
    return [
        f"{source.place(('figures', number))}: {problem}"
        for number, figure in enumerate(entries if isinstance(entries, list) else ())
        for problem in check([figure])
    ]


def select(connection: Any, sweep: str, name: str, given: dict[str, Any]) -> Any:
    """Return the facts of a figure, which its `draw` draws.

    Raises
    ------
    FigureError
        When the figure is unknown or has nothing to show.
    """
    return _select(connection, sweep, _request({name: given}))


def prepare(connection: Any, sweep: str, entry: Any) -> Prepared:
    """Prepare an entry of a sweep's `figures:` for drawing.

    Raises
    ------
    FigureError
        When the figure is unknown or has nothing to show.
    """
    return _prepare(connection, sweep, _request(entry))


def draw(
    store: str | Path,
    sweep_name: str,
    figures: list[Any],
    out_dir: Path,
    formats: tuple[str, ...] = ("pdf", "png"),
) -> list[Path]:
    """Draw figures of a sweep into a folder, in some of FORMATS; return the paths.

    The n-th figure of one name is called `name-n`. If one cannot be drawn, the others are drawn.

    Raises
    ------
    FigureError
        When a figure is unknown, the list is empty, or no figure has anything to show.
    NotAllDrawn
        When some figures have nothing to show, after the others are drawn.
    StoreError
        When the store is missing or damaged, or has no such sweep.
    """
    from analysis.figures import save

    suffixes = known_formats(formats)
    drawn: list[Path] = []
    problems: list[str] = []
    for stem, figure in _prepared(store, sweep_name, figures):
        try:
            if isinstance(figure, FigureError):
                raise figure
            drawn += save.save(figure.draw, figure.facts, figure.about, out_dir / stem, suffixes)
        except TombolaError as error:
            problems.append(f"{stem} is not drawn: {error}")
    if problems and not drawn:
        raise FigureError("; ".join(problems))
    if problems:
        raise NotAllDrawn(problems, drawn)
    return drawn


def made(name: str, store: str | Path, sweep_name: str, given: dict[str, Any]) -> Any:
    """Return a figure as a matplotlib Figure in our style. Raises like `draw`."""
    from analysis import style

    [(_, figure)] = _prepared(store, sweep_name, [{name: given}])
    if isinstance(figure, FigureError):
        raise figure
    with style.style():
        return figure.draw(figure.facts)


def compare(
    store: str | Path,
    sweep_name: str,
    figures: list[Any],
    out_dir: Path,
    formats: tuple[str, ...] = ("pdf", "png"),
) -> dict[Path, list[str]]:
    """Return why each file differs from the one that `draw` would write; fresh files: [].

    Nothing is written. Raises like `draw`.
    """
    reasons = {}
    for stem, figure in _prepared(store, sweep_name, figures):
        for suffix in known_formats(formats):
            path = out_dir / f"{stem}.{suffix}"
            if isinstance(figure, FigureError):
                reasons[path] = [f"it cannot be drawn: {figure}"]
            else:
                reasons[path] = _differences(path, json.loads(figure.about))
    return reasons


def ledger(store: str | Path, sweep_name: str, figures: list[Any]) -> Any:
    """Return the cost of each figure, an Arrow table (costing.by_figure). Raises like `draw`."""
    from analysis.database.connection import connect, scanning
    from analysis.figures import costing

    drawn = {
        stem: figure.facts.runs
        for stem, figure in _prepared(store, sweep_name, figures)
        if not isinstance(figure, FigureError)
    }
    with scanning(store), connect(store) as connection:
        return costing.by_figure(connection, sweep_name, drawn)


def draw_published(
    name: str, out_dir: Path, formats: tuple[str, ...] = ("pdf", "png")
) -> list[Path]:
    """Draw published numbers into `name`.pdf and so on; return the paths.

    Raises
    ------
    PublishedError
        When there is no such reference, or it has no curves.
    """
    from analysis.figures import save
    from analysis.figures.kinds import published_grid

    facts = published_grid.select(name)
    about = published_grid.about(name)
    return save.save(published_grid.draw, facts, about, out_dir / name, known_formats(formats))


def known_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Return the formats, each once, after checking them.

    Raises
    ------
    FigureError
        When the list is empty, or a format is not in FORMATS.
    """
    for suffix in formats:
        if suffix not in FORMATS:
            raise FigureError(f"no format {suffix!r}; known: {', '.join(FORMATS)}")
    if not formats:
        raise FigureError(f"no format; known: {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(formats))


def _differences(path: Path, now: dict[str, Any]) -> list[str]:
    if not path.exists():
        return [MISSING]
    try:
        return changes(trace(path), now)
    except FigureError:
        return ["it does not say where it comes from"]


def _prepared(
    store: str | Path, sweep: str, figures: list[Any]
) -> list[tuple[str, Prepared | FigureError]]:
    """Prepare figures from one snapshot: (file stem, figure or why it cannot be drawn)."""
    from analysis.database.connection import connect, figures_of, scanning

    requests = [_request(entry) for entry in figures]
    if not requests:
        known = ", ".join(FIGURES)
        raise FigureError(
            f"sweep {sweep} asks for no figures; add `figures: [{known}]` to its file"
        )
    with scanning(store), connect(store) as connection:
        figures_of(connection, sweep)
        prepared = [_prepared_or_why(connection, sweep, request) for request in requests]
    names = [request.name for request in requests]
    nths = [names[: number + 1].count(name) for number, name in enumerate(names)]
    stems = [name if nth == 1 else f"{name}-{nth}" for name, nth in zip(names, nths, strict=True)]
    return list(zip(stems, prepared, strict=True))


def _request(entry: Any) -> _Request:
    if mistakes := problems(entry):
        raise FigureError(mistakes[0])
    name, given = parse(entry)
    return _Request(name, given, options.made(name, given))


def _select(connection: Any, sweep: str, request: _Request) -> Any:
    return request.module.select(connection, sweep, request.options)


def _prepare(connection: Any, sweep: str, request: _Request) -> Prepared:
    from analysis.figures import save

    facts = _select(connection, sweep, request)
    about = save.about(
        connection, sweep, request.name, request.given, request.module.SQL, facts.runs
    )
    return Prepared(request.name, facts, request.module.draw, about)


def _prepared_or_why(connection: Any, sweep: str, request: _Request) -> Prepared | FigureError:
    try:
        return _prepare(connection, sweep, request)
    except FigureError as error:
        return error
    except (StatisticsError, PublishedError) as error:
        return FigureError(str(error))
