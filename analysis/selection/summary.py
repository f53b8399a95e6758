"""Mean accuracies of a sweep: a line for each setting, a column for each density.

A mean is over replicates only. Everything else that differs among trials of one method is in the
name of its line.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import duckdb

from analysis.database.rows import Row, query_rows
from analysis.selection.metrics import METRICS
from analysis.selection.selection import SQL, answer, of, set_apart
from tombola import rounding
from tombola.store.settings import details, varying

WIDEST = 9
"""Most densities in a summary."""

NAMES = ("network", "dataset", "method", "setting", "ablation")
"""Columns in a line's name; `dataset` and `setting` only if they differ."""


@dataclass(frozen=True)
class Summary:
    """Progress of a sweep, and its lines: name → per cent (or None) by density.

    Means are rounded to `digits` decimals, as in tables and reports.
    """

    done: int
    total: int
    headings: tuple[str, ...]
    densities: tuple[float, ...]
    lines: dict[tuple[str, ...], dict[float, float | None]]
    digits: int = METRICS["accuracy"].digits


def summary(connection: duckdb.DuckDBPyConnection, sweep: str) -> Summary:
    """Return the mean test accuracy over replicates, at the last step, of finished trials."""
    rows = query_rows(connection, SQL, {"sweep": sweep})
    dense = [{**row, "options": None, "apart": None} for row in rows if row["method"] == "dense"]
    pruned = [row for row in rows if row["method"] != "dense"]
    set_apart(pruned)
    differing = varying(dense) | varying(pruned)
    cells: dict[tuple[str, ...], dict[float, dict[str, float | None]]] = {}
    for row in sorted([*dense, *pruned], key=lambda row: (row["network"], row["trial"])):
        names = _names(row, differing.get(row["method"], set()))
        runs = cells.setdefault(names, {}).setdefault(row["requested_density"], {})
        runs[answer(row)] = row["accuracy"]
    lines = {
        names: {density: _mean(runs.values()) for density, runs in line.items()}
        for names, line in cells.items()
    }
    shown = [
        position
        for position, name in enumerate(NAMES)
        if name not in {"dataset", "setting"} or len({names[position] for names in lines}) > 1
    ]
    return Summary(
        done=sum(row["status"] == "done" for row in rows),
        total=len(rows),
        headings=tuple(NAMES[position] for position in shown),
        densities=_most_common(lines.values()),
        lines={of_positions(names, shown): line for names, line in lines.items()},
    )


def of_positions(names: tuple[str, ...], shown: Iterable[int]) -> tuple[str, ...]:
    """Return the names at these positions."""
    return tuple(names[position] for position in shown)


def _names(row: Row, differing: set[str]) -> tuple[str, ...]:
    setting = ", ".join(details(row, differing))
    network, dataset = of(row, ("network", "dataset"))
    return network, dataset, row["method"], setting, row["ablation"]


def _mean(accuracies: Iterable[float | None]) -> float | None:
    values = [100 * accuracy for accuracy in accuracies if accuracy is not None]
    return rounding.rounded(sum(values) / len(values), Summary.digits) if values else None


def _most_common(lines: Iterable[dict[float, Any]]) -> tuple[float, ...]:
    """Return the densities that most lines have, evenly spaced if too many; densest first."""
    counts = Counter(density for line in lines for density in line)
    ranked = sorted(counts, key=lambda density: (-counts[density], density))
    common = [density for density in ranked if counts[density] == counts[ranked[0]]]
    if len(common) >= WIDEST:
        last = len(common) - 1
        ranked = [common[round(i * last / (WIDEST - 2))] for i in range(WIDEST - 1)]
    shown = {*ranked[: WIDEST - 1], max(counts, default=1.0)}
    return tuple(sorted(shown, reverse=True))
