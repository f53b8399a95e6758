"""A canary for each kind of task: what goes down into the mine before the grid does.

A bad recipe, a missing dataset or a broken method of one's own is so known in the first
minute of a long launch, and not when the last of its trials fails.
"""

from orchestrator.planning.planner import Plan, Task
from tasks.values.records import Mask, Run
from tasks.values.scores import OnExamples

WORTH_SECONDS = 300.0
"""Launches that are expected to be over sooner are their own canary."""


def canaries(plan: Plan) -> list[Task]:
    """One task of the plan for each network, dataset and way to train or to score."""
    found: dict[tuple[object, ...], Task] = {}
    for task in plan.tasks.values():
        if isinstance(task.value, Run | Mask):
            found.setdefault(_kind(task.value), task)
    return list(found.values())


def _kind(value: Run | Mask) -> tuple[object, ...]:
    network = value.network.key
    if isinstance(value, Run):
        recipe = value.recipe
        how = recipe.optimizer, recipe.augment, recipe.ghosts, recipe.evaluate
        return ("run", network, value.dataset.key, recipe.batch_size, *how)
    score = value.score
    dataset = score.examples.dataset.key if isinstance(score, OnExamples) else ""
    pattern = value.pattern.kind if value.pattern else ""
    named = getattr(score, "name", "")
    return ("mask", network, dataset, score.kind, named, value.scope, pattern, value.keep_dense)
