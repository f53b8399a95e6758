"""The same trials in MLflow's and Optuna's sqlite storages, each through its own interface.

Run by bench_database.py in an environment of its own: `uv run --with optuna … peers.py NAME N`.
Prints one JSON object: seconds to write N trials with 20 evaluations and 20 layers each, and
seconds to answer accuracy against sparsity in a process that has just begun.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

EVALS, LAYERS = 20, 20
METHODS = ("random", "magnitude", "snip", "grasp", "synflow")


def labels(number: int) -> tuple[str, float]:
    return METHODS[number % 5], 0.8 ** (number // 5 % 20 + 1)


def mlflow(folder: Path, count: int) -> tuple[Callable[[], None], Callable[[], int]]:
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("big", artifact_location=str(folder))

    def write() -> None:
        for number in range(count):
            method, density = labels(number)
            run = client.create_run(experiment).info.run_id
            metrics = [Metric("accuracy", 0.9, 0, step) for step in range(EVALS)]
            metrics += [Metric(f"density_{i}", density, 0, 0) for i in range(LAYERS)]
            params = [Param("method", method), Param("density", str(density))]
            client.log_batch(run, metrics, params)
            client.set_terminated(run)

    def ask() -> int:
        groups: dict[tuple[str, str], list[float]] = {}
        token, read = None, 0
        while token or not read:
            page = client.search_runs([experiment], max_results=1000, page_token=token)
            for run in page:
                at = run.data.params["method"], run.data.params["density"]
                groups.setdefault(at, []).append(run.data.metrics["accuracy"])
            read, token = read + len(page), page.token
        return sum(len(group) for group in groups.values())

    return write, ask


def optuna(folder: Path, count: int) -> tuple[Callable[[], None], Callable[[], int]]:
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    storage = f"sqlite:///{folder}/optuna.db"
    study = library.create_study(storage=storage, study_name="big")
    spaces = {
        "method": library.distributions.CategoricalDistribution(METHODS),
        "density": library.distributions.FloatDistribution(0.0, 1.0),
    }

    def write() -> None:
        for number in range(count):
            method, density = labels(number)
            study.add_trial(
                library.trial.create_trial(
                    params={"method": method, "density": density},
                    distributions=spaces,
                    value=0.9,
                    intermediate_values=dict.fromkeys(range(EVALS), 0.9),
                    user_attrs={f"density_{i}": density for i in range(LAYERS)},
                )
            )

    def ask() -> int:
        groups: dict[tuple[str, float], list[float]] = {}
        for trial in library.load_study(study_name="big", storage=storage).trials:
            at = trial.params["method"], trial.params["density"]
            groups.setdefault(at, []).append(trial.value or 0.0)
        return sum(len(group) for group in groups.values())

    return write, ask


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        write, ask = {"mlflow": mlflow, "optuna": optuna}[name](Path(folder), count)
        times = []
        for work in (write, ask):
            began = time.perf_counter()
            found = work()
            times.append(time.perf_counter() - began)
        assert found == count
    print(json.dumps({"write": times[0], "ask": times[1]}))


if __name__ == "__main__":
    main()
