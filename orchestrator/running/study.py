"""The Python face of a sweep: read it, plan it, run it. The command line is a skin over this.

study = read("sweeps/quickstart.yaml")
result = run(study, "store", InlineExecutor())
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.executors.base import Executor
from orchestrator.planning.cost import Costs, Device, Rates
from orchestrator.planning.no_collection import without_collection
from orchestrator.planning.planner import Nothing, Plan, answers, plan, repeats
from orchestrator.running.launch import Observer, Progress, launch
from orchestrator.scheduling.failures import Failure
from orchestrator.sweep import schema as sweep_file
from orchestrator.sweep.schema import Sweep
from orchestrator.sweep.trials import Trial, trials
from orchestrator.sweep.yaml_source import Source
from tasks.values import user_code
from tombola.store import history, results, sweeps
from tombola.store.location import locate
from tombola.store.publish import open_store
from tombola.store.requests import Inbox
from tombola.store.schema import ANSWERS

ROUNDS = 3
"""Launches of one run at the most: more than one where files are found damaged."""


@dataclass(frozen=True)
class Study:
    """A sweep file and the trials it means."""

    path: Path
    sweep: Sweep
    source: Source
    trials: list[Trial]

    @property
    def name(self) -> str:
        """The sweep's name, by which the store knows it."""
        return self.sweep.name


def read(
    path: str | Path,
    overrides: tuple[str, ...] = (),
    also: sweep_file.Check = lambda _: [],
) -> Study:
    """A study from its sweep file, with `key=value` overrides.

    `also` finds further mistakes: those of figures, which analysis knows.

    Raises
    ------
    SweepError
        With a line for every mistake in the file.
    """
    parsed, source = sweep_file.read(Path(path), overrides, also)
    with without_collection():
        return Study(Path(path), parsed, source, trials(parsed, source))


def as_stored(study: Study, root: Path) -> Study:
    """The same study, with a user's code named as this store knows it.

    Earlier versions knew it by the bytes of its file. Where the store has results under that
    digest of a file which is still the same, they count, and new ones join them.
    """
    older = [
        name
        for name in own_names(study.sweep)
        if user_code.depends_on(name).of_bytes not in {None, user_code.depends_on(name).digest}
    ]
    held = results.inventory(root).results if older else frozenset()
    if not held:
        return study
    first = study.sweep.model_copy(update={"replicates": study.sweep.replicates[:1]})

    def answered(names: list[str]) -> int:
        with user_code.as_bytes(names):
            return sum(v.key in held for trial in trials(first) for v in answers(trial))

    if answered(older) <= answered([]):
        return study
    for name in list(older):
        others = [one for one in older if one != name]
        if answered(others) >= answered(older):
            older = others
    with user_code.as_bytes(older), without_collection():
        return replace(study, trials=trials(study.sweep, study.source))


def own_names(sweep: Sweep) -> list[str]:
    """Networks, datasets and methods of the user's own that a sweep names."""
    choices, datasets = [*sweep.network], [*sweep.dataset]
    for grid in sweep.grids:
        choices += [*(grid.network or ()), *grid.method]
        datasets += [*(grid.dataset or ()), *filter(None, [grid.found_on])]
    named = dict.fromkeys([*(choice.name for choice in choices), *datasets])
    return [name for name in named if ":" in name and not name.startswith("torchvision:")]


def plan_for(
    study: Study, store: str | Path, device: Device = "cpu", only: Set[int] | None = None
) -> tuple[Plan, Costs]:
    """What the store lacks for the study, or `only` these trials, and what that should cost.

    A store that does not exist yet holds nothing.
    """
    root = locate(store)
    if not root.exists():
        with without_collection():
            return plan(study.trials, Nothing(), only), Costs(device=device)
    study = as_stored(study, open_store(root))
    rates: Rates = history.rates(root, device)
    with without_collection():
        return plan(study.trials, results.inventory(root), only), Costs(rates, device)


def repeats_for(
    study: Study, store: str | Path, fraction: float, only: Set[int] | None = None
) -> Plan:
    """That fraction of the study's finished tasks, the same ones each time, to be done again.

    With `only`, of these trials.
    """
    study = as_stored(study, open_store(locate(store)))
    held = results.inventory(locate(store))
    return repeats(study.trials, held, fraction, only)


def register(study: Study, store: str | Path) -> str:
    """Tell the store which trials the study asks for; the revision by which it knows them."""
    return sweeps.register(locate(store), registration(study, store))


def registration(study: Study, store: str | Path) -> sweeps.Registration:
    """What `register` would put into the store."""
    root = locate(store)
    study = as_stored(study, root)
    rows = (_row(study, number, trial) for number, trial in enumerate(study.trials))
    return sweeps.registration(root, study.name, rows, study.source.data, study.sweep.figures)


def no_longer_asked(study: Study, store: str | Path) -> int:
    """How many trials that the store has under the study's name the study does not ask for."""
    rows = (_row(study, number, trial) for number, trial in enumerate(study.trials))
    asked = {tuple(row.get(key) for key in ANSWERS) for row in rows}
    return sum(row not in asked for row in sweeps.current_answers(locate(store), study.name))


def run(
    study: Study,
    store: str | Path,
    executor: Executor,
    *,
    observe: Observer = lambda _: None,
) -> Progress:
    """Do what the store lacks for the study, on an executor.

    A file that a task found damaged is gone by then: what it held is planned and done again.
    """
    root = open_store(locate(store), create=True)
    inbox = Inbox(root, study.name, register(study, root))
    for _ in range(ROUNDS):
        planned, costs = plan_for(study, root)
        progress = launch(planned, root, executor, costs=costs, observe=observe, inbox=inbox)
        if not met_damage(progress):
            break
    return progress


def met_damage(progress: Progress) -> bool:
    """Whether a task failed for a damaged file, which planning again would cure."""
    return any(failed.why is Failure.DAMAGED_FILE for failed in progress.failures)


def _row(study: Study, number: int, trial: Trial) -> dict[str, Any]:
    return {
        "sweep": study.name,
        "trial": number,
        **trial.labels,
        "run_key": trial.run.key if trial.trained else None,
        "mask_key": trial.mask.key if trial.mask else None,
        "dense_key": trial.dense.key if trial.trained else None,
        **{f"{asked.kind}_key": asked.key for asked in trial.measured},
    }
