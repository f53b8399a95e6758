"""From the store to figures and tables, by SQL alone.

In a notebook: `analysis.connect("store").sql(...)` asks, `analysis.figure("ablations", "store",
"quickstart")` shows. Nothing heavy is imported before it is asked for.
"""

from pathlib import Path
from typing import Any

__all__ = ["connect", "figure"]


def connect(store: str | Path) -> Any:
    """A DuckDB connection to a private snapshot of a store: trials, evals, layers and so on.

    Raises
    ------
    StoreError
        When the store is missing or a file in it is damaged.
    """
    from analysis.database import connection

    return connection.connect(store)


def figure(name: str, store: str | Path, sweep: str, **options: Any) -> Any:
    """A figure of a sweep as a matplotlib Figure, which a notebook shows; writes nothing.

    `options` are those that a sweep file takes: `methods=["snip"]`, `spread="ci95"`.

    Raises
    ------
    FigureError
        When the figure or an option is not known, or there is nothing to show.
    StoreError
        When the store is missing, damaged, or does not know the sweep.
    """
    from analysis import figures

    return figures.made(name, store, sweep, options)
