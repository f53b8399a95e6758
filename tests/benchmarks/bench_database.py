"""The database of a large sweep: 100,000 trials × 20 evaluations × 20 layers, and its peers.

MLflow and Optuna are no dependencies: `uv run --with` makes an environment for each, and where
that cannot be had a line says so.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import big_store
from measuring import machine, report, timed

from analysis import results as reading
from orchestrator.store import layout, results
from orchestrator.store.compact import compact
from orchestrator.store.files import open_store
from tasks.key import digest
from tests.small import tombola

TRIALS = 100_000
LIVE = 10_000
PEERS = {
    "optuna": ("optuna",),
    "mlflow": ("mlflow-skinny", "sqlalchemy", "alembic", "pandas", "sqlparse"),
}
ACCURACY = """
    SELECT method, density, avg(accuracy), stddev(accuracy), count(*)
    FROM trials WHERE status = 'done' GROUP BY ALL ORDER BY ALL
"""
STATUS = "SELECT status, count(*) FROM trials GROUP BY status"


def large(folder: Path, trials: int) -> None:
    store = open_store(folder / "large", create=True)
    big_store.write(store, big_store.trials(trials))
    connecting, connection = timed(lambda: reading.connect(store), repeat=3)
    report(f"connect, {trials:,} trials", f"{connecting:.2f} s")
    asking, rows = timed(lambda: connection.execute(ACCURACY).fetchall(), repeat=5)
    assert sum(row[-1] for row in rows) == trials
    report("accuracy against sparsity", f"{asking:.3f} s", "<= 0.25 s")
    counting, counts = timed(lambda: connection.execute(STATUS).fetchall(), repeat=5)
    assert counts == [("done", trials)]
    report("trials by status", f"{counting:.3f} s", "<= 0.1 s")
    connection.close()
    folding, _ = timed(lambda: compact(store))
    report(f"journal of {4 * trials:,} events folded", f"{folding:.1f} s")


def status(folder: Path, tasks: int) -> None:
    store = open_store(folder / "status", create=True)
    big_store.write(store, big_store.trials(tasks // 2))
    compact(store)
    before = os.times()
    seconds, told = timed(lambda: tombola("status", "--store", store, cwd=folder), repeat=5)
    after = os.times()
    used = (after.children_user + after.children_system) / 5
    used -= (before.children_user + before.children_system) / 5
    assert f"{tasks:,} tasks finished" in told.stdout, told.stdout + told.stderr
    report(f"tombola status, {tasks:,} finished tasks", f"{seconds:.2f} s", "<= 1 s")
    report("CPU time of it, both cores", f"{used:.2f} s")


def done_check(folder: Path, keys: int) -> None:
    store = open_store(folder / "keys", create=True)
    for first in range(0, keys, 20_000):
        names = sorted(digest(str(n)) for n in range(first, first + 20_000))
        big_store.write_keys(store, str(first), names)
    seconds, held = timed(lambda: results.inventory(store))
    assert len(held.results) == keys
    report(f"done-check, {keys:,} keys", f"{seconds:.2f} s", "<= 5 s")


def live(folder: Path, count: int) -> None:
    store = open_store(folder / "live", create=True)
    asked = big_store.trials(count // 2)
    for kind in ("mask", "run"):
        for one in asked:
            found = big_store.row(one[f"{kind}_key"], kind, one["requested_density"])
            results.commit(store, found)
    big_store.write_sweep(store, asked)
    connecting, connection = timed(lambda: reading.connect(store), repeat=3)
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (count,)
    report(f"connect, {count:,} uncompacted results", f"{connecting:.2f} s", "<= 2 s")
    before = time.process_time()
    compacting, merged = timed(lambda: compact(store))
    used = time.process_time() - before
    assert merged == count
    report("compaction", f"{count / compacting:,.0f} tasks/s", ">= 2,000/s")
    report("the same by CPU time", f"{count / used:,.0f} tasks/s")


def directories(count: int) -> None:
    """Where results would lie; files are not needed to count them."""
    paths = [Path(layout.result(digest(str(number)))) for number in range(count)]
    fullest = max(Counter(path.parent for path in paths).values())
    report(f"files in the fullest folder, {count:,} live results", f"{fullest:,}", "<= 3,000")


def peers(folder: Path, count: int) -> None:
    store = open_store(folder / "peers", create=True)
    asked = big_store.trials(count)

    def write() -> None:
        for one in asked:
            for kind in ("mask", "run"):
                found = big_store.row(one[f"{kind}_key"], kind, one["requested_density"])
                results.commit(store, found)

    writing, _ = timed(write)
    big_store.write_sweep(store, asked)
    asking, rows = timed(lambda: reading.connect(store).execute(ACCURACY).fetchall())
    assert sum(row[-1] for row in rows) == count
    report(f"ours: write {count} trials", f"{writing:.1f} s")
    report("ours: connect, and accuracy against sparsity", f"{asking:.2f} s")
    for name, packages in PEERS.items():
        found = _peer(name, packages, count)
        if isinstance(found, str):
            report(name, "skipped", found)
            continue
        report(f"{name} (sqlite) / ours, write", f"{found['write'] / writing:.1f} x")
        report(f"{name} (sqlite) / ours, the question", f"{found['ask'] / asking:.1f} x")


def _peer(name: str, packages: tuple[str, ...], count: int) -> dict[str, float] | str:
    """Seconds to write and to ask, or why there are none."""
    uv = shutil.which("uv")
    if uv is None:
        return "needs uv on the PATH"
    wanted = [word for package in packages for word in ("--with", package)]
    script = Path(__file__).with_name("peers.py")
    command = [uv, "run", "--no-project", "--quiet", *wanted, "python", str(script), name]
    bare = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    try:
        ran = subprocess.run(
            [*command, str(count)],
            check=False,
            capture_output=True,
            text=True,
            env=bare,
            timeout=900,
        )
        found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        return f"could not be run: {type(error).__name__}"
    return found


def main() -> None:
    parts = {
        "large": lambda folder: large(folder, TRIALS),
        "status": lambda folder: status(folder, 100_000),
        "done": lambda folder: done_check(folder, 1_000_000),
        "live": lambda folder: live(folder, LIVE),
        "directories": lambda _: directories(100_000),
        "peers": lambda folder: peers(folder, 1_000),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; default: all")
    chosen = parser.parse_args().parts or list(parts)
    machine()
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
