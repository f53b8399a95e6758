"""Pick one task of each kind, a canary, to try before a long launch.

A bad recipe, a missing dataset or a broken user function then shows in the first minute of the
launch, and not when its last trial fails.
"""

from orchestrator.planning.planner import Plan, Task
from tasks.values.records import Mask, Run
from tasks.values.scores import OnExamples

WORTH_SECONDS = 300.0
"""Launches with fewer expected seconds run without canaries."""


def canaries(plan: Plan) -> list[Task]:
    """Return one task for each combination of network, dataset, and way to train or score."""
    picked: dict[tuple[object, ...], Task] = {}
    for task in plan.tasks.values():
        if isinstance(task.value, Run | Mask):
            picked.setdefault(_kind(task.value), task)
    return list(picked.values())


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
