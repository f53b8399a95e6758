"""The same trials in MLflow's and Optuna's storages, each through its own interface.

Run by bench_database.py in an environment that has them: `peers.py NAME N SECONDS`. Writes
trials with 20 evaluations and 20 layers each until there are N or the time is over, then
answers accuracy against sparsity as a new client, in the peer's own idiom, a data frame.
Prints one JSON object: trials written, seconds (of the clock, of CPU) to write them and to
answer, bytes on disk.

Neither has a call that writes many trials at once (Optuna's `add_trials` is a loop): one batch
for each trial, from one process, is the least that they offer.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVALS, LAYERS = 20, 20
METHODS = ("random", "magnitude", "snip", "grasp", "synflow")

Write = Callable[[int], None]
Ask = Callable[[], Any]


def labels(number: int) -> tuple[str, float]:
    return METHODS[number % 5], 0.8 ** (number // 5 % 20 + 1)


def accuracy(number: int, step: int) -> float:
    """Return a different number for each trial, so that equal values cannot be stored once."""
    return 0.9 * (step + 1) / (step + 2) + 1e-7 * number


def mlflow(folder: Path) -> tuple[Write, Ask]:
    import mlflow as library
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("big", artifact_location=str(folder))

    def write(number: int) -> None:
        method, density = labels(number)
        run = client.create_run(experiment).info.run_id
        metrics = [Metric("accuracy", accuracy(number, step), 0, step) for step in range(EVALS)]
        metrics += [Metric(f"density_{i}", density, 0, 0) for i in range(LAYERS)]
        params = [Param("method", method), Param("density", str(density))]
        client.log_batch(run, metrics, params)
        client.set_terminated(run)

    def ask() -> Any:
        library.set_tracking_uri(uri)
        rows = library.search_runs([experiment])  # as many as 100,000 by default
        return rows.groupby(["params.method", "params.density"])["metrics.accuracy"]

    return write, ask


def optuna(storage: Callable[[], Any]) -> tuple[Write, Ask]:
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    study = library.create_study(storage=storage(), study_name="big")
    spaces = {
        "method": library.distributions.CategoricalDistribution(METHODS),
        "density": library.distributions.FloatDistribution(0.0, 1.0),
    }

    def write(number: int) -> None:
        method, density = labels(number)
        curve = {step: accuracy(number, step) for step in range(EVALS)}
        study.add_trial(
            library.trial.create_trial(
                params={"method": method, "density": density},
                distributions=spaces,
                value=curve[EVALS - 1],
                intermediate_values=curve,
                user_attrs={f"density_{i}": density for i in range(LAYERS)},
            )
        )

    def ask() -> Any:
        found = library.load_study(study_name="big", storage=storage())
        rows = found.trials_dataframe(attrs=("value", "params"))
        return rows.groupby(["params_method", "params_density"])["value"]

    return write, ask


def optuna_sqlite(folder: Path) -> tuple[Write, Ask]:
    return optuna(lambda: f"sqlite:///{folder}/optuna.db")


def optuna_journal(folder: Path) -> tuple[Write, Ask]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna(lambda: JournalStorage(JournalFileBackend(f"{folder}/optuna.log")))


def main() -> None:
    name, count, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    prepare = {"mlflow": mlflow, "optuna": optuna_sqlite, "optuna-journal": optuna_journal}[name]
    with tempfile.TemporaryDirectory() as folder:
        write, ask = prepare(Path(folder))
        began, written = clocks(), 0
        while written < count and clocks()[0] - began[0] < limit:
            write(written)
            written += 1
        between = clocks()
        rows = ask().agg(["mean", "std", "count"])
        ended = clocks()
        assert (len(rows), rows["count"].sum()) == (min(100, written), written)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    found = {"trials": written, "bytes": size}
    found |= {"write_s": between[0] - began[0], "write_cpu_s": between[1] - began[1]}
    found |= {"ask_s": ended[0] - between[0], "ask_cpu_s": ended[1] - between[1]}
    print(json.dumps(found))


def clocks() -> tuple[float, float]:
    """Return wall seconds, and CPU seconds of this process on all cores."""
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
