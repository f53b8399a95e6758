"""The data dictionary: type, unit and meaning of every column of every table."""

from typing import NamedTuple

import duckdb

from analysis.database.connection import TABLES, describe
from tasks.values.key import described_fields
from tasks.values.training import Recipe

_COLUMNS_BY_UNIT = {
    "s": "seconds",
    "nats": "loss train_loss val_loss",
    "fraction": (
        "accuracy train_accuracy val_accuracy top5 best_accuracy best_val_accuracy "
        "early_stop_accuracy dense_accuracy dense_best_accuracy dense_best_val_accuracy delta "
        "density requested_density sparsity effective_density prune_fraction barrier "
        "train_barrier alpha"
    ),
    "iterations": (
        "step first_step last_step resumed_step diverged_at prune_step rewind_step early_stop_step"
    ),
    "epochs": "epochs",
    "examples": "validation latency_batch_size",
    "examples/s": "images_per_second",
    "weights": "size kept effective effective_kept ties parameters",
    "multiply-adds": "flops kept_flops",
    "bytes": "peak_memory bytes dense_bytes",
    "ms": "latency dense_latency",
    "J": "energy",
    "UTC": "started_at noted_at registered_at first_started_at second_started_at",
}

UNITS = {
    **{name: unit for unit, names in _COLUMNS_BY_UNIT.items() for name in names.split()},
    **{name: about.unit for name, (_, about) in described_fields(Recipe).items() if about.unit},
}
"""Unit by column, the same in every table; other columns are names, counts or ratios."""


class Entry(NamedTuple):
    """One column of a table; `unit` is empty for names, counts and ratios."""

    table_name: str
    column_name: str
    data_type: str
    unit: str
    meaning: str


def entries(connection: duckdb.DuckDBPyConnection) -> list[Entry]:
    """Return the dictionary of a connection's tables, with the user's fields."""
    return [
        Entry(table, column, kind, UNITS.get(column, ""), meaning)
        for table, column, kind, meaning in describe(connection)
        if table in TABLES
    ]
