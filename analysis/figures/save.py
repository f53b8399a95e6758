"""Figures to files that say where they come from, the same bytes from the same store."""

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb

from analysis import style

_RUNS = """
SELECT count(*), string_agg(r.key || r.digest, '' ORDER BY r.key),
       list_sort(list(DISTINCT r.tombola || coalesce(' ' || r.code, ''))),
       (SELECT any_value(revision) FROM registered WHERE sweep = $sweep AND current)
FROM (SELECT DISTINCT run_key FROM trials WHERE sweep = $sweep) JOIN tasks r ON r.key = run_key
"""


def save(
    module: ModuleType,
    facts: Any,
    connection: duckdb.DuckDBPyConnection,
    sweep: str,
    name: str,
    options: dict[str, Any],
    stem: Path,
) -> list[Path]:
    """Draw the facts as `stem`.pdf and .png, with their provenance as metadata."""
    about = provenance(module, connection, sweep, name, options)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("pdf", "png")]
    with style.style():
        figure = module.draw(facts)
        dates = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "Tombola"}
        figure.savefig(paths[0], metadata={**dates, "Keywords": about})
        metadata = {"Software": "Tombola", "Provenance": about}
        figure.savefig(paths[1], metadata=metadata)
    return paths


def provenance(
    module: ModuleType,
    connection: duckdb.DuckDBPyConnection,
    sweep: str,
    name: str,
    options: dict[str, Any],
) -> str:
    """JSON: the figure's SQL and options, the runs behind it, and the code that made them."""
    row = connection.execute(_RUNS, {"sweep": sweep}).fetchone()
    runs, keys, code, revision = row if row else (0, "", [], None)
    about = {
        "figure": name,
        "options": options,
        "sweep": sweep,
        "revision": revision,
        "sql": " ".join(module.SQL.split()),
        "runs": runs,
        "digest": hashlib.sha256((keys or "").encode()).hexdigest(),
        "code": code,
    }
    return json.dumps(about, sort_keys=True)
