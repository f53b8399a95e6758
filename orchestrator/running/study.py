"""Read a sweep file, plan it and run it. The command line calls this module.

study = read("sweeps/quickstart.yaml")
progress = run(study, "store", InlineExecutor())
"""

from collections.abc import Callable, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.executors.base import Executor
from orchestrator.planning.cost import Costs, Device, Rates
from orchestrator.planning.no_collection import without_collection
from orchestrator.planning.planner import Nothing, Plan, answers, plan, repeats
from orchestrator.running.launch import DEFAULTS, Limits, Observer, Progress, launch
from orchestrator.scheduling.failures import Failure
from orchestrator.sweep import schema
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
"""The most launches of one run. A launch that removes damaged files is followed by another."""


@dataclass(frozen=True)
class Study:
    """A sweep file, parsed, and the trials that it asks for."""

    path: Path
    sweep: Sweep
    source: Source
    trials: list[Trial]

    @property
    def name(self) -> str:
        """The name under which the store registers the sweep."""
        return self.sweep.name


def read(
    path: str | Path,
    overrides: tuple[str, ...] = (),
    also: schema.Check = lambda _: [],
) -> Study:
    """Read a study from its sweep file, with `key=value` overrides.

    `also` returns further mistakes. Figures are checked by it, as only analysis knows them.

    Raises
    ------
    SweepError
        With a line for each mistake in the file.
    """
    parsed, source = schema.read(Path(path), overrides, also)
    with without_collection():
        return Study(Path(path), parsed, source, trials(parsed, source))


def as_stored(study: Study, root: Path) -> Study:
    """Return the study with the digests of user code under which this store has results.

    Earlier versions identified user code by the bytes of its file. If the store has results under
    that digest, and the file is still the same, the study goes on with that digest.
    """
    older = [
        name
        for name in own_names(study.sweep)
        if user_code.depends_on(name).of_bytes not in {None, user_code.depends_on(name).digest}
    ]
    stored = results.inventory(root).results if older else frozenset()
    if not stored:
        return study
    first = study.sweep.model_copy(update={"replicates": study.sweep.replicates[:1]})

    def answered(names: list[str]) -> int:
        with user_code.as_bytes(names):
            return sum(value.key in stored for trial in trials(first) for value in answers(trial))

    if answered(older) <= answered([]):
        return study
    for name in list(older):
        others = [other for other in older if other != name]
        if answered(others) >= answered(older):
            older = others
    with user_code.as_bytes(older), without_collection():
        return replace(study, trials=trials(study.sweep, study.source))


def own_names(sweep: Sweep) -> list[str]:
    """Return the names of the user's own networks, datasets and methods in a sweep."""
    choices, datasets = [*sweep.network], [*sweep.dataset]
    for grid in sweep.grids:
        choices += [*(grid.network or ()), *grid.method]
        datasets += [*(grid.dataset or ()), *filter(None, [grid.found_on])]
    named = dict.fromkeys([*(choice.name for choice in choices), *datasets])
    return [name for name in named if ":" in name and not name.startswith("torchvision:")]


def plan_for(
    study: Study, store: str | Path, device: Device = "cpu", only: Set[int] | None = None
) -> tuple[Plan, Costs]:
    """Plan what the store lacks for the study, or for `only` these trials; with expected costs.

    A store that does not exist yet is an empty store.
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
    """Plan a fraction of the study's finished tasks again, always the same tasks.

    With `only`, tasks of these trials.
    """
    root = open_store(locate(store))
    study = as_stored(study, root)
    return repeats(study.trials, results.inventory(root), fraction, only)


def register(study: Study, store: str | Path) -> str:
    """Register the trials of the study in the store; return the identifier of this revision."""
    return sweeps.register(locate(store), registration(study, store))


def registration(study: Study, store: str | Path) -> sweeps.Registration:
    """Return the file that `register` writes into the store."""
    root = locate(store)
    study = as_stored(study, root)
    rows = (_row(study, number, trial) for number, trial in enumerate(study.trials))
    return sweeps.registration(root, study.name, rows, study.source.data, study.sweep.figures)


def no_longer_asked(study: Study, store: str | Path) -> int:
    """Count the trials that the store has under this name and the study no longer has."""
    rows = (_row(study, number, trial) for number, trial in enumerate(study.trials))
    current = {tuple(row.get(key) for key in ANSWERS) for row in rows}
    stored = sweeps.current_answers(locate(store), study.name)
    return sum(answers not in current for answers in stored)


def run(
    study: Study,
    store: str | Path,
    executor: Executor,
    *,
    observe: Observer = lambda _: None,
) -> Progress:
    """Register a study in a store and run what the store lacks for it."""
    root = open_store(locate(store), create=True)
    inbox = Inbox(root, study.name, register(study, root))
    launches = StudyRun(study, root, executor, inbox, watch=lambda _: nullcontext(observe))
    return launches.run(*plan_for(study, root))


@dataclass(frozen=True)
class StudyRun:
    """The launches of one study on one executor.

    `watch` opens the display of a launch and yields its observer; `tell` takes messages for the
    user. With `only`, the numbers of the trials to answer.
    """

    study: Study
    root: Path
    executor: Executor
    inbox: Inbox | None = None
    limits: Limits = DEFAULTS
    canary: bool = True
    only: Set[int] | None = None
    watch: Callable[[Plan], AbstractContextManager[Observer]] = lambda _: nullcontext(_ignore)
    tell: Callable[[str], None] = lambda _: None

    def run(self, planned: Plan, costs: Costs) -> Progress:
        """Launch a plan, and again where tasks removed damaged files, at most `ROUNDS` times."""
        for _ in range(ROUNDS):
            progress = self._launch(planned, costs, canary=self.canary)
            if progress.stopped or not _met_damage(progress):
                break
            self.tell("Damaged files were removed. Their results are computed again.")
            planned, costs = plan_for(self.study, self.root, only=self.only)
        return progress

    def repeat(self, fraction: float, costs: Costs) -> Progress:
        """Do a fraction of the finished tasks again and compare (see the table `repeats`).

        The failures of the progress include the tasks that came out differently.
        """
        planned = repeats_for(self.study, self.root, fraction, self.only)
        count = len(planned.tasks)
        if not count:
            return Progress(0)
        self.tell(f"{count:,} finished tasks are repeated, to compare")
        progress = self._launch(planned, costs, canary=False)
        self.tell(f"{len(progress.done):,} of {count:,} came out the same; see table repeats")
        return progress

    def _launch(self, planned: Plan, costs: Costs, *, canary: bool) -> Progress:
        with self.watch(planned) as observe:
            return launch(
                planned,
                self.root,
                self.executor,
                costs=costs,
                observe=observe,
                limits=self.limits,
                canary=canary,
                inbox=self.inbox,
            )


def _ignore(_: Progress) -> None:
    """Observe nothing."""


def _met_damage(progress: Progress) -> bool:
    """Return whether a task failed on a damaged file. A new plan computes the file again."""
    return any(failed.why is Failure.DAMAGED_FILE for failed in progress.failures)


def _row(study: Study, number: int, trial: Trial) -> dict[str, Any]:
    return {
        "sweep": study.name,
        "trial": number,
        **trial.labels,
        "run_key": trial.run.key if trial.trained else None,
        "mask_key": trial.mask.key if trial.mask else None,
        "dense_key": trial.dense.key if trial.trained else None,
        **{f"{value.kind}_key": value.key for value in trial.measured},
    }
