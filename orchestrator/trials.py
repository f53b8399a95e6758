"""From a sweep to its trials: every combination of every grid as a labelled expression."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from orchestrator.errors import SweepError
from orchestrator.methods import METHODS, Choices, Density, Scope, Setting, ablate
from orchestrator.sweep import (
    Grid,
    MethodChoice,
    RateSchedule,
    RecipeFields,
    StepDecayRate,
    Sweep,
    iterations,
)
from orchestrator.yaml_source import Source
from tasks import catalog
from tasks.spec import Constant, Cosine, Dataset, Init, Recipe, Run, Schedule, Shuffled, StepDecay

REINIT_OFFSET = 1_000_000
"""Reinitialised weights of replicate r are drawn with seed r + this: no replicate's own."""

Labels = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One labelled point of a sweep: the run that answers it, and the dense run beside it.

    `labels` are columns of schema.TRIALS; they name the point to people and are in no key.
    """

    labels: Labels
    run: Run
    dense: Run


def trials(sweep: Sweep, source: Source | None = None) -> list[Trial]:
    """All trials of a sweep in file order, the dense runs first; equal ones stay apart.

    Raises
    ------
    SweepError
        When a value is impossible for the recipe or network it meets, with its place.
    """
    problems: dict[str, None] = {}
    found: list[Trial] = []
    dense: dict[str, Trial] = {}
    for number, grid in enumerate(sweep.grids):
        place = source.place(("grids", number)) if source else f"grid {number}"
        try:
            for trial in _grid_trials(sweep, number, grid):
                found.append(trial)
                if trial.dense.key not in dense:
                    dense[trial.dense.key] = Trial(_dense_labels(trial), trial.dense, trial.dense)
        except (ValueError, TypeError) as error:
            problems[f"{place}: grids.{number}: {error}"] = None
    if problems:
        raise SweepError(list(problems))
    return [*(dense.values() if sweep.dense else ()), *found]


def _grid_trials(sweep: Sweep, number: int, grid: Grid) -> Iterator[Trial]:
    combinations = product(
        grid.dataset or sweep.dataset, grid.network or sweep.network, sweep.replicates
    )
    for dataset, network, replicate in combinations:
        for fields in _combinations(sweep.recipe, grid.recipe):
            per_epoch = catalog.steps_per_epoch(dataset, int(fields.get("batch_size") or 1))
            recipe = _recipe(fields, per_epoch)
            setting = _setting(sweep, dataset, network, replicate, recipe)
            for method, scope in product(grid.method, grid.scope):
                after = "finetune" in METHODS[method.name].takes
                finetune = _finetune(recipe, grid.finetune, per_epoch) if after else None
                for choices in _choices(grid, method, scope, finetune, per_epoch):
                    for labels, run in _answers(setting, grid, method, choices):
                        labels.update(grid=number, replicate=replicate)
                        yield Trial(labels, run, setting.dense)


def _answers(
    setting: Setting, grid: Grid, method: MethodChoice, choices: Choices
) -> Iterator[tuple[Labels, Run]]:
    tickets = METHODS[method.name].tickets(setting, choices)
    for density, ticket in zip(choices.densities, tickets, strict=True):
        for ablation in grid.ablation:
            run = ablate(setting, ticket, ablation)
            labels = _labels(setting, method, choices, density)
            yield {**labels, "ablation": ablation, **_run_labels(run)}, run


def _choices(
    grid: Grid, method: MethodChoice, scope: Scope, finetune: Recipe | None, per_epoch: int
) -> Iterator[Choices]:
    for prune_step, rewind_step in product(grid.prune_step, grid.rewind_step):
        yield Choices(
            densities=grid.densities(),
            scope=scope,
            prune_step=iterations(prune_step, per_epoch),
            rewind_step=iterations(rewind_step, per_epoch),
            prune_fraction=grid.prune_fraction,
            finetune=finetune,
            options=method.options,
        )


def _setting(sweep: Sweep, dataset: str, network: str, replicate: int, recipe: Recipe) -> Setting:
    how = sweep.init.model_dump()
    return Setting(
        network=catalog.network(network, dataset),
        dataset=Dataset(name=dataset),
        recipe=recipe,
        init=Init(seed=replicate, **how),
        reinit=Init(seed=replicate + REINIT_OFFSET, **how),
        order_seed=replicate,
        score_seed=replicate,
        shuffle_seed=replicate,
    )


# ---------------------------------------------------------------- recipes


def _combinations(*layers: RecipeFields) -> Iterator[dict[str, Any]]:
    """Every combination of the recipe's lists, later layers over earlier ones."""
    axes: dict[str, list[Any]] = {}
    for layer in layers:
        axes.update({n: v for n in type(layer).model_fields if (v := getattr(layer, n))})
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _recipe(fields: dict[str, Any], per_epoch: int) -> Recipe:
    missing = [name for name in ("steps", "batch_size", "lr") if name not in fields]
    if missing:
        raise ValueError(f"recipe: {', '.join(missing)} is missing")
    steps = iterations(fields["steps"], per_epoch)
    lengths: dict[str, Any] = {
        name: iterations(fields[name], per_epoch)
        for name in ("evaluate_every", "warmup")
        if name in fields
    }
    values: dict[str, Any] = {
        "evaluate_every": max(1, steps // 10),
        **fields,
        **lengths,
        "steps": steps,
    }
    if "schedule" in fields:
        values["schedule"] = _schedule(fields["schedule"], per_epoch)
    try:
        return Recipe(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"recipe: {error}") from None


def _schedule(rate: RateSchedule, per_epoch: int) -> Schedule:
    if isinstance(rate, StepDecayRate):
        at = tuple(iterations(length, per_epoch) for length in rate.at)
        return StepDecay(at=at, factor=rate.factor)
    return Cosine() if rate.kind == "cosine" else Constant()


def _finetune(recipe: Recipe, changes: RecipeFields | None, per_epoch: int) -> Recipe:
    """Fine-tuning: the recipe's last learning rate, held, for as long again (Renda 2020)."""
    fields: dict[str, Any] = {
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "evaluate_every": recipe.evaluate_every,
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov,
        "weight_decay": recipe.weight_decay,
    }
    if isinstance(recipe.schedule, StepDecay):
        fields["lr"] *= recipe.schedule.factor ** len(recipe.schedule.at)
    variants = list(_combinations(changes or RecipeFields()))
    if len(variants) != 1:
        raise ValueError("finetune takes one value for each field; vary it over grids")
    if isinstance(recipe.schedule, Cosine) and "lr" not in variants[0]:
        raise ValueError("finetune takes an lr of its own, since a cosine schedule ends at 0")
    return _recipe({**fields, **variants[0]}, per_epoch)


# ---------------------------------------------------------------- labels


def _labels(s: Setting, method: MethodChoice, c: Choices, density: Density) -> Labels:
    takes = METHODS[method.name].takes
    after = s.recipe.steps
    prune_step = c.prune_step if "prune_step" in takes else after
    return {
        "method": method.name,
        "level": density.level,
        "requested_density": float(f"{density.value:.12g}"),
        "prune_step": prune_step,
        "rewind_step": c.rewind_step if "rewind_step" in takes else None,
        "options": json.dumps(method.options, sort_keys=True),
        "scope": c.scope,
        "prune_fraction": c.prune_fraction if "prune_fraction" in takes else None,
        "finetune": _finetune_label(c.finetune),
        **_setting_labels(s.dense),
        "score_seed": s.score_seed,
    }


def _setting_labels(dense: Run) -> Labels:
    recipe = dense.recipe
    return {
        "dataset": dense.dataset.name,
        "network": dense.network.name,
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov,
        "weight_decay": recipe.weight_decay,
        "schedule": _schedule_label(recipe.schedule),
        "warmup": recipe.warmup,
    }


def _schedule_label(schedule: Schedule) -> str:
    if isinstance(schedule, StepDecay):
        return f"step_decay at {', '.join(map(str, schedule.at))} by {schedule.factor:g}"
    return schedule.kind


def _finetune_label(recipe: Recipe | None) -> str | None:
    if recipe is None:
        return None
    schedule = _schedule_label(recipe.schedule)
    return f"{recipe.steps} iterations at {recipe.lr:g}, {schedule}"


def _run_labels(run: Run) -> Labels:
    ablation = run.mask.ablation if run.mask else None
    init = _init(run)
    return {
        "init_weights": init.weights,
        "init_batch_norm": init.batch_norm,
        "init_seed": init.seed,
        "order_seed": run.order_seed,
        "shuffle_seed": ablation.seed if isinstance(ablation, Shuffled) else None,
    }


def _init(run: Run) -> Init:
    while not isinstance(run.start, Init):
        run = run.start.run
    return run.start


def _dense_labels(trial: Trial) -> Labels:
    return {
        "method": "dense",
        "ablation": "none",
        "replicate": trial.labels["replicate"],
        "requested_density": 1.0,
        "options": "{}",
        **_setting_labels(trial.dense),
        **_run_labels(trial.dense),
    }
