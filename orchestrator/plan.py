"""The least work that answers a sweep: trials to undone tasks, with the reason for each.

Pure: what the store holds comes in as an inventory. Equal expressions have equal keys, so
all sharing is one dictionary.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, cast

from orchestrator.trials import Trial
from tasks import catalog
from tasks.measurements import Barrier, Graphs, Latency, Measurement
from tasks.spec import Init, Mask, Run, State

Kind = Literal["run", "mask", "barrier", "graphs", "latency"]
Value: TypeAlias = Run | Mask | Measurement


_ON_PURPOSE = "done once more on purpose"


class Holdings(Protocol):
    """What a store holds already (orchestrator.store.results.Inventory)."""

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


@dataclass(frozen=True)
class Task:
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
        return cast("Kind", self.value.kind)

    @property
    def steps(self) -> int:
        """Iterations that the task trains; 0 where it is no run."""
        return self.last_step - self.value.first_step if isinstance(self.value, Run) else 0

    @property
    def epochs(self) -> float:
        """Passes over the training data that the task makes."""
        return epochs(self.value, self.steps) if isinstance(self.value, Run) else 0.0


@dataclass(frozen=True)
class Plan:
    """Undone tasks by key, needs before those who need them, and what they answer."""

    trials: list[Trial]
    tasks: dict[str, Task]
    done: int

    @property
    def steps(self) -> int:
        """Iterations to train."""
        return sum(task.steps for task in self.tasks.values())

    @property
    def epochs(self) -> float:
        """Epochs to train."""
        return sum(task.epochs for task in self.tasks.values())


def plan(trials: list[Trial], held: Holdings, only: Set[int] | None = None) -> Plan:
    """The tasks that the store lacks for these trials, or for those of them with a number."""
    wanted = _Wanted(held)
    done = 0
    for number, trial in enumerate(trials):
        if only is None or number in only:
            done += wanted.answer(trial, number)
    return Plan(trials, _sorted(wanted.tasks()), done)


def answers(trial: Trial) -> list[Value]:
    """What answers a trial: its measurements, its run and its mask."""
    asked: list[Value] = [*trial.measured]
    asked += [trial.run] if trial.trained else []
    asked += [trial.run.mask] if trial.run.mask else []
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
    return (needed.run.key, needed.step) in held.states


def alone(trials: Iterable[Trial]) -> Iterator[tuple[Run, int]]:
    """What a trial-by-trial script trains: each trial with all that it stands on, anew.

    Yields runs with their iterations; a run that only lends its weights at step k is
    trained to k.
    """
    lineages: dict[tuple[object, ...], list[tuple[Run, int]]] = {}
    for trial in trials:
        identity = trial.run.key, trial.trained, *(asked.key for asked in trial.measured)
        if identity not in lineages:
            lineages[identity] = list(_lineage(trial))
        yield from lineages[identity]


def epochs(run: Run, steps: int) -> float:
    """Iterations of a run in passes over its training data."""
    return steps / catalog.steps_per_epoch(run.dataset, run.recipe.batch_size)


# ---------------------------------------------------------------- what is wanted


@dataclass
class _Want:
    value: Value
    reason: str
    trial: int
    whole: bool
    save: set[int] = field(default_factory=set)


class _Wanted:
    """Everything undone that was asked for so far, and what that stands on in turn."""

    def __init__(self, held: Holdings) -> None:
        self._held = held
        self._wants: dict[str, _Want] = {}
        self._unexplored: list[_Want] = []

    def answer(self, trial: Trial, number: int) -> bool:
        """Ask for a trial's run, mask and measurements; whether the store had them all."""
        lacking = [value for value in answers(trial) if value.key not in self._held.results]
        for value in lacking:
            self._want(value, "not in the store", number)
        while self._unexplored:
            want = self._unexplored.pop()
            for needed in inputs(want.value):
                self._need(needed, number)
        return not lacking

    def tasks(self) -> dict[str, Task]:
        """A task for each want, its needs resolved."""
        return {key: self._task(want) for key, want in self._wants.items()}

    def _need(self, needed: State | Mask, trial: int) -> None:
        if isinstance(needed, Mask):
            if not self._has(needed):
                told = needed.key in self._held.results
                reason = "its file is missing" if told else "not in the store"
                self._want(needed, reason, trial)
        elif not self._has(needed):
            told = needed.run.key in self._held.results
            reason = f"weights at step {needed.step} are needed and not stored"
            reason = reason if told else "not in the store"
            self._want(needed.run, reason, trial).save.add(needed.step)

    def _want(self, value: Value, reason: str, trial: int) -> _Want:
        want = self._wants.get(value.key)
        if want is None:
            whole = value.key not in self._held.results
            want = self._wants[value.key] = _Want(value, reason, trial, whole)
            self._unexplored.append(want)
        return want

    def _has(self, needed: State | Mask) -> bool:
        return _held(self._held, needed)

    def _task(self, want: _Want) -> Task:
        lacking = [n for n in inputs(want.value) if not self._has(n)]
        needs = [n.key if isinstance(n, Mask) else n.run.key for n in lacking]
        last_step = 0
        if isinstance(want.value, Run):
            last_step = want.value.recipe.steps if want.whole else max(want.save)
        return Task(
            value=want.value,
            reason=want.reason,
            needs=tuple(dict.fromkeys(needs)),
            trial=want.trial,
            save=tuple(sorted(want.save)),
            last_step=last_step,
        )


def inputs(value: Value) -> list[State | Mask]:
    """The stored things that a task of this value reads."""
    around: tuple[Init | State | Mask | None, ...]
    match value:
        case Run():
            around = value.start, value.mask
        case Mask():
            around = value.of, value.within
        case Barrier():
            around = value.one, value.other
        case Graphs() | Latency():
            around = (value.mask,)
    return [item for item in around if item is not None and not isinstance(item, Init)]


def _sorted(tasks: dict[str, Task]) -> dict[str, Task]:
    """Needs before those who need them (depth first, without recursion)."""
    placed: dict[str, Task] = {}
    for key in tasks:
        path = [key]
        while path:
            task = tasks[path[-1]]
            missing = [need for need in task.needs if need not in placed]
            if missing:
                path.extend(missing)
            else:
                placed.setdefault(path.pop(), task)
    return placed


def _lineage(trial: Trial) -> Iterator[tuple[Run, int]]:
    """A trial's run and all runs it stands on, each once, with the iterations that are needed."""
    last_steps: dict[str, int] = {}
    runs: dict[str, Run] = {}
    masks: set[str] = set()
    unexplored: list[State | Mask] = []

    def reach(reached: Run, step: int) -> None:
        if reached.key not in runs:
            runs[reached.key] = reached
            unexplored.extend(inputs(reached))
        last_steps[reached.key] = max(step, last_steps.get(reached.key, 0))

    if trial.trained:
        reach(trial.run, trial.run.recipe.steps)
    elif trial.mask:
        unexplored.append(trial.mask)
    for asked in trial.measured:
        unexplored += inputs(asked)
    while unexplored:
        item = unexplored.pop()
        if isinstance(item, State):
            reach(item.run, item.step)
        elif item.key not in masks:
            masks.add(item.key)
            unexplored.extend(inputs(item))
    for key, reached in runs.items():
        yield reached, last_steps[key] - reached.first_step
