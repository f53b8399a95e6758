"""Estimate the cost of tasks: from the store's history, or from a model before there is any."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from orchestrator.planning.planner import Kind, Plan, Task, Trained, trained
from orchestrator.scheduling.graph import Graph, Node
from tasks.values import catalog
from tasks.values.measurements import Measurement, Speed
from tasks.values.records import Mask, Run
from tasks.values.scores import GemMiner, OnExamples

Rates = Mapping[tuple[str, str], float]
"""Seconds per unit by (network, what): of an iteration, or of a mask by its score's kind."""

RESULT_BYTES = 16_000
"""A committed result on disk, about."""


Device = Literal["cpu", "gpu"]

_ITERATION = {"cpu": 4e-4, "gpu": 2e-3}
_FLOPS = {"cpu": 2e10, "gpu": 5e12}
"""Overhead of an iteration, s, and multiply-adds per second reached in training: of one CPU
core by our measurements, of a GPU in float32 a rough guess until some ran."""


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes of tasks on one CPU core or GPU; measured rates win over the model.

    A training is divided among `gang` GPUs. They are taken to share a batch's work evenly and
    to add up in no time, but to save nothing of an iteration's overhead: no gang is faster.
    Rates are of one GPU.
    """

    rates: Rates = field(default_factory=dict)
    device: Device = "cpu"
    gang: int = 1

    def seconds(self, task: Task) -> float:
        """Expected time of one task on one worker."""
        value = task.value
        if isinstance(value, Run):
            rate = self.rates.get((value.network.name, "step")) or self._step(value)
            overhead = min(rate, _ITERATION[self.device])
            return 0.02 + task.steps * (overhead + (rate - overhead) / self.gang)
        if isinstance(value, Measurement):
            return self._measuring(value)
        return self.rates.get((value.network.name, value.score.kind)) or self._mask(value)

    def bytes(self, task: Task) -> int:
        """Expected size on disk: the result, and the states or the mask."""
        if isinstance(task.value, Measurement):
            return RESULT_BYTES
        weights = catalog.size(task.value.network)[0]
        if isinstance(task.value, Mask):
            return RESULT_BYTES + weights // 8
        return RESULT_BYTES + 4 * weights * len(task.save)

    def _step(self, run: Run) -> float:
        flops = 6 * catalog.size(run.network)[1] * run.recipe.batch_size
        return _ITERATION[self.device] + flops / _FLOPS[self.device]

    def _mask(self, mask: Mask) -> float:
        """Passes over images, and selections among weights."""
        weights, flops = catalog.size(mask.network)
        score, rate, iteration = mask.score, _FLOPS[self.device], _ITERATION[self.device]
        if isinstance(score, GemMiner):
            return 0.01 + score.steps * (iteration + 6 * flops * score.batch_size / rate)
        examples = (
            score.examples.per_class * mask.network.classes if isinstance(score, OnExamples) else 1
        )
        return 0.01 + score.rounds * (
            2.5 * iteration + 2e-8 * weights + 12 * flops * examples / rate
        )

    def _measuring(self, value: Measurement) -> float:
        weights, flops = catalog.size(value.network)
        iteration, rate = _ITERATION[self.device], _FLOPS[self.device]
        return value.seconds(Speed(weights, flops, iteration, rate))


def graph(plan: Plan, costs: Costs) -> Graph:
    """A plan's tasks as the scheduler knows them."""
    return Graph(_nodes(plan, costs))


def _nodes(plan: Plan, costs: Costs) -> Iterator[Node]:
    took: dict[Hashable, float] = {}
    for key, task in plan.tasks.items():
        same = _alike(task)
        if same not in took:
            took[same] = costs.seconds(task)
        yield Node(key, took[same], task.needs, _group(task))


class Estimate(NamedTuple):
    """The expected cost of a plan.

    Attributes
    ----------
    kinds : Counter
        How many tasks there are of each kind.
    trained : Trained
        What is to be trained, in iterations and epochs.
    seconds : float
        Of all tasks one after another.
    bytes : int
        Expected size on disk.
    path_seconds, path : float, list of Task
        The longest chain of tasks that need one another, and how long it takes.
    """

    kinds: Counter[Kind]
    trained: Trained
    seconds: float
    bytes: int
    path_seconds: float
    path: list[Task]


def estimate(plan: Plan, costs: Costs) -> Estimate:
    """Return the cost of a plan in one walk. Most tasks cost the same as another one."""
    ends: dict[str, float] = {}
    took: dict[Hashable, float] = {}
    alike: dict[Hashable, Task] = {}
    times: Counter[Hashable] = Counter()
    for key, task in plan.tasks.items():
        same = _alike(task)
        if same not in alike:
            alike[same], took[same] = task, costs.seconds(task)
        times[same] += 1
        starts = 0.0
        for need in task.needs:
            starts = max(starts, ends[need])
        ends[key] = starts + took[same]
    kinds: Counter[Kind] = Counter()
    for same, task in alike.items():
        kinds[task.kind] += times[same]
    path = _back(plan, ends)
    return Estimate(
        kinds=kinds,
        trained=trained(
            (task.value, task.steps * times[same])
            for same, task in alike.items()
            if isinstance(task.value, Run)
        ),
        seconds=sum(took[same] * count for same, count in times.items()),
        bytes=sum(costs.bytes(alike[same]) * count for same, count in times.items()),
        path_seconds=ends[path[-1].key] if path else 0.0,
        path=path,
    )


def _alike(task: Task) -> Hashable:
    """Return the parts of a task that its cost depends on. Tasks with equal parts cost the same."""
    value = task.value
    if isinstance(value, Run):
        what = value.network.key, value.dataset.key, value.recipe.key
        return *what, value.first_step, task.last_step, len(task.save)
    if isinstance(value, Mask):
        return value.network.key, value.score.key
    return value.key


def _back(plan: Plan, ends: Mapping[str, float]) -> list[Task]:
    """The chain that ends last, from its first task."""
    path: list[Task] = []
    last = max(ends, key=ends.__getitem__, default=None)
    while last:
        path.append(plan.tasks[last])
        last = max(path[-1].needs, key=ends.__getitem__, default=None)
    return path[::-1]


def _group(task: Task) -> str:
    """Masks that share a score like one worker: it scores once for every density."""
    value = task.value
    if not isinstance(value, Mask) or not value.score.is_one_shot:
        return ""
    of, within = value.of, value.within
    return f"{value.score.key}/{of.key if of else ''}/{within.key if within else None}"
