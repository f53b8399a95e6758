"""Figures, tables and statistics from a store, computed by SQL.

In a notebook, `analysis.connect("store").sql(...)` runs a query, and
`analysis.figure("ablations", "store", "quickstart")` shows a figure. Functions import heavy
libraries when they are called.
"""

from pathlib import Path
from typing import Any

from tombola import moved

__all__ = ["connect", "figure"]


def connect(store: str | Path) -> Any:
    """Return a DuckDB connection to a private snapshot of a store: trials, evals, layers, ….

    Raises
    ------
    StoreError
        When the store is missing or a file in it is damaged.
    """
    from analysis.database import connection

    return connection.connect(store)


def figure(name: str, store: str | Path, sweep: str, **options: Any) -> Any:
    """Return a figure of a sweep as a matplotlib Figure, which a notebook shows.

    Nothing is written. `options` are those of a sweep file: `methods=["snip"]`, `spread="ci95"`.

    Raises
    ------
    FigureError
        When the figure or an option is unknown, or there is nothing to show.
    StoreError
        When the store is missing or damaged, or has no such sweep.
    """
    from analysis import figures

    return figures.made(name, store, sweep, options)


moved.install()
