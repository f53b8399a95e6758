"""Large, trustworthy sweeps of neural-network pruning experiments, from Python.

>>> import tombola
>>> sweep = tombola.read("sweeps/quickstart.yaml", "replicates=1")
>>> tombola.run(sweep, "store")
>>> tombola.connect("store").sql("SELECT method, density, accuracy FROM trials")
>>> tombola.figure("ablations", "store", "quickstart")
>>> tombola.module("store", run_key)

Heavy packages are imported when a function first needs them.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from analysis.reference import load as published
    from orchestrator.executors.base import Executor
    from orchestrator.planning.planner import Plan
    from orchestrator.running.launch import Progress
    from orchestrator.running.study import Study
    from tasks.data.readers import reader as dataset
    from tasks.heartbeat import paced
    from tasks.values.catalog import DatasetFacts

__all__ = [
    "DatasetFacts",
    "__version__",
    "connect",
    "dataset",
    "figure",
    "mask",
    "module",
    "paced",
    "plan",
    "published",
    "read",
    "run",
    "table",
    "weights",
]

_ELSEWHERE = {
    "DatasetFacts": ("tasks.values.catalog", "DatasetFacts"),
    "dataset": ("tasks.data.readers", "reader"),
    "paced": ("tasks.heartbeat", "paced"),
    "published": ("analysis.reference", "load"),
}
"""Names that are defined in another module: which, and what they are called there."""


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'tombola' has no attribute {name!r}")
    home, there = _ELSEWHERE[name]
    return getattr(import_module(home), there)


def __dir__() -> list[str]:
    return __all__


# ---------------------------------------------------------------- sweeps


def read(path: str | Path, *overrides: str) -> Study:
    """Read a sweep file, with overrides such as `"replicates=1"`.

    Raises
    ------
    SweepError
        When the file asks for something impossible; it has a line for each mistake.
    """
    from analysis import figures
    from orchestrator.running import study

    return study.read(path, overrides, figures.mistakes)


def plan(sweep: Study, store: str | Path = "store") -> Plan:
    """Return the tasks that a store lacks for a sweep. Nothing is run or written."""
    from orchestrator.running import study

    return study.plan_for(sweep, store)[0]


def run(
    sweep: Study,
    store: str | Path = "store",
    executor: Executor | None = None,
    *,
    observe: Callable[[Progress], None] | None = None,
) -> Progress:
    """Run what a store lacks for a sweep.

    Without an `executor`, tasks run in this process, one after another.
    `orchestrator.executors.on_ray.RayExecutor` runs them on all cores or on a cluster.
    `observe` is called with the progress as it changes.
    """
    from orchestrator.executors.inline import InlineExecutor
    from orchestrator.running import study

    return study.run(
        sweep, store, executor or InlineExecutor(), observe=observe or (lambda _: None)
    )


# ---------------------------------------------------------------- results


def connect(store: str | Path = "store") -> duckdb.DuckDBPyConnection:
    """Open a store as SQL tables: a DuckDB connection to a private snapshot of it.

    The tables are trials, evals, layers, measurements, tasks, attempts, repeats and sweeps.

    Raises
    ------
    StoreError
        When the store is missing or a file in it is damaged.
    """
    from analysis.database import connection

    return connection.connect(store)


def figure(name: str, store: str | Path, sweep: str, **options: Any) -> Figure:
    """Draw a figure of a sweep; a notebook shows it. Nothing is written.

    `options` are those of a sweep file: `methods=["snip"]`, `spread="ci95"`.

    Raises
    ------
    FigureError
        When the figure or an option does not exist, or no trial fits.
    StoreError
        When the store is missing, is damaged or does not have the sweep.
    """
    from analysis import figures

    drawn: Figure = figures.made(name, store, sweep, options)
    return drawn


def table(
    store: str | Path,
    sweep: str,
    *,
    metric: str = "accuracy",
    methods: Sequence[str] = (),
    densities: Sequence[float] = (),
) -> str:
    """Return a Markdown table of methods by densities, with tests over replicates.

    Raises
    ------
    TableError
        When the sweep lacks the metric, a method or a density.
    StoreError
        When the store is missing, is damaged or does not have the sweep.
    """
    from analysis import tables

    return tables.render(store, sweep, metric=metric, methods=methods, densities=densities)


# ---------------------------------------------------------------- networks of a store


def weights(
    store: str | Path,
    key: str,
    step: int | None = None,
    *,
    train: bool = False,
    run_code: bool = False,
) -> dict[str, Tensor]:
    """Return the weights of a run as a PyTorch state dict, on the CPU.

    `key` is `trials.run_key`, or its first six or more digits. `step` is the iteration, the
    last one by default. A store holds the weights that other tasks start from. `train=True`
    trains the run again where its weights are not stored: the same bits on the same kind of
    machine. `run_code=True` runs a network or dataset of your own that the store names; pass
    it for stores that you trust.

    Raises
    ------
    StoreError
        When there is no such run, or its weights at that step are not stored.
    """
    from tombola import networks

    return networks.weights(store, key, step, train=train, run_code=run_code)


def mask(store: str | Path, key: str) -> dict[str, Tensor]:
    """Return a mask: for each prunable tensor a bool tensor, True where a weight is kept.

    `key` is `trials.mask_key` or `trials.run_key`, or its first six or more digits. The mask
    of a dense run is empty.

    Raises
    ------
    StoreError
        When there is no such mask or run.
    """
    from tombola import networks

    return networks.mask(store, key)


def module(
    store: str | Path,
    key: str,
    step: int | None = None,
    *,
    train: bool = False,
    run_code: bool = False,
) -> nn.Module:
    """Return the network of a run with its weights loaded and its mask applied.

    The module is in evaluation mode, on the CPU. The arguments are those of `weights`.

    Raises
    ------
    StoreError
        When there is no such run, or its weights at that step are not stored.
    """
    from tombola import networks

    return networks.module(store, key, step, train=train, run_code=run_code)
