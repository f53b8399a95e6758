"""From a sweep to its trials: every combination of every grid as a labelled expression."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count, islice, product
from operator import itemgetter
from typing import Any, NamedTuple

from orchestrator.sweep import labels
from orchestrator.sweep.fields import NetworkChoice, iterations
from orchestrator.sweep.labels import Labels
from orchestrator.sweep.methods import Choices, Scope, Setting, Ticket, ablate, method
from orchestrator.sweep.schema import (
    Grid,
    MethodChoice,
    RateSchedule,
    RecipeFields,
    StepDecayRate,
    Sweep,
)
from orchestrator.sweep.yaml_source import Source
from tasks.values import catalog
from tasks.values.key import changed
from tasks.values.key import values as fields_of
from tasks.values.measurements import MEASUREMENTS, Barrier, Measurement
from tasks.values.records import Mask, Run, State, at
from tasks.values.replicates import reseeded
from tasks.values.scores import GemMiner, LayerRate, OnExamples
from tasks.values.training import (
    LENGTHS,
    OF_THE_START,
    SPLITS,
    Constant,
    Cosine,
    Dataset,
    Init,
    Recipe,
    Schedule,
    StepDecay,
)
from tombola.errors import SweepError

MOST_TRIALS = 2_000_000
"""Of a sweep. More are better asked for in several: they are planned in memory."""

REINIT_OFFSET = 1_000_000
"""Reinitialised weights of replicate r are drawn with seed r + this: no replicate's own."""

OTHER_ORDER_OFFSET = 2_000_000
"""A sibling of replicate r, trained for a barrier, takes its examples in the order of r + this."""


class Trial(NamedTuple):
    """One labelled point of a sweep: the run that answers it, and the dense run beside it.

    `labels` are columns of schema.TRIALS; they name the point to people and are in no key.
    They are kept in parts, most of which many trials share.
    Trials of a sweep that are alike have one `shape`: they differ in their seeds alone.
    A trial that is not `trained` asks for the mask of its run alone. `measured` is what it
    asks for besides.
    """

    parts: tuple[Labels, ...]
    run: Run
    dense: Run
    shape: int
    trained: bool = True
    measured: tuple[Measurement, ...] = ()

    @property
    def labels(self) -> Labels:
        """All labels; later parts win."""
        found: Labels = {}
        for part in self.parts:
            found.update(part)
        return found

    @property
    def mask(self) -> Mask | None:
        """The mask of its run; None is dense."""
        return self.run.mask


def trials(sweep: Sweep, source: Source | None = None) -> list[Trial]:
    """All trials of a sweep in file order, the dense runs first; equal ones stay apart.

    Raises
    ------
    SweepError
        When a value is impossible for the recipe or network it meets, with its place.
    """
    problems: dict[str, None] = {}
    found: list[Trial] = []
    _check_count(sweep, source)
    for number, grid in enumerate(sweep.grids):
        place = source.place(("grids", number)) if source else f"grid {number}"
        try:
            for dataset, network in product(
                grid.dataset or sweep.dataset, grid.network or sweep.network
            ):
                one = partial(_replicate, sweep, number, grid, dataset, network)
                found += _replicated(one, sweep.replicates, len(found))
        except (ValueError, TypeError) as error:
            problems[f"{place}: grids.{number}: {error}"] = None
    if problems:
        raise SweepError(list(problems))
    return [*(_dense(sweep, found) if sweep.dense else ()), *found]


def _check_count(sweep: Sweep, source: Source | None) -> None:
    """Refuse what would not fit, before it is made."""
    counts = [_count(sweep, grid) for grid in sweep.grids]
    if sum(counts) > MOST_TRIALS:
        number = counts.index(max(counts))
        place = source.place(("grids", number)) if source else f"grid {number}"
        raise SweepError(
            [
                f"{place}: grids.{number} asks for {counts[number]:,} trials, of {sum(counts):,} "
                f"in all; a sweep holds {MOST_TRIALS:,} at most"
            ]
        )


def _count(sweep: Sweep, grid: Grid) -> int:
    """Trials of a grid: the product of its axes."""
    recipe: dict[str, Any] = {}
    for layer in (sweep.recipe, grid.recipe):
        recipe |= {n: v for n in type(layer).model_fields if (v := getattr(layer, n))}
    axes = (
        *(grid.dataset or sweep.dataset, grid.network or sweep.network, sweep.replicates),
        *(grid.method, grid.scope, grid.prune_step, grid.rewind_step),
        *(grid.densities(), grid.ablation, *recipe.values()),
    )
    return math.prod(map(len, axes))


def _dense(sweep: Sweep, found: list[Trial]) -> list[Trial]:
    """A trial for each dense run that stands beside those found."""
    tags = labels.tags(sweep)
    dense: dict[str, Trial] = {}
    for trial in found:
        run = trial.dense
        if trial.trained and run.key not in dense:
            named = labels.of_dense(run, trial.labels)
            dense[run.key] = Trial((named, tags), run, run, shape=-1 - trial.shape)
    return list(dense.values())


def _replicated(
    one: Callable[[int, int], Iterator[Trial]], replicates: list[int], shape: int
) -> Iterator[Trial]:
    """The trials of all replicates; those after the first are the first's with other seeds."""
    first = list(one(replicates[0], shape))
    yield from first
    if len(replicates) == 1:
        return
    make = reseeded([asked for t in first for asked in (t.run, t.dense, *t.measured)])
    parts = {id(part): part for trial in first for part in trial.parts}
    own = [itemgetter(*map(id, trial.parts)) for trial in first]
    for replicate in replicates[1:]:
        by = replicate - replicates[0]
        named = {key: labels.reseeded(part, by) for key, part in parts.items()}
        made: Iterator[Any] = iter(make(by))
        for pick, (_, _, _, alike, trained, asked) in zip(own, first, strict=True):
            run, dense = next(made), next(made)
            measured = tuple(islice(made, len(asked))) if asked else ()
            yield Trial(pick(named), run, dense, alike, trained, measured)


def _replicate(
    sweep: Sweep,
    number: int,
    grid: Grid,
    name: str,
    network: NetworkChoice,
    replicate: int,
    shape: int,
) -> Iterator[Trial]:
    """A grid's trials of one replicate on one dataset and network; shapes count from `shape`."""
    shapes = count(shape)
    tags, points = labels.tags(sweep, grid), _points(grid)
    dataset = _dataset(sweep, name)
    for fields in _combinations(sweep.recipe, grid.recipe):
        batch_size = max(1, int(fields.get("batch_size") or 1))
        per_epoch = catalog.steps_per_epoch(dataset, batch_size)
        recipe = _recipe({**fields, "evaluate": _evaluated(sweep)}, per_epoch)
        setting = _setting(sweep, dataset, network, replicate, recipe)
        _check_batches(setting, recipe)
        of_setting = {**labels.of_setting(setting.dense, network.options), "replicate": replicate}
        of_runs: dict[tuple[str, bool], Labels] = {}
        for chosen, scope in product(grid.method, grid.scope):
            rewinds, finetune = _rewinds(chosen), _finetune(recipe, grid, chosen, per_epoch)
            _check_batches(setting, finetune)
            for choices in _choices(grid, chosen, scope, finetune, per_epoch):
                of_choices = labels.of_choices(setting, chosen, choices, rewinds=rewinds)
                shared = {**of_choices, "grid": number, **tags}
                branch = choices.rewind_step if rewinds else choices.prune_step
                answers = _answers(sweep, setting, grid, chosen, choices)
                for point, run in zip(points, answers, strict=True):
                    _check_scoring(run.mask)
                    if run.mask is None and not grid.train:
                        continue  # a mask that keeps everything asks for nothing
                    measured = _measured(grid, run, branch) if grid.measure else ()
                    parts = (of_setting, shared, point, labels.of_run(run, of_runs))
                    dense = setting.dense
                    yield Trial(parts, run, dense, next(shapes), grid.train, measured)


def _check_batches(setting: Setting, recipe: Recipe | None) -> None:
    """Refuse a training whose last batch batch norm cannot take."""
    if recipe is not None:
        examples = catalog.dataset_facts(setting.dataset.name).train - setting.dataset.validation
        catalog.check_batches(setting.network, examples, recipe.batch_size, recipe.steps)


def _check_scoring(mask: Mask | None) -> None:
    """Refuse a score whose last batch batch norm cannot take in training."""
    score = mask.score if mask else None
    in_training = getattr(score, "batch_norm", "eval") == "train"
    if isinstance(score, OnExamples) and in_training and mask:
        examples = score.examples
        drawn = examples.per_class * mask.network.classes
        size = examples.batch_size or drawn
        catalog.check_batches(mask.network, drawn, size, drawn)
    elif isinstance(score, GemMiner) and mask:
        facts = catalog.dataset_facts(score.dataset.name)
        examples_left = facts.train - score.dataset.validation
        catalog.check_batches(mask.network, examples_left, score.batch_size, score.steps)


def _measured(grid: Grid, run: Run, branch: int) -> tuple[Measurement, ...]:
    """Return what the grid wants measured of one ticket; a dense run has a barrier alone."""
    options: dict[str, dict[str, Any]] = {"latency": {"batch_size": grid.latency_batch_size}}
    measured: list[Measurement] = []
    for kind, cls in MEASUREMENTS.items():
        if cls.name not in grid.measure:
            continue
        if cls is Barrier:
            ends = [State(run=r, step=r.recipe.steps) for r in (run, _sibling(run, branch))]
            measured.append(Barrier(one=ends[0], other=ends[1]))
        elif run.mask is not None:
            measured.append(cls(mask=run.mask, **options.get(kind, {})))
    return tuple(measured)


def _sibling(run: Run, branch: int) -> Run:
    """The same run in another data order; dense, from the step at which the ticket branches.

    Instability analysis trains two copies so (Frankle et al. 2020, section 3).
    """
    order = run.order_seed + OTHER_ORDER_OFFSET
    if run.mask is None:
        return changed(run, start=at(run, branch), first_step=branch, order_seed=order)
    return changed(run, order_seed=order)


def _dataset(sweep: Sweep, name: str) -> Dataset:
    held = sweep.validation
    if held is None:
        held = 0.1 if "val" in sweep.eval else 0
    if isinstance(held, float):
        share, held = held, round(held * catalog.dataset_facts(name).train)
        if not held:
            raise ValueError(f"validation: {share:g} of {name} is not one example")
    if "val" in sweep.eval and not held:
        raise ValueError("eval names val, which takes validation examples held out, not 0")
    return catalog.dataset(name, held)


def _evaluated(sweep: Sweep) -> tuple[str, ...]:
    return tuple(name for name in SPLITS if name in sweep.eval)


def _answers(
    sweep: Sweep, setting: Setting, grid: Grid, chosen: MethodChoice, choices: Choices
) -> Iterator[Run]:
    """A run for each point of the grid."""
    source = setting if grid.found_on is None else _moved(sweep, setting, grid.found_on)
    for ticket in method(chosen.name).tickets(source, choices):
        brought = ticket if source is setting else _transferred(setting, ticket)
        for ablation in grid.ablation:
            yield ablate(setting, brought, ablation)


def _points(grid: Grid) -> list[Labels]:
    """Density and ablation: the trials of one choice of method differ in these."""
    return [
        {
            "level": density.level,
            "requested_density": float(f"{density.value:.12g}"),
            "found_on": grid.found_on,
            "ablation": ablation,
        }
        for density in grid.densities()
        for ablation in grid.ablation
    ]


def _moved(sweep: Sweep, setting: Setting, name: str) -> Setting:
    """The same replicate on another dataset."""
    here = setting.network
    options = tuple((option.name, option.value) for option in here.options)
    network = catalog.network(here.name, name, here.width, options, here.prunable)
    return replace(setting, network=network, dataset=_dataset(sweep, name))


def _transferred(setting: Setting, ticket: Ticket) -> Ticket:
    """A ticket trained on another dataset than it was found on (Morcos et al. 2019).

    The initial weights are drawn by seed and name of the tensor, so that those of the same
    shape are the same here; layers of another shape are new and dense.
    """
    if isinstance(ticket.start, Init):
        return replace(ticket, start=setting.init)
    if ticket.start.run.network == setting.network:
        return ticket
    raise ValueError(
        "found_on takes tickets that start at step 0, since the network has another shape here"
    )


def _choices(
    grid: Grid, chosen: MethodChoice, scope: Scope, finetune: Recipe | None, per_epoch: int
) -> Iterator[Choices]:
    for prune_step, rewind_step in product(grid.prune_step, grid.rewind_step):
        yield Choices(
            densities=grid.densities(),
            scope=scope,
            prune_step=iterations(prune_step, per_epoch),
            rewind_step=iterations(rewind_step, per_epoch),
            prune_fraction=grid.prune_fraction,
            finetune=finetune,
            keep_dense=tuple(grid.keep_dense),
            layer_rates=_layer_rates(grid),
            options=chosen.options,
        )


def _layer_rates(grid: Grid) -> tuple[LayerRate, ...]:
    usual = math.log(1 - grid.prune_fraction)
    return tuple(
        LayerRate(layer=layer, exponent=math.log(1 - rate) / usual if rate else 0.0)
        for layer, rate in grid.layer_rates.items()
    )


def _setting(
    sweep: Sweep, dataset: Dataset, network: NetworkChoice, replicate: int, recipe: Recipe
) -> Setting:
    shaped = catalog.network(
        network.name, dataset.name, network.width, network.written, network.prunable
    )
    how = sweep.init.model_dump()
    how["weights"] = how["weights"] or catalog.initialization(shaped)
    return Setting(
        network=shaped,
        dataset=dataset,
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
        name: iterations(fields[name], per_epoch) for name in LENGTHS if name in fields
    }
    values: dict[str, Any] = {
        "evaluate_every": max(1, steps // 10),
        **fields,
        **lengths,
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


def _finetune(recipe: Recipe, grid: Grid, chosen: MethodChoice, per_epoch: int) -> Recipe | None:
    """Fine-tuning: the recipe's last learning rate, held, for as long again (Renda 2020)."""
    if not method(chosen.name).finetunes(chosen.options):
        if grid.finetune is not None:
            raise ValueError(f"finetune does not apply to {chosen.name} that retrains otherwise")
        return None
    changes = grid.finetune
    fields = {name: v for name, v in fields_of(recipe).items() if name not in OF_THE_START}
    if isinstance(recipe.schedule, StepDecay):
        fields["lr"] *= recipe.schedule.factor ** len(recipe.schedule.at)
    variants = list(_combinations(changes or RecipeFields()))
    if len(variants) != 1:
        raise ValueError("finetune takes one value for each field; vary it over grids")
    if isinstance(recipe.schedule, Cosine) and "lr" not in variants[0]:
        raise ValueError("finetune takes an lr of its own, since a cosine schedule ends at 0")
    return _recipe({**fields, **variants[0]}, per_epoch)


def _rewinds(chosen: MethodChoice) -> bool:
    found = method(chosen.name)
    return "rewind_step" in found.takes and not found.finetunes(chosen.options)
