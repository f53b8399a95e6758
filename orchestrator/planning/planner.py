"""Plan the least work that answers a sweep: from trials to missing tasks, each with its reason.

The functions are pure: an inventory tells them what the store holds. Equal expressions have
equal keys, so one dictionary finds all shared work. A task needs the tasks of the states and
masks that its value names (`inputs`): so each level of IMP (`orchestrator/sweep/methods.py`, `imp`)
becomes a task that needs the level before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from orchestrator.sweep.trials import Trial
from tasks.values import catalog
from tasks.values.measurements import Measurement
from tasks.values.records import Mask, Run, State
from tasks.values.training import Init

Kind: TypeAlias = str
"""run, mask, or the kind of a measurement."""

Value: TypeAlias = Run | Mask | Measurement


_UNKNOWN = "not in the store"
_ON_PURPOSE = "done once more on purpose"
_STOOD_ON = "results that are stored stand on it"


class Holdings(Protocol):
    """Contents of a store (tombola.store.results.Inventory): keys, and (run key, step) pairs."""

    @property
    def results(self) -> frozenset[str]: ...
    @property
    def masks(self) -> frozenset[str]: ...
    @property
    def states(self) -> frozenset[tuple[str, int]]: ...


@dataclass(frozen=True)
class Nothing:
    """An empty store."""

    results: frozenset[str] = frozenset()
    masks: frozenset[str] = frozenset()
    states: frozenset[tuple[str, int]] = frozenset()


class Task(NamedTuple):
    """Train a run up to `last_step` and save the states that others need; prune; or measure.

    `needs` are the keys of tasks in the same plan that must finish first. `trial` is the number
    of the first trial that needs the task. A `repeat` has a result already and is done again to
    compare the results.
    """

    value: Value
    reason: str
    needs: tuple[str, ...]
    trial: int
    save: tuple[int, ...] = ()
    last_step: int = 0
    repeat: bool = False

    @property
    def key(self) -> str:
        """Key of the task's value."""
        return self.value.key

    @property
    def kind(self) -> Kind:
        """Kind of the value: "run", "mask" or a measurement."""
        return self.value.kind

    @property
    def steps(self) -> int:
        """Number of iterations that the task trains; 0 if its value is no run."""
        return self.last_step - self.value.first_step if isinstance(self.value, Run) else 0


class Trained(NamedTuple):
    """Amount of training: iterations, and epochs (passes over the training data)."""

    steps: int
    epochs: float


@dataclass(frozen=True)
class Plan:
    """Missing tasks by key, each after its needs, and the trials they answer.

    `done` is the number of trials whose results are all in the store.
    """

    trials: list[Trial]
    tasks: dict[str, Task]
    done: int

    @property
    def trained(self) -> Trained:
        """Amount of training in all tasks."""
        tasks = ((task.value, task.steps) for task in self.tasks.values())
        return trained((value, steps) for value, steps in tasks if isinstance(value, Run))


def datasets(planned: Plan) -> list[str]:
    """Return the names of the datasets that runs and masks read, sorted."""
    names = set()
    for task in planned.tasks.values():
        value = task.value
        if isinstance(value, Run):
            names.add(value.dataset.name)
        elif isinstance(value, Mask) and value.score.reads:
            names.add(value.score.reads.name)
    return sorted(names)


def plan(trials: list[Trial], held: Holdings, only: Set[int] | None = None) -> Plan:
    """Return the tasks that the store lacks for these trials.

    `only` restricts the plan to trials with these numbers (places in the list).
    """
    wanted = _Wanted(held)
    done = 0
    for number, trial in enumerate(trials):
        if only is None or number in only:
            done += wanted.answer(trial, number)
    return Plan(trials, wanted.tasks(), done)


def answers(trial: Trial) -> list[Value]:
    """Return the values that answer a trial: its measurements, its run and its mask."""
    values: list[Value] = [*trial.measured]
    if trial.trained:
        values.append(trial.run)
    if mask := trial.run.mask:
        values.append(mask)
    return values


def repeats(
    trials: list[Trial], held: Holdings, fraction: float, only: Set[int] | None = None
) -> Plan:
    """Plan to repeat a fraction (0 to 1) of the trials' finished tasks, drawn by their keys.

    Tasks whose inputs are no longer stored are left out. `only` restricts the draw to trials
    with these numbers.
    """
    tasks: dict[str, Task] = {}
    for number, trial in enumerate(trials):
        if only is not None and number not in only:
            continue
        for value in answers(trial):
            drawn = int(value.key[-8:], 16) < fraction * 2**32 and value.key in held.results
            if drawn and all(_held(held, item) for item in inputs(value)):
                steps = value.recipe.steps if isinstance(value, Run) else 0
                again = Task(value, _ON_PURPOSE, (), number, last_step=steps, repeat=True)
                tasks.setdefault(value.key, again)
    return Plan(trials, tasks, 0)


def only_for(planned: Plan, trials: Set[int]) -> frozenset[str]:
    """Return the keys of the tasks that only these trials (by number) need."""
    tasks = planned.tasks
    others = (trial for number, trial in enumerate(planned.trials) if number not in trials)
    unexplored = [value.key for trial in others for value in answers(trial) if value.key in tasks]
    unexplored += [  # not reached from answers, since the results that need it are stored
        key for key, task in tasks.items() if task.reason == _STOOD_ON and task.trial not in trials
    ]
    needed: set[str] = set()
    while unexplored:
        key = unexplored.pop()
        if key not in needed:
            needed.add(key)
            unexplored += tasks[key].needs
    return frozenset(tasks.keys() - needed)


def all_for(planned: Plan, trials: Set[int]) -> frozenset[str]:
    """Return the keys of the tasks that these trials (by number) need."""
    return frozenset(planned.tasks) - only_for(planned, set(range(len(planned.trials))) - trials)


def _held(held: Holdings, needed: State | Mask) -> bool:
    if isinstance(needed, Mask):
        return needed.key in held.masks and needed.key in held.results
    return needed.run.key in held.results and (needed.run.key, needed.step) in held.states


def alone(trials: Iterable[Trial]) -> Iterator[tuple[Run, int]]:
    """Yield the runs that a script without sharing trains, each with its iterations.

    Such a script trains each trial with all runs that it depends on. Trials of one shape cost
    the same: the iterations of the first one's runs are multiplied by their number. A run of
    which only the weights at step k are needed is trained to k.
    """
    known: dict[str, _Lineage] = {}
    for trial, times in _shapes(trials):
        mask, run = trial.mask, trial.run
        if mask and mask.key not in known:
            if len(known) == _LINEAGES:
                known.clear()
            known[mask.key] = _lineage(inputs(mask), known, {})
        lineage = known[mask.key].copy() if mask else {}
        needed = [item for value in trial.measured for item in inputs(value)]
        if trial.trained:
            lineage[run.key] = run, run.recipe.steps
            if isinstance(run.start, State):
                needed.append(run.start)
        for ancestor, last_step in _lineage(needed, known, lineage).values():
            yield ancestor, (last_step - ancestor.first_step) * times


def together(trials: Iterable[Trial]) -> Trained:
    """Return the training that these trials need with an empty store, equal work counted once.

    Runs of different replicates differ, but cost the same. Only the first trial of each shape
    is planned, and its training is multiplied by the number of trials of that shape.
    """
    shapes = list(_shapes(trials))
    tasks = plan([trial for trial, _ in shapes], Nothing()).tasks.values()
    return trained(
        (task.value, task.steps * shapes[task.trial][1])
        for task in tasks
        if isinstance(task.value, Run)
    )


def _shapes(trials: Iterable[Trial]) -> Iterable[tuple[Trial, int]]:
    """Return the first trial of each shape, and the number of trials of that shape."""
    first: dict[int, Trial] = {}
    times: Counter[int] = Counter()
    for trial in trials:
        first.setdefault(trial.shape, trial)
        times[trial.shape] += 1
    return zip(first.values(), times.values(), strict=True)


def trained(runs: Iterable[tuple[Run, int]]) -> Trained:
    """Add up runs, each with its number of iterations, in iterations and epochs."""
    steps: Counter[tuple[str, int]] = Counter()
    first: dict[tuple[str, int], Run] = {}
    for run, n in runs:
        same = run.dataset.key, run.recipe.batch_size
        steps[same] += n
        first.setdefault(same, run)
    epochs = (
        n / catalog.steps_per_epoch(first[same].dataset, first[same].recipe.batch_size)
        for same, n in steps.items()
    )
    return Trained(steps.total(), sum(epochs))


# ---------------------------------------------------------------- what is wanted


class _Wanted:
    """The missing tasks of all trials so far, and of all values that these depend on."""

    def __init__(self, held: Holdings) -> None:
        self._results, self._masks, self._states = held.results, held.masks, held.states
        self._tasks: dict[str, Task] = {}
        self._saves: dict[str, set[int]] = {}
        self._complete: set[str] = set()

    def answer(self, trial: Trial, number: int) -> bool:
        """Add the missing tasks of a trial; return whether the store has all its results."""
        values = answers(trial)
        lacking = [value for value in values if value.key not in self._results]
        for value in lacking[::-1]:  # a mask before its run
            if value.key not in self._tasks:
                self._place(value, number, _UNKNOWN)
        if self._results:
            self._complete_lineage(values, number)
        return not lacking

    def _complete_lineage(self, values: list[Value], number: int) -> None:
        """Add tasks for all ancestors without a result, even where their descendants have one."""
        while values:
            value = values.pop()
            if value.key in self._complete:
                continue
            self._complete.add(value.key)
            if value.key not in self._results and value.key not in self._tasks:
                self._place(value, number, _STOOD_ON)
            values += [item.run if isinstance(item, State) else item for item in inputs(value)]

    def _place(self, wanted: Value, number: int, why: str) -> None:
        """Add a task after the tasks that it needs: depth first, without recursion."""
        path: list[tuple[Value, str]] = [(wanted, why)]
        while path:
            value, reason = path[-1]
            needs: dict[str, None] = {}
            missing: list[tuple[Value, str]] = []
            for item in inputs(value):
                if lacking := self._lacking(item):
                    key = lacking[0].key
                    needs[key] = None
                    if key not in self._tasks:
                        missing.append(lacking)
            if missing:
                path += missing
                continue
            steps = value.recipe.steps if isinstance(value, Run) else 0
            self._tasks.setdefault(value.key, Task(value, reason, tuple(needs), number, (), steps))
            path.pop()

    def tasks(self) -> dict[str, Task]:
        """Return all tasks, each after its needs.

        A run saves its weights at the steps that others need. A finished run is trained again
        only up to the last of these steps.
        """
        for key, steps in self._saves.items():
            task = self._tasks[key]
            last_step = max(steps) if key in self._results else task.last_step
            self._tasks[key] = task._replace(save=tuple(sorted(steps)), last_step=last_step)
        return self._tasks

    def _lacking(self, needed: State | Mask) -> tuple[Run | Mask, str] | None:
        """Return the value that produces a state or mask, and a reason; None if it is stored.

        Files of states and masks appear before the result that commits them. Without the result
        they do not count.
        """
        if isinstance(needed, Mask):
            committed = needed.key in self._results
            if committed and needed.key in self._masks:
                return None
            return needed, "its file is missing" if committed else _UNKNOWN
        run, step = needed.run, needed.step
        committed = run.key in self._results
        if committed and (run.key, step) in self._states:
            return None
        self._saves.setdefault(run.key, set()).add(step)
        if committed:
            return run, f"weights at step {step} are needed and not stored"
        return run, _UNKNOWN


def inputs(value: Value) -> list[State | Mask]:
    """Return the states and masks that a task of this value reads from the store."""
    references: tuple[Init | State | Mask | None, ...]
    if isinstance(value, Run):
        references = value.start, value.mask
    elif isinstance(value, Mask):
        references = value.of, value.within
    else:
        references = value.reads
    return [item for item in references if isinstance(item, _STORED)]


_STORED = State, Mask


_Lineage: TypeAlias = dict[str, tuple[Run, int]]
"""Runs by key, each with the last step of it that is needed."""

_LINEAGES = 10_000
"""Number of masks whose lineage is cached: each level depends on the level before."""


def _lineage(
    items: list[State | Mask], known: Mapping[str, _Lineage], lineage: _Lineage
) -> _Lineage:
    """Add to `lineage` all runs that the items depend on; `known` has those of some masks."""
    if not items:
        return lineage
    masks: set[str] = set()

    def reach(run: Run, step: int) -> bool:
        before = lineage.get(run.key)
        if before is None or before[1] < step:
            lineage[run.key] = run, step
        return before is None

    while items:
        item = items.pop()
        if isinstance(item, State):
            if reach(item.run, item.step):
                items += inputs(item.run)
        elif item.key in known:
            for run, step in known[item.key].values():
                reach(run, step)
        elif item.key not in masks:
            masks.add(item.key)
            items += inputs(item)
    return lineage
