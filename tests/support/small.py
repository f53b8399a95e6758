"""Small sweeps and stores shared by tests: seconds of real work on real digits."""

import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import yaml
from typer.testing import CliRunner

from analysis.database import connection as analysis_results
from analysis.database import limits
from tombola.store import layout, results, schema

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": "digits",
    "network": "lenet_300_100",
    "replicates": 1,
    "recipe": {"steps": 12, "batch_size": 64, "lr": 0.1, "evaluate_every": 4},
    "grids": [
        {"method": ["random", "snip"], "levels": [2, 5], "ablation": ["none", "shuffle"]},
        {"method": "imp", "levels": [1, 2], "rewind_step": [0, 3]},
    ],
}

MANIFOLD: dict[str, Any] = {
    "replicates": [3, 1, 7],
    "grids": [
        {
            "method": ["random", "snip", "grasp"],
            "levels": [0, 2],
            "ablation": ["none", "shuffle", "reinit"],
            "measure": ["barrier", "ramanujan", "latency"],
        },
        {"method": "imp", "levels": [1, 2], "rewind_step": [0, 3], "ablation": ["none", "reinit"]},
        {"method": "magnitude", "levels": [1], "train": False},
        {"method": {"gem_miner": {"steps": 4, "period": 2}}, "density": [0.5]},
    ],
}
"""Every kind of expression, in replicates whose seeds do not follow one another."""


def write_sweep(folder: Path, **changes: Any) -> Path:
    """Write TINY with changes as `<name>.yaml` in a folder."""
    sweep = {**TINY, **changes}
    path = folder / f"{sweep['name']}.yaml"
    path.write_text(yaml.safe_dump(sweep, sort_keys=False))
    return path


def tombola(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, with a folder, an environment and users' modules.

    Tests that need a process (Ray, signals, kills) use `command`.
    """
    from tombola.cli import app

    words = [str(argument) for argument in arguments]
    with patch.dict(os.environ, environment), contextlib.chdir(cwd):
        forget_users_modules()
        ended = CliRunner().invoke(app, words, prog_name="tombola")
    errors = ended.stderr
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        errors += "".join(traceback.format_exception(ended.exception))
    return subprocess.CompletedProcess(words, ended.exit_code, ended.stdout, errors)


def forget_users_modules() -> None:
    """Make Python import a test's own files again."""
    for name in [name for name in sys.modules if name.startswith("tombola_own")]:
        del sys.modules[name]


def command(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "tombola.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@contextlib.contextmanager
def queries_in_this_process() -> Iterator[None]:
    """Answer SQL without the process that limits a query: its start takes a second."""

    def ask(question: limits.Question) -> pa.Table:
        with patch.object(limits, "_limit", lambda *_: None):
            return limits.answer(question)

    with patch.object(limits, "ask", ask):
        yield


def outcome(store: Path) -> dict[str, dict[str, Any]]:
    """Return every result of a store by key, without fields that differ between launches."""
    provenance = {"checksum", *schema.TASKS.names[schema.TASKS.names.index("launch") :]}
    rows = pa.concat_tables(
        [results.read(path) for path in layout.published(store / "results/live", ".parquet")]
        or [schema.LIVE.empty_table()]
    ).to_pylist()
    keyed = {
        row["key"]: {name: value for name, value in row.items() if name not in provenance}
        for row in rows
    }
    assert len(keyed) == len(rows)
    return json.loads(json.dumps(keyed))


def tables(store: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every table of a store by key, without fields that differ between launches."""
    provenance = {"seconds", "checksum", *schema.TASKS.names[schema.TASKS.names.index("launch") :]}
    with analysis_results.connect(store) as connection:
        found = {}
        for name in ("trials", "evals", "layers", "measurements", "tasks"):
            rows = connection.sql(f"FROM {name} ORDER BY ALL").to_arrow_table().to_pylist()
            found[name] = [{n: v for n, v in row.items() if n not in provenance} for row in rows]
    return {name: sorted(rows, key=repr) for name, rows in found.items()}
