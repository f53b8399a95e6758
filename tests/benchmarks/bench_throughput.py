"""Tasks that take no time: how many a second get from a sweep file to SQL, beside bare Ray.

Each is a random mask of a network with one layer of 640 weights, so that nearly all the time
is the orchestrator's. Ray Tune, whose trials report one number, is measured too where what it
imports is found; it is no dependency, and goes into a folder of its own:

    uv pip install --target DIR pandas tensorboardX
    PYTHONPATH=DIR python tests/benchmarks/bench_throughput.py

Tune writes a folder for each trial (its parameters, its result as JSON and CSV, TensorBoard's
events), Tombola a Parquet file: both keep what a trial gave.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from measuring import machine, report

from analysis.database import connection as results

ROOT = Path(__file__).parents[2]
REPLICATES = int(os.environ.get("TOMBOLA_BENCH_REPLICATES", "400"))
DENSITIES = 50
TUNED = int(os.environ.get("TOMBOLA_BENCH_TUNED", "500"))

NETWORK = """
from torch import nn


def one(network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, network.classes))
"""

SWEEP = """
name: {name}
dataset: digits
network: one_layer:one
replicates: {replicates}
recipe: {{steps: 1, batch_size: 64, lr: 0.1}}
grids: [{{method: random, density: 0.01..0.5..0.01, train: false}}]
"""


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one_layer.py").write_text(NETWORK)
        learning = SWEEP.format(name="learning", replicates="[90000, 90001]")
        (folder / "learning.yaml").write_text(learning)  # what such a task costs
        (folder / "noop.yaml").write_text(SWEEP.format(name="noop", replicates=REPLICATES))
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        told = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), str(folder), told)))
        compare(folder)


def compare(folder: Path) -> None:
    ours, sustained = through_tombola(folder)
    report("tasks", f"{REPLICATES * DENSITIES:,}")
    report("tombola run, from the file to SQL, start included", f"{ours:,.0f} tasks/s")
    report("the same, first task to last", f"{sustained:,.0f} tasks/s", ">= 500")
    bare = through_ray()
    for what, rate in bare.items():
        report(f"bare Ray: {what}", f"{rate:,.0f} tasks/s")
    report("of bare Ray with the same mask", f"{sustained / bare[SAME]:.0%}", ">= 40 %")
    for what, rate in through_tune(folder).items():
        report(f"Ray Tune, {what}", f"{rate:,.1f} trials/s")
        report("Tombola / that", f"{sustained / rate:,.0f} x")


def through_tombola(folder: Path) -> tuple[float, float]:
    """Return tasks per second of the whole command, and from its first to its last result."""
    command = [sys.executable, "-m", "tombola.cli", "run", "--no-canary"]
    subprocess.run([*command, "learning.yaml"], check=True, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    subprocess.run([*command, "noop.yaml"], check=True, stdout=subprocess.DEVNULL)
    connection = results.connect(folder / "store")
    done = "SELECT count(*) FROM trials WHERE status = 'done' AND sweep = 'noop'"
    count = connection.execute(done).fetchone()
    whole = time.perf_counter() - began
    assert count == (REPLICATES * DENSITIES,)
    launch = "launch = (SELECT max(launch) FROM tasks)"
    [[seconds]] = connection.execute(
        f"SELECT epoch(max(started_at) - min(started_at)) FROM tasks WHERE {launch}"
    ).fetchall()
    return count[0] / whole, count[0] / seconds


SAME = "the same mask, nothing kept"


def through_ray() -> dict[str, float]:
    """Return tasks per second of Ray alone: one call for each, a bounded number at once."""
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False}
    ray.init("local", num_cpus=os.cpu_count(), **quiet)

    def nothing(_: int) -> None:
        return None

    def mask(number: int) -> int:
        import torch

        from tasks.pruning.prune import prune
        from tasks.values.scores import Random
        from tasks.values.training import Network

        torch.set_num_threads(1)
        network = Network(name="one_layer:one", input_shape=(1, 8, 8), classes=10)
        score = Random(seed=number // DENSITIES)
        return prune(network, score, None, (number % DENSITIES + 1) / 100).ties

    found = {"a function that does nothing": rate(ray, nothing), SAME: rate(ray, mask)}
    ray.shutdown()
    return found


def rate(ray: Any, work: Callable[[int], object]) -> float:
    remote = ray.remote(work)
    ray.get([remote.remote(n) for n in range(100)])
    flying: list[Any] = []
    count = REPLICATES * DENSITIES
    began = time.perf_counter()
    for number in range(count):
        flying.append(remote.remote(number))
        if len(flying) >= 1000:
            ready, flying = ray.wait(flying, num_returns=500)
            ray.get(ready)
    ray.get(flying)
    return count / (time.perf_counter() - began)


def through_tune(folder: Path) -> dict[str, float]:
    """Return trials per second of Ray Tune, from the call to its results, one CPU for each."""
    try:
        from ray import tune
    except ImportError as error:
        print(f"Ray Tune left out: {error}")
        return {}
    import ray

    def trial(config: dict[str, int]) -> None:
        tune.report({"accuracy": config["n"]})

    ray.init("local", num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    found = {}
    fresh = max(10, TUNED // 20)  # each takes seconds
    for what, again, count in (
        ("an actor for each trial", False, fresh),
        ("actors used again", True, TUNED),
    ):
        space = {"n": tune.grid_search(list(range(count)))}
        began = time.perf_counter()
        results = tune.Tuner(
            trial,
            param_space=space,
            tune_config=tune.TuneConfig(reuse_actors=again),
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), name=what, verbose=0),
        ).fit()
        found[what] = count / (time.perf_counter() - began)
        assert sum(one.metrics["accuracy"] for one in results) == sum(range(count))
    files = sum(path.is_file() for path in (folder / "tune" / what).rglob("*"))
    report("files that Ray Tune keeps of a trial", f"{files / TUNED:.1f}")
    ray.shutdown()
    return found


if __name__ == "__main__":
    main()
