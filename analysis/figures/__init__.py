"""Figures by name. Each is `SQL`, `select` (rows to facts) and `draw` (facts to ink)."""

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
"""What figures can be written as, all of them with their provenance inside."""

MISSING = "missing"
"""What `compare` says of a file that is not there."""


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
    """A figure before its ink: the facts, what draws them, and (JSON) where they come from."""

    name: str
    facts: Any
    draw: Callable[[Any], Any]
    about: str


def check(figures: list[Any]) -> list[str]:
    """What is wrong with a sweep file's `figures:`, a sentence each; empty when nothing is."""
    return [problem for entry in figures for problem in problems(entry)]


def mistakes(source: Any) -> list[str]:
    """Return a line for each mistake in the figures of a sweep file, with its place."""
    asked = source.data.get("figures")
    return [
        f"{source.place(('figures', number))}: {problem}"
        for number, figure in enumerate(asked if isinstance(asked, list) else ())
        for problem in check([figure])
    ]


def select(connection: Any, sweep: str, name: str, given: dict[str, Any]) -> Any:
    """What a figure shows: the facts that its `draw` puts to paper.

    Raises
    ------
    FigureError
        When it is not known or has nothing to show.
    """
    return _select(connection, sweep, _request({name: given}))


def prepare(connection: Any, sweep: str, entry: Any) -> Prepared:
    """An entry of a sweep's `figures:`, ready to be drawn.

    Raises
    ------
    FigureError
        When it is not known or has nothing to show.
    """
    return _prepare(connection, sweep, _request(entry))


def draw(
    store: str | Path,
    sweep_name: str,
    figures: list[Any],
    out_dir: Path,
    formats: tuple[str, ...] = ("pdf", "png"),
) -> list[Path]:
    """Draw figures of a sweep into a folder, in these of FORMATS; the paths in order.

    The n-th figure of one name is called `name-n`. One that cannot be drawn does not keep the
    others from it.

    Raises
    ------
    FigureError
        When a figure is not known, none of them has anything to show, or none was asked for.
    NotAllDrawn
        When some have nothing to show, after the others are drawn.
    StoreError
        When the store is missing, damaged, or does not know the sweep.
    """
    from analysis.figures import save

    suffixes = known_formats(formats)
    drawn: list[Path] = []
    problems: list[str] = []
    for stem, one in _prepared(store, sweep_name, figures):
        try:
            if isinstance(one, FigureError):
                raise one
            drawn += save.save(one.draw, one.facts, one.about, out_dir / stem, suffixes)
        except TombolaError as error:
            problems.append(f"{stem} is not drawn: {error}")
    if problems and not drawn:
        raise FigureError("; ".join(problems))
    if problems:
        raise NotAllDrawn(problems, drawn)
    return drawn


def made(name: str, store: str | Path, sweep_name: str, given: dict[str, Any]) -> Any:
    """A figure as a matplotlib Figure in our style; writes nothing. Raises as `draw` does."""
    from analysis import style

    [(_, one)] = _prepared(store, sweep_name, [{name: given}])
    if isinstance(one, FigureError):
        raise one
    with style.style():
        return one.draw(one.facts)


def compare(
    store: str | Path,
    sweep_name: str,
    figures: list[Any],
    out_dir: Path,
    formats: tuple[str, ...] = ("pdf", "png"),
) -> dict[Path, list[str]]:
    """Why each file that `draw` would write differs from what is there; fresh ones have none.

    Writes nothing. Raises as `draw` does.
    """
    found = {}
    for stem, one in _prepared(store, sweep_name, figures):
        for suffix in known_formats(formats):
            path = out_dir / f"{stem}.{suffix}"
            if isinstance(one, FigureError):
                found[path] = [f"it cannot be drawn: {one}"]
            else:
                found[path] = _differences(path, json.loads(one.about))
    return found


def ledger(store: str | Path, sweep_name: str, figures: list[Any]) -> Any:
    """What each figure took, as an Arrow table (see costing.by_figure). Raises as `draw` does."""
    from analysis.database.connection import connect, scanning
    from analysis.figures import costing

    drawn = {
        stem: one.facts.runs
        for stem, one in _prepared(store, sweep_name, figures)
        if not isinstance(one, FigureError)
    }
    with scanning(store), connect(store) as connection:
        return costing.by_figure(connection, sweep_name, drawn)


def draw_published(
    name: str, out_dir: Path, formats: tuple[str, ...] = ("pdf", "png")
) -> list[Path]:
    """Draw published numbers again, as `name`.pdf and so on; the paths.

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
    """The same formats, each once.

    Raises
    ------
    FigureError
        When there are none, or one of them is not of FORMATS.
    """
    for one in formats:
        if one not in FORMATS:
            raise FigureError(f"no format {one!r}; known: {', '.join(FORMATS)}")
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
    """What is asked for by the name of its file, selected in one snapshot, or why it cannot be."""
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
