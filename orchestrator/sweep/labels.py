"""Human-readable labels of a trial (columns of `trials`). They never enter a key."""

import json
from typing import Any

from orchestrator.sweep.methods import Choices, Setting, method
from orchestrator.sweep.schema import Grid, MethodChoice, Sweep
from tasks.values.key import described_fields, values
from tasks.values.records import Run
from tasks.values.scores import Shuffled
from tasks.values.training import OF_THE_START, Init, Network, Recipe, Schedule, StepDecay

Labels = dict[str, Any]

_DEFAULTS = values(Recipe(steps=1, batch_size=1, lr=1.0, evaluate_every=1))
_ALWAYS_TOLD = frozenset({"steps", "lr", "schedule"})
"""Fields of a recipe for fine-tuning that its label names whatever they are."""

_SEEDS = frozenset({"replicate", "init_seed", "order_seed", "shuffle_seed", "score_seed"})


def of_choices(s: Setting, chosen: MethodChoice, c: Choices, *, rewinds: bool) -> Labels:
    """Of a method and what a grid chose for it."""
    takes = method(chosen.name).takes
    after = s.recipe.steps
    prune_step = c.prune_step if "prune_step" in takes else after
    return {
        "method": chosen.name,
        "prune_step": prune_step,
        "rewind_step": c.rewind_step if rewinds else None,
        "keep_dense": ", ".join(sorted(c.keep_dense)) or None,
        "layer_rates": _layer_rates_label(c),
        "options": json.dumps(chosen.options, sort_keys=True),
        "scope": c.scope,
        "prune_fraction": c.prune_fraction if "prune_fraction" in takes else None,
        "finetune": _finetune_label(c.finetune, s.recipe),
        "score_seed": s.score_seed,
    }


def tags(sweep: Sweep, grid: Grid | None = None) -> Labels:
    """A grid's tags over the sweep's; a sweep without any has no such label."""
    found = {**sweep.tags, **(grid.tags if grid else {})}
    return {"tags": json.dumps(found, sort_keys=True)} if found else {}


def of_setting(dense: Run, options: dict[str, Any]) -> Labels:
    """Of a training problem, by its dense run; options are those said of a user's network."""
    recipe = dense.recipe
    return {
        "dataset": dense.dataset.name,
        "network": of_network(dense.network),
        "width": dense.network.width,
        "validation": dense.dataset.validation,
        **{name: getattr(recipe, name) for name in described_fields(Recipe)},
        "schedule": _schedule_label(recipe.schedule),
        "ghosts": f"{recipe.ghosts} until {recipe.ghost_steps}" if recipe.ghost_steps else None,
        **({"network_options": json.dumps(options, sort_keys=True)} if options else {}),
    }


def of_run(run: Run, known: dict[tuple[str, bool], Labels]) -> Labels:
    """Of a setting's run; few of them differ, so that those `known` are shared."""
    ablation = run.mask.ablation if run.mask else None
    init = _init(run)
    same = init.key, isinstance(ablation, Shuffled)
    if same not in known:
        known[same] = {
            "init_weights": init.weights,
            "init_batch_norm": init.batch_norm,
            "init_linear": None if init.linear == "as_weights" else init.linear,
            "init_seed": init.seed,
            "order_seed": run.order_seed,
            "shuffle_seed": ablation.seed if isinstance(ablation, Shuffled) else None,
        }
    return known[same]


def of_dense(dense: Run, beside: Labels) -> Labels:
    """Of the dense run beside a trial with these labels."""
    options = json.loads(beside.get("network_options") or "{}")
    return {
        "method": "dense",
        "ablation": "none",
        "replicate": beside["replicate"],
        "requested_density": 1.0,
        "options": "{}",
        **of_setting(dense, options),
        **of_run(dense, {}),
    }


def reseeded(labels: Labels, by: int) -> Labels:
    """The same labels of another replicate: each seed in them raised by so much."""
    if labels.keys().isdisjoint(_SEEDS):
        return labels
    raised = {
        name: labels[name] + by for name in _SEEDS & labels.keys() if labels[name] is not None
    }
    return {**labels, **raised}


def _layer_rates_label(c: Choices) -> str | None:
    rates = {r.layer: 1 - (1 - c.prune_fraction) ** r.exponent for r in c.layer_rates}
    return ", ".join(f"{layer} {rate:.9g}" for layer, rate in rates.items()) or None


def of_network(network: Network) -> str:
    """A network's name, with all that it was asked for."""
    options = "".join(f" {o.name}={json.loads(o.value)}" for o in network.options)
    wide = f" x{_plain(network.width)}" if network.width != 1 else ""
    prunable = f" prunable={','.join(network.prunable)}" if network.prunable else ""
    return f"{network.name}{wide}{options}{prunable}"


def _schedule_label(schedule: Schedule) -> str:
    if isinstance(schedule, StepDecay):
        return f"step_decay at {', '.join(map(str, schedule.at))} by {_plain(schedule.factor)}"
    return schedule.kind


def _finetune_label(recipe: Recipe | None, before: Recipe) -> str | None:
    """Length, rate and schedule, then every field that is not as in the training before."""
    if recipe is None:
        return None
    expected = {**values(before), **{name: _DEFAULTS[name] for name in OF_THE_START}}
    others = [
        f"{name.replace('_', ' ')} {_plain(value)}"
        for name, value in values(recipe).items()
        if name not in _ALWAYS_TOLD and value != expected[name]
    ]
    told = f"{recipe.steps} iterations at {_plain(recipe.lr)}", _schedule_label(recipe.schedule)
    return ", ".join([*told, *others])


def _plain(value: Any) -> str:
    """A value in all digits that a key has of it."""
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _init(run: Run) -> Init:
    while not isinstance(run.start, Init):
        run = run.start.run
    return run.start
