"""What tasks are expected to cost: from the store's history, or a model before there is any."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.plan import Task
from tasks import catalog
from tasks.spec import Mask, Run, Synflow

Rates = Mapping[tuple[str, str], float]
"""Seconds per unit by (network, what): of an iteration, or of a mask by its score's kind."""

RESULT_BYTES = 16_000
"""A committed result on disk, about."""


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes of tasks; measured rates win over the model."""

    rates: Rates = field(default_factory=dict)

    def seconds(self, task: Task) -> float:
        """Expected time of one task on one worker."""
        value = task.value
        if isinstance(value, Run):
            rate = self.rates.get((value.network.name, "step")) or _step_seconds(value)
            return 0.02 + task.steps * rate
        return self.rates.get((value.network.name, value.score.kind)) or _mask_seconds(value)

    def bytes(self, task: Task) -> int:
        """Expected size on disk: the result, and the states or the mask."""
        weights = _weights(task.value)
        if isinstance(task.value, Mask):
            return RESULT_BYTES + weights // 8
        return RESULT_BYTES + 4 * weights * len(task.save)


def critical_path(tasks: Iterable[Task], costs: Costs) -> tuple[float, list[Task]]:
    """Seconds of the longest chain of tasks, and the chain. Tasks come needs first."""
    ends: dict[str, float] = {}
    chain: dict[str, str | None] = {}
    by_key: dict[str, Task] = {}
    for task in tasks:
        before = max(task.needs, key=ends.__getitem__, default=None)
        ends[task.key] = costs.seconds(task) + (ends[before] if before else 0.0)
        chain[task.key], by_key[task.key] = before, task
    key = max(ends, key=ends.__getitem__, default=None)
    seconds, path = ends[key] if key else 0.0, []
    while key:
        path.append(by_key[key])
        key = chain[key]
    return seconds, path[::-1]


def _weights(value: Run | Mask) -> int:
    network = value.network
    c, h, w = network.input_shape
    return catalog.NETWORKS[network.name].weights((c, h, w), network.classes)


def _step_seconds(run: Run) -> float:
    """A CPU core's overhead of one small iteration, and its arithmetic."""
    c, h, w = run.network.input_shape
    flops = catalog.NETWORKS[run.network.name].flops((c, h, w), run.network.classes)
    return 4e-4 + 6 * flops * run.recipe.batch_size / 2e10


def _mask_seconds(mask: Mask) -> float:
    passes = mask.score.iterations if isinstance(mask.score, Synflow) else 4
    return 0.01 + passes * 1e-3
