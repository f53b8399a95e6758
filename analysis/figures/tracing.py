"""Comparison of a figure's file with a store: the runs behind it, and whether it is fresh."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import duckdb
import pyarrow as pa

from analysis import figures, reference
from analysis.database import sql
from analysis.database.connection import connect, count, scanning
from analysis.database.rows import Row, query_rows
from analysis.selection import options, selection
from tombola.errors import FigureError, TombolaError

_CURVE = ("network", "dataset", "method", "ablation")
_RUNS = pa.schema(
    [
        *((name, pa.string()) for name in _CURVE),
        ("density", pa.float64()),
        ("replicate", pa.int32()),
        ("key", pa.string()),
        ("accuracy", pa.float64()),
        ("host", pa.string()),
        ("device", pa.string()),
        ("started_at", pa.timestamp("us")),
    ]
)
_SWEEPS = "SELECT DISTINCT sweep FROM sweeps"
_WHERE = "SELECT key, host, device, started_at FROM tasks WHERE key IN (SELECT unnest($keys))"
_SHORT = 12


class Standing(NamedTuple):
    """State of a figure's file for a store, and the reasons.

    `unknown`: the store lacks the sweep of the figure. `foreign`: the file has no provenance.
    """

    word: Literal["fresh", "stale", "unknown", "foreign"]
    why: Sequence[str] = ()


def standings(store: str | Path, places: Iterable[Path]) -> dict[Path, Standing]:
    """Return the standing of each file, and of each PDF, PNG and SVG below a folder.

    Raises
    ------
    FigureError
        When a file or folder does not exist.
    StoreError
        When the store is missing or damaged.
    """
    texts = {path: _provenance(path) for place in places for path in _pictures(place)}
    with scanning(store), connect(store) as connection:
        known = _known(connection)
        # Each text once: the PDF and the PNG of a figure have the same.
        by_text = {t: _standing(connection, known, json.loads(t)) for t in set(texts.values())}
    return {path: by_text[text] for path, text in texts.items()}


def sweeps(store: str | Path) -> set[str]:
    """Return the names of the sweeps in a store."""
    with count(store) as connection:
        return _known(connection)


def runs(connection: duckdb.DuckDBPyConnection, about: dict[str, Any]) -> pa.Table:
    """Return a row for each trial that the figure's own SQL selects now.

    `key` is the beginning of the key of the run, or of the mask if nothing was trained. `density`
    is the requested density. `accuracy` is top-1 on test at the last step, a fraction.

    Raises
    ------
    TombolaError
        When this version does not know the figure or its SQL, or the SQL selects nothing.
    """
    given = _given(about)
    chosen: Sequence[Row]
    if isinstance(given, options.Options):
        chosen = _chosen(connection, about, given)
    else:
        chosen = _shown(connection, about)
    by_key = {(row["trial"], selection.answer(row)): row for row in sorted(chosen, key=_order)}
    keys = sorted({key for _, key in by_key})
    where = {key: rest for key, *rest in connection.execute(_WHERE, {"keys": keys}).fetchall()}
    columns = _RUNS.names
    rows = [
        dict(zip(columns, _point(row, key, where.get(key, [None] * 3)), strict=True))
        for (_, key), row in by_key.items()
    ]
    return pa.Table.from_pylist(rows, _RUNS)


def changes(connection: duckdb.DuckDBPyConnection, about: dict[str, Any]) -> list[str]:
    """Return why a figure would differ if it were drawn now; empty if it is fresh."""
    given = about.get("options") or {}
    _given(about)
    try:
        now = figures.prepare(connection, about["sweep"], {about["figure"]: given}).about
    except TombolaError as error:
        return [str(error)]
    return figures.changes(about, json.loads(now))


def is_published(about: dict[str, Any]) -> bool:
    """Return whether a figure shows only published numbers, without runs."""
    return "sha256" in about


def published_changes(about: dict[str, Any]) -> list[str]:
    """Return why a figure of published numbers would differ if drawn now; empty if fresh."""
    name = str(about["figure"]).removeprefix("reference ")
    if reference.sha256_of(name) == about["sha256"]:
        return []
    return ["this version has other published numbers"]


# ---------------------------------------------------------------- details


def _known(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for (name,) in connection.execute(_SWEEPS).fetchall()}


def _pictures(place: Path) -> list[Path]:
    if not place.exists():
        raise FigureError(f"{place}: no such file or folder")
    if not place.is_dir():
        return [place]
    endings = {f".{suffix}" for suffix in figures.FORMATS}
    return sorted(path for path in place.rglob("*") if path.suffix in endings)


def _provenance(path: Path) -> str:
    try:
        return json.dumps(figures.trace(path), sort_keys=True)
    except FigureError:
        return "null"


def _standing(
    connection: duckdb.DuckDBPyConnection, known: set[str], about: dict[str, Any] | None
) -> Standing:
    if about is None:
        return Standing("foreign", ["it does not say where it comes from"])
    published = is_published(about)
    if not published and "sql" not in about:
        return Standing("unknown", ["it is not drawn from results"])
    if not published and about.get("sweep") not in known:
        return Standing("unknown", [f"the store has no sweep {about.get('sweep')}"])
    try:
        why = published_changes(about) if published else changes(connection, about)
    except TombolaError as error:  # a figure, an option or a reference of an earlier version
        why = [str(error)]
    return Standing("stale", why) if why else Standing("fresh")


def _chosen(
    connection: duckdb.DuckDBPyConnection, about: dict[str, Any], given: options.Options
) -> Sequence[Row]:
    """Select the trials of the figure by its own SQL: its first statement, if several."""
    first, *_ = sql.admitted(about["sql"])  # the file may come from anyone
    try:
        return selection.choose(connection, about["sweep"], given, first).rows
    except (duckdb.Error, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise FigureError(f"the figure's SQL is of another version: {reason}") from None


def _shown(connection: duckdb.DuckDBPyConnection, about: dict[str, Any]) -> Sequence[Row]:
    """Return the trials behind a figure that shows tasks, such as a timeline."""
    given = about.get("options") or {}
    facts = figures.select(connection, about["sweep"], about["figure"], given)
    rows = query_rows(connection, selection.SQL, {"sweep": about["sweep"]})
    return [row for row in rows if selection.answer(row) in set(facts.runs)]


def _given(about: dict[str, Any]) -> options.AnyOptions:
    """Return the options in the provenance, after checking them."""
    name, given = str(about["figure"]), about.get("options") or {}
    problems = options.problems({name: given})
    if problems or not isinstance(about.get("sql"), str) or not isinstance(about.get("sweep"), str):
        raise FigureError(f"not a figure of this version: {(problems or ['no SQL or sweep'])[0]}")
    return options.made(name, given)


def _order(row: Row) -> tuple[Any, ...]:
    return *selection.of(row, _CURVE), -row["requested_density"], row["replicate"]


def _point(row: Row, key: str, where: list[Any]) -> tuple[Any, ...]:
    return (
        *selection.of(row, (*_CURVE, "requested_density", "replicate")),
        key[:_SHORT],
        row["accuracy"],
        *where,
    )
