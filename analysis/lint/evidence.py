"""Evidence for the rules of the checklist: rows of one sweep."""

from dataclasses import dataclass

import duckdb

from analysis.database.rows import Row, query_rows
from tombola.store.settings import SETTING

PAIR = ("dataset", "network")

_COLUMNS = dict.fromkeys(
    (
        *("trial", *PAIR, "method", "ablation", "replicate", "requested_density", "status"),
        *("init_seed", "run_key", *SETTING, "accuracy", "top5", "val_accuracy", "delta"),
        *("density", "flops", "kept_flops", "diverged"),
    )
)

TRIALS = f"SELECT {', '.join(_COLUMNS)} FROM trials WHERE sweep = $sweep ORDER BY trial"

CODE = """
SELECT DISTINCT tombola, code, torch, device FROM tasks
WHERE key IN (SELECT unnest([run_key, mask_key]) FROM trials WHERE sweep = $sweep) ORDER BY ALL
"""


@dataclass(frozen=True)
class Evidence:
    """Rows that the rules read: trials of a sweep, and the code that computed them."""

    trials: tuple[Row, ...]
    code: tuple[Row, ...]

    @property
    def done(self) -> list[Row]:
        """Finished trials."""
        return [row for row in self.trials if row["status"] == "done"]

    @property
    def pruned(self) -> list[Row]:
        """Finished trials with a mask."""
        return [row for row in self.done if row["method"] != "dense"]

    @property
    def trained(self) -> list[Row]:
        """Finished trials with a mask that were trained."""
        return [row for row in self.pruned if row["run_key"]]


def read(connection: duckdb.DuckDBPyConnection, sweep: str) -> Evidence:
    """Read the evidence of a sweep from the store."""
    trials, code = (query_rows(connection, sql, {"sweep": sweep}) for sql in (TRIALS, CODE))
    return Evidence(tuple(trials), tuple(code))
