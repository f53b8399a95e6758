"""The database of a large sweep: 100,000 trials × 20 evaluations × 20 layers, and its peers.

MLflow and Optuna are no dependencies: `uv run --with` makes an environment for each, or
`--python` names one that has both, and where neither can be had a line says so. They write
1,000 trials unless told otherwise: all 100,000 take MLflow and Optuna's RDB hours.

    bench_database.py peers --trials 100000 --limit 1200 --python ENV/bin/python
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import bench_plan
import big_store
from measuring import machine, report, timed

from analysis.database import connection as reading
from orchestrator.planning.planner import Nothing, Value, plan
from orchestrator.running import study
from tasks.values.key import digest
from tasks.values.records import Mask
from tests.support.commit import commit
from tests.support.small import command, write_sweep
from tombola.store import layout, results
from tombola.store.compact import compact
from tombola.store.location import total_size
from tombola.store.publish import open_store

TRIALS = 100_000
LIVE = 10_000
AT_ONCE = 2_500
"""Trials that are committed before a compaction: as many results as a launch lets gather."""

PEERS = {
    "optuna-journal": ("optuna", "pandas"),
    "mlflow": ("mlflow",),
    "optuna": ("optuna", "pandas"),
}
ACCURACY = """
    SELECT method, density, avg(accuracy), stddev(accuracy), count(*)
    FROM trials WHERE status = 'done' GROUP BY ALL ORDER BY ALL
"""
CURVE = "FROM evals WHERE run_key = (SELECT run_key FROM trials WHERE trial = 4321)"
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


def million(folder: Path, replicates: int) -> None:
    """Measure a sweep of a million finished tasks; each question runs in its own process."""
    writing = multiprocessing.get_context("spawn").Process(
        target=write_million, args=(folder, replicates)
    )
    writing.start()  # so that this process stays small: its memory would count as theirs
    writing.join()
    assert writing.exitcode == 0
    weigh_million(folder)


def write_million(folder: Path, replicates: int) -> None:
    """Write the store without weights and masks: gc and verify then read results only."""
    store = open_store(folder / "million", create=True)
    path = write_sweep(folder, name="big", replicates=replicates, grids=bench_plan.GRIDS)
    asked = study.read(path)
    study.register(asked, store)
    done = [
        big_store.Done(task.key, task.kind, _density(task.value), task.value.canonical)
        for task in plan(asked.trials, Nothing()).tasks.values()
    ]
    big_store.write_tasks(store, done)
    compact(store)
    size = total_size(list(layout.published(store, ".parquet"))) / 1e9
    report(f"{len(asked.trials):,} trials, {len(done):,} tasks", f"{size:.2f} GB")


def weigh_million(folder: Path) -> None:
    store = folder / "million"
    ask = f"from analysis.database import connection; c = connection.connect({str(store)!r})"
    for what, code in {
        "connect": ask,
        "connect, accuracy against sparsity": f"{ask}; c.execute({ACCURACY!r}).fetchall()",
        "connect, trials by status": f"{ask}; c.execute({STATUS!r}).fetchall()",
        "connect, one run's evaluations": f"{ask}; c.execute({CURVE!r}).fetchall()",
        "results.duckdb made anew": (
            f"from analysis.database import export; export.publish({str(store)!r})"
        ),
    }.items():
        _weigh(what, ["-c", code], folder)
    for asked in (["status"], ["verify"], ["gc"], ["run", "big.yaml", "--executor", "inline"]):
        words = ["-m", "tombola.cli", *asked, "--store", str(store)]
        _weigh(f"tombola {asked[0]}", words, folder)


def _weigh(what: str, words: list[str], folder: Path) -> None:
    """Return CPU time, wall time and peak memory of a Python process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
    )
    _, ended, used = os.wait4(process.pid, 0)
    assert ended == 0, words
    cpu, gigabytes = used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6
    clock = time.perf_counter() - began
    report(what, f"{cpu:.1f} s of CPU", f"{clock:.1f} s, {gigabytes:.2f} GB")


def _density(value: Value) -> float:
    mask = value if isinstance(value, Mask) else getattr(value, "mask", None)
    return mask.density if mask else 1.0


def status(folder: Path, tasks: int) -> None:
    store = open_store(folder / "status", create=True)
    big_store.write(store, big_store.trials(tasks // 2))
    compact(store)
    before = os.times()
    seconds, told = timed(lambda: command("status", "--store", store, cwd=folder), repeat=5)
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
    _commit(store, asked)
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
    """Create the folders of results; counting needs no files in them."""
    paths = [Path(layout.result(digest(str(number)))) for number in range(count)]
    fullest = max(Counter(path.parent for path in paths).values())
    report(f"files in the fullest folder, {count:,} live results", f"{fullest:,}", "<= 3,000")


def peers(folder: Path, count: int, limit_s: float, python: str | None) -> None:
    """Let each peer write as much as it can in the time, and ours the same trials, then query."""
    store = open_store(folder / "peers", create=True)
    asked = big_store.trials(count)
    found = {name: _peer(name, python, count, limit_s) for name in PEERS}
    for name in [name for name, one in found.items() if isinstance(one, str)]:
        report(name, "skipped", str(found.pop(name)))
    done, writing, using = 0, 0.0, 0.0
    for name, peer in sorted(found.items(), key=lambda one: one[1]["trials"]):
        upto = int(peer["trials"])
        began = time.perf_counter(), time.process_time()
        for first in range(done, upto, AT_ONCE):
            _commit(store, asked[first : min(first + AT_ONCE, upto)])
            compact(store)
        writing += time.perf_counter() - began[0]
        using += time.process_time() - began[1]
        done = upto
        big_store.write_sweep(store, asked[:upto])
        began = time.perf_counter(), time.process_time()
        rows = reading.connect(store).execute(ACCURACY).fetchall()
        asking, used = time.perf_counter() - began[0], time.process_time() - began[1]
        assert sum(row[-1] for row in rows) == upto
        folders = (layout.SEGMENTS, layout.SWEEPS)
        size = total_size([p for one in folders for p in layout.published(store / one, "")]) / 1e6
        report(f"{name}: trials written", f"{upto:,}", f"in {peer['write_s']:,.0f} s")
        ours = {"write_s": writing, "write_cpu_s": using, "ask_s": asking, "ask_cpu_s": used}
        for what, own in (ours | {"MB": size}).items():
            said = f"{peer[what]:,.1f} / {own:,.1f}"
            report(f"{name} / ours, {what}", f"{peer[what] / own:.1f} x", said)


def _commit(store: Path, asked: list[big_store.Rows]) -> None:
    for one in asked:
        for kind in ("mask", "run"):
            found = big_store.row(one[f"{kind}_key"], kind, one["requested_density"])
            commit(store, found)


def _peer(name: str, python: str | None, count: int, limit_s: float) -> dict[str, float] | str:
    """Return what peers.py prints, or the reason why it prints nothing."""
    uv = shutil.which("uv")
    wanted = [word for package in PEERS[name] for word in ("--with", package)]
    if python:
        command = [python]
    elif uv:
        command = [uv, "run", "--no-project", "--quiet", *wanted, "python"]
    else:
        return "needs uv on the PATH, or --python"
    script = Path(__file__).with_name("peers.py")
    bare = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    try:
        ran = subprocess.run(
            [*command, str(script), name, str(count), str(limit_s)],
            check=False,
            capture_output=True,
            text=True,
            env=bare,
        )
        found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = next(iter(ran.stderr.splitlines()[-1:]), "it printed nothing")
        return f"could not be run: {reason}"
    return found | {"MB": found.pop("bytes") / 1e6}


def main() -> None:
    parts = {
        "large": lambda folder: large(folder, TRIALS),
        "status": lambda folder: status(folder, 100_000),
        "million": lambda folder: million(folder, 1_733),
        "done": lambda folder: done_check(folder, 1_000_000),
        "live": lambda folder: live(folder, LIVE),
        "directories": lambda _: directories(100_000),
        "peers": lambda folder: peers(folder, told.trials, told.limit, told.python),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; default: all")
    parser.add_argument("--trials", type=int, default=1_000, help="that the peers write")
    parser.add_argument("--limit", type=float, default=300, help="seconds that each may write")
    parser.add_argument("--python", help="a Python that has mlflow and optuna")
    told = parser.parse_args()
    chosen = told.parts or list(parts)
    machine()
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
