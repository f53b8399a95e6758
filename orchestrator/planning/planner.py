"""The least work that answers a sweep: trials to undone tasks, with the reason for each.

Pure: what the store holds comes in as an inventory. Equal expressions have equal keys, so
all sharing is one dictionary.
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
    """What a store holds already (tombola.store.results.Inventory)."""

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
    """train(run) up to `last_step`, saving the states others need; prune(mask); or measure.

    `needs` are the keys of tasks in the same plan; `trial` is the first that asked for it.
    A `repeat` is done already and done once more, to see whether it comes out the same.
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
        """Key of the value."""
        return self.value.key

    @property
    def kind(self) -> Kind:
        """Run, mask, or what is measured."""
        return self.value.kind

    @property
    def steps(self) -> int:
        """Iterations that the task trains; 0 where it is no run."""
        return self.last_step - self.value.first_step if isinstance(self.value, Run) else 0


class Trained(NamedTuple):
    """How much is trained: iterations, and passes over the training data."""

    steps: int
    epochs: float


@dataclass(frozen=True)
class Plan:
    """Undone tasks by key, needs before those who need them, and what they answer."""

    trials: list[Trial]
    tasks: dict[str, Task]
    done: int

    @property
    def trained(self) -> Trained:
        """What is to be trained."""
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
    """The tasks that the store lacks for these trials, or for those of them with a number."""
    wanted = _Wanted(held)
    done = 0
    for number, trial in enumerate(trials):
        if only is None or number in only:
            done += wanted.answer(trial, number)
    return Plan(trials, wanted.tasks(), done)


def answers(trial: Trial) -> list[Value]:
    """What answers a trial: its measurements, its run and its mask."""
    asked: list[Value] = [*trial.measured]
    if trial.trained:
        asked.append(trial.run)
    if mask := trial.run.mask:
        asked.append(mask)
    return asked


def repeats(
    trials: list[Trial], held: Holdings, fraction: float, only: Set[int] | None = None
) -> Plan:
    """A fraction of the trials' finished tasks, drawn by their keys, to be done once more.

    Those whose inputs are not stored any more are left out. With `only`, of the trials with
    these numbers.
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
    """Keys of the tasks that nothing but these trials (by number) needs."""
    tasks = planned.tasks
    others = (trial for number, trial in enumerate(planned.trials) if number not in trials)
    unexplored = [value.key for trial in others for value in answers(trial) if value.key in tasks]
    unexplored += [  # answers do not lead there: what needs it is stored
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
    """Keys of the tasks that these trials (by number) need."""
    return frozenset(planned.tasks) - only_for(planned, set(range(len(planned.trials))) - trials)


def _held(held: Holdings, needed: State | Mask) -> bool:
    if isinstance(needed, Mask):
        return needed.key in held.masks and needed.key in held.results
    return needed.run.key in held.results and (needed.run.key, needed.step) in held.states


def alone(trials: Iterable[Trial]) -> Iterator[tuple[Run, int]]:
    """What a trial-by-trial script trains: each trial with all that it stands on, anew.

    Yields runs with their iterations, those of trials of one shape together with the first's;
    a run that only lends its weights at step k is trained to k.
    """
    known: dict[str, _Lineage] = {}
    for trial, times in _shapes(trials):
        mask, run = trial.mask, trial.run
        if mask and mask.key not in known:
            if len(known) == _LINEAGES:
                known.clear()
            known[mask.key] = _lineage(inputs(mask), known, {})
        found = known[mask.key].copy() if mask else {}
        asked = [needed for value in trial.measured for needed in inputs(value)]
        if trial.trained:
            found[run.key] = run, run.recipe.steps
            if isinstance(run.start, State):
                asked.append(run.start)
        for one, last_step in _lineage(asked, known, found).values():
            yield one, (last_step - one.first_step) * times


def together(trials: Iterable[Trial]) -> Trained:
    """What is trained for these trials where nothing is stored yet: equal work once.

    Runs of different replicates differ, so those of the first count as often as there are others.
    """
    shapes = list(_shapes(trials))
    tasks = plan([trial for trial, _ in shapes], Nothing()).tasks.values()
    return trained(
        (task.value, task.steps * shapes[task.trial][1])
        for task in tasks
        if isinstance(task.value, Run)
    )


def _shapes(trials: Iterable[Trial]) -> Iterable[tuple[Trial, int]]:
    """The first trial of each shape, and how many have it."""
    first: dict[int, Trial] = {}
    times: Counter[int] = Counter()
    for trial in trials:
        first.setdefault(trial.shape, trial)
        times[trial.shape] += 1
    return zip(first.values(), times.values(), strict=True)


def trained(runs: Iterable[tuple[Run, int]]) -> Trained:
    """Iterations and epochs of runs that each train so many iterations."""
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
    """Everything undone that was asked for so far, and what that stands on in turn."""

    def __init__(self, held: Holdings) -> None:
        self._results, self._masks, self._states = held.results, held.masks, held.states
        self._tasks: dict[str, Task] = {}
        self._saves: dict[str, set[int]] = {}
        self._complete: set[str] = set()

    def answer(self, trial: Trial, number: int) -> bool:
        """Ask for a trial's run, mask and measurements; whether the store had them all."""
        asked = answers(trial)
        lacking = [value for value in asked if value.key not in self._results]
        for value in lacking[::-1]:  # a mask before its run
            if value.key not in self._tasks:
                self._place(value, number, _UNKNOWN)
        if self._results:
            self._complete_lineage(asked, number)
        return not lacking

    def _complete_lineage(self, asked: list[Value], number: int) -> None:
        """Ask for whatever these stand on and has no result, though what reads it has one."""
        while asked:
            value = asked.pop()
            if value.key in self._complete:
                continue
            self._complete.add(value.key)
            if value.key not in self._results and value.key not in self._tasks:
                self._place(value, number, _STOOD_ON)
            asked += [item.run if isinstance(item, State) else item for item in inputs(value)]

    def _place(self, wanted: Value, number: int, why: str) -> None:
        """Put a task after those of what it needs: depth first, without recursion."""
        path: list[tuple[Value, str]] = [(wanted, why)]
        while path:
            value, reason = path[-1]
            needs: dict[str, None] = {}
            missing: list[tuple[Value, str]] = []
            for item in inputs(value):
                if lacking := self._lacking(item):
                    made = lacking[0].key
                    needs[made] = None
                    if made not in self._tasks:
                        missing.append(lacking)
            if missing:
                path += missing
                continue
            steps = value.recipe.steps if isinstance(value, Run) else 0
            self._tasks.setdefault(value.key, Task(value, reason, tuple(needs), number, (), steps))
            path.pop()

    def tasks(self) -> dict[str, Task]:
        """All tasks, needs before those who need them.

        A run saves its weights at the steps at which others need them; a finished one ends there.
        """
        for key, steps in self._saves.items():
            task = self._tasks[key]
            last_step = max(steps) if key in self._results else task.last_step
            self._tasks[key] = task._replace(save=tuple(sorted(steps)), last_step=last_step)
        return self._tasks

    def _lacking(self, needed: State | Mask) -> tuple[Run | Mask, str] | None:
        """What makes something and why it is to be done; None where the store has it.

        Artifacts appear before the result that commits them: without it they do not count.
        """
        if isinstance(needed, Mask):
            told = needed.key in self._results
            if told and needed.key in self._masks:
                return None
            return needed, "its file is missing" if told else _UNKNOWN
        run, step = needed.run, needed.step
        told = run.key in self._results
        if told and (run.key, step) in self._states:
            return None
        self._saves.setdefault(run.key, set()).add(step)
        if told:
            return run, f"weights at step {step} are needed and not stored"
        return run, _UNKNOWN


def inputs(value: Value) -> list[State | Mask]:
    """The stored things that a task of this value reads."""
    around: tuple[Init | State | Mask | None, ...]
    if isinstance(value, Run):
        around = value.start, value.mask
    elif isinstance(value, Mask):
        around = value.of, value.within
    else:
        around = value.reads
    return [item for item in around if isinstance(item, _STORED)]


_STORED = State, Mask


_Lineage: TypeAlias = dict[str, tuple[Run, int]]
"""Runs by key, each with the last step that is needed of it."""

_LINEAGES = 10_000
"""Masks whose lineage is remembered: levels that follow one another stand on each other."""


def _lineage(items: list[State | Mask], known: Mapping[str, _Lineage], found: _Lineage) -> _Lineage:
    """All runs that these stand on, added to those found; `known` says it of some masks."""
    if not items:
        return found
    masks: set[str] = set()

    def reach(run: Run, step: int) -> bool:
        before = found.get(run.key)
        if before is None or before[1] < step:
            found[run.key] = run, step
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
    return found
