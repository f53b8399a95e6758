"""From a figure's provenance back to the store: the runs behind it, and whether it is fresh."""

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
    """How a figure's file stands to a store, and why.

    `unknown`: the store has nothing that it was drawn from; `foreign`: it does not say what it
    comes from.
    """

    word: Literal["fresh", "stale", "unknown", "foreign"]
    why: Sequence[str] = ()


def standings(store: str | Path, places: Iterable[Path]) -> dict[Path, Standing]:
    """Each file, and each PDF, PNG and SVG below a folder, by what the file itself says.

    Raises
    ------
    FigureError
        When a place is not there.
    StoreError
        When the store is missing or damaged.
    """
    said = {path: _said(path) for place in places for path in _pictures(place)}
    with scanning(store), connect(store) as connection:
        known = _known(connection)
        # Each once: the PDF and the PNG of a figure say the same.
        found = {one: _standing(connection, known, json.loads(one)) for one in set(said.values())}
    return {path: found[one] for path, one in said.items()}


def sweeps(store: str | Path) -> set[str]:
    """Names of the sweeps that a store knows."""
    with count(store) as connection:
        return _known(connection)


def runs(connection: duckdb.DuckDBPyConnection, about: dict[str, Any]) -> pa.Table:
    """What answers each trial that the figure's own SQL selects now, point by point.

    `key` is the beginning of the key of the run, or of the mask where nothing was trained;
    `density` the requested one, `accuracy` top-1 on test at the last step, a fraction.

    Raises
    ------
    TombolaError
        When the figure or its SQL is not one that this version knows, or selects nothing.
    """
    given = _given(about)
    chosen: Sequence[Row]
    if isinstance(given, options.Options):
        chosen = _chosen(connection, about, given)
    else:
        chosen = _shown(connection, about)
    found = {(row["trial"], selection.answer(row)): row for row in sorted(chosen, key=_order)}
    keys = sorted({key for _, key in found})
    where = {key: rest for key, *rest in connection.execute(_WHERE, {"keys": keys}).fetchall()}
    columns = _RUNS.names
    rows = [
        dict(zip(columns, _point(row, key, where.get(key, [None] * 3)), strict=True))
        for (_, key), row in found.items()
    ]
    return pa.Table.from_pylist(rows, _RUNS)


def changes(connection: duckdb.DuckDBPyConnection, about: dict[str, Any]) -> list[str]:
    """Why the figure would be another if it were drawn now; empty when it is fresh."""
    given = about.get("options") or {}
    _given(about)
    try:
        now = figures.prepare(connection, about["sweep"], {about["figure"]: given}).about
    except TombolaError as error:
        return [str(error)]
    return figures.changes(about, json.loads(now))


def is_published(about: dict[str, Any]) -> bool:
    """Whether it shows published numbers alone, which no run is behind."""
    return "sha256" in about


def published_changes(about: dict[str, Any]) -> list[str]:
    """Why such a figure would be another if it were drawn now; empty when it is fresh."""
    name = str(about["figure"]).removeprefix("reference ")
    if reference.sha256_of(name) == about["sha256"]:
        return []
    return ["the published numbers that come with this version are others"]


# ---------------------------------------------------------------- details


def _known(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for (name,) in connection.execute(_SWEEPS).fetchall()}


def _pictures(place: Path) -> list[Path]:
    if not place.exists():
        raise FigureError(f"{place}: no such file or folder")
    if not place.is_dir():
        return [place]
    endings = {f".{one}" for one in figures.FORMATS}
    return sorted(path for path in place.rglob("*") if path.suffix in endings)


def _said(path: Path) -> str:
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
    except TombolaError as error:  # a figure, an option, a reference that there was once
        why = [str(error)]
    return Standing("stale", why) if why else Standing("fresh")


def _chosen(
    connection: duckdb.DuckDBPyConnection, about: dict[str, Any], given: options.Options
) -> Sequence[Row]:
    """Trials that the figure's own SQL selects: its first statement, where there are several."""
    first, *_ = sql.admitted(about["sql"])  # a file from anywhere says it
    try:
        return selection.choose(connection, about["sweep"], given, first).rows
    except (duckdb.Error, KeyError) as error:
        said = str(error).splitlines()[0]
        raise FigureError(f"the figure's SQL is of another version: {said}") from None


def _shown(connection: duckdb.DuckDBPyConnection, about: dict[str, Any]) -> Sequence[Row]:
    """Trials that are answered by what a figure shows that is not of trials but of tasks."""
    given = about.get("options") or {}
    facts = figures.select(connection, about["sweep"], about["figure"], given)
    rows = query_rows(connection, selection.SQL, {"sweep": about["sweep"]})
    return [row for row in rows if selection.answer(row) in set(facts.runs)]


def _given(about: dict[str, Any]) -> options.AnyOptions:
    """The options that the file says it was drawn with, once they hold."""
    name, given = str(about["figure"]), about.get("options") or {}
    found = options.problems({name: given})
    if found or not isinstance(about.get("sql"), str) or not isinstance(about.get("sweep"), str):
        raise FigureError(f"not a figure of this version: {(found or ['no SQL or sweep'])[0]}")
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
