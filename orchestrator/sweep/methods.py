"""Each pruning method as one expression of runs, states and masks, beside its paper.

A method answers a list of densities with a ticket for each: the mask, and the weights and
recipe with which training goes on. An ablation is a change of the ticket.
"""

import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

from tasks.values import methods, user_code
from tasks.values.key import changed, fields_of, varying
from tasks.values.methods import EXAMPLES
from tasks.values.records import Mask, Run, State, at, prune
from tasks.values.scores import (
    Examples,
    GemMiner,
    Inverted,
    LayerRate,
    NofM,
    Own,
    Pattern,
    Random,
    Score,
    Shuffled,
    Units,
)
from tasks.values.training import Dataset, Init, Network, Option, Recipe
from tombola.text import nearest

AblationName = Literal["none", "reinit", "shuffle", "shuffle_global", "invert"]
Scope = Literal["global", "layerwise"]


@dataclass(frozen=True)
class Density:
    """A fraction of prunable weights to keep; `level` n where it is said as (1 - p)^n."""

    value: float
    level: int | None = None


@dataclass(frozen=True)
class Setting:
    """One replicate of a training problem, with its seeds; the same for every method."""

    network: Network
    dataset: Dataset
    recipe: Recipe
    init: Init
    reinit: Init
    order_seed: int
    score_seed: int
    shuffle_seed: int

    @cached_property
    def dense(self) -> Run:
        """The dense run of this replicate: the one that everybody shares."""
        return self.train(self.init, None)

    def train(
        self,
        start: Init | State,
        mask: Mask | None,
        *,
        recipe: Recipe | None = None,
        first_step: int = 0,
    ) -> Run:
        """A run of this replicate's problem, in its data order."""
        recipe = recipe or self.recipe
        same = start.key, recipe.key, first_step
        if same not in self._families:
            self._families[same] = varying(
                Run(
                    network=self.network,
                    dataset=self.dataset,
                    recipe=recipe,
                    start=start,
                    order_seed=self.order_seed,
                    first_step=first_step,
                ),
                "mask",
            )
        return self._families[same](mask)

    @cached_property
    def shuffled(self) -> dict[Scope, Shuffled]:
        """Return the functions that shuffle a mask of this replicate, by scope."""
        scopes: tuple[Scope, ...] = typing.get_args(Scope)
        return {scope: Shuffled(seed=self.shuffle_seed, scope=scope) for scope in scopes}

    @cached_property
    def _families(self) -> dict[tuple[str, str, int], Callable[[Mask | None], Run]]:
        """Return a function from a mask to its run: most runs differ only in the mask."""
        return {}


@dataclass(frozen=True)
class Ticket:
    """A mask and the training that follows: from which weights, at which step, how."""

    mask: Mask | None
    start: Init | State
    recipe: Recipe
    first_step: int = 0


@dataclass(frozen=True)
class Choices:
    """Values of a grid for a method, besides the setting."""

    densities: tuple[Density, ...]
    scope: Scope = "global"
    prune_step: int = 0
    rewind_step: int = 0
    prune_fraction: float = 0.2
    finetune: Recipe | None = None
    keep_dense: tuple[str, ...] = ()
    layer_rates: tuple[LayerRate, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- the methods


Options = dict[str, Any]
MakeScore = Callable[[Setting, Options], Score]
MakePattern = Callable[[float, Options], Pattern | None]


def _unstructured(_: float, __: Options) -> None:
    return None


def early(score: MakeScore, pattern: MakePattern = _unstructured) -> "Tickets":
    """Prune θ_k in one shot and train on from it; k = 0 is pruning at initialization.

    Frankle et al. 2021 ("Missing the Mark"), sections 3 and 6.
    """

    def tickets(s: Setting, c: Choices) -> list[Ticket]:
        start = at(s.dense, c.prune_step)
        masks = _pruned(s, c, score(s, c.options), start, pattern)
        return [Ticket(mask, start, s.recipe, first_step=c.prune_step) for mask in masks]

    return tickets


def after_training(score: MakeScore, pattern: MakePattern = _unstructured) -> "Tickets":
    """Prune the trained network in one shot, then retrain (Han et al. 2015; Renda et al. 2020)."""

    def tickets(s: Setting, c: Choices) -> list[Ticket]:
        trained = at(s.dense, s.recipe.steps)
        masks = _pruned(s, c, score(s, c.options), trained, pattern)
        return [_retrained(s, c, mask, trained, "finetune") for mask in masks]

    return tickets


def imp(s: Setting, c: Choices) -> list[Ticket]:
    """Iterative magnitude pruning, each level retrained; by default rewound to step k.

    Train, prune a fraction of the survivors, reset them to θ_k, again. k = 0 is the lottery
    ticket (Frankle and Carbin 2019, section 2); k > 0 is rewinding (Frankle et al. 2020,
    algorithm 2). `retrain` learning_rate goes on from the trained weights with the schedule
    from step k (Renda et al. 2020, algorithm 1); finetune at the last rate. The score may
    be OBD's (LeCun et al. 1990, section 3). Each level names the state and mask of the level
    before, and the planner makes it a task that needs them (`planner.inputs`).
    """
    chain = [Ticket(mask=None, start=s.init, recipe=s.recipe)]
    score = _imp_score(s, c.options)
    for level in range(1, max((d.level or 0 for d in c.densities), default=0) + 1):
        last = chain[-1]
        run = s.train(last.start, last.mask, recipe=last.recipe, first_step=last.first_step)
        trained = at(run, last.recipe.steps)
        density = (1 - c.prune_fraction) ** level
        mask = (
            changed(last.mask, of=trained, density=density, within=last.mask)
            if last.mask
            else _mask(s, c, score, trained, density)
        )
        chain.append(_retrained(s, c, mask, trained, "weights"))
    return [chain[d.level or 0] for d in c.densities]


def gem_miner(s: Setting, c: Choices) -> list[Ticket]:
    """Learn the mask while the weights stay at initialization, then train (Sreenivasan 2022)."""
    if not {"steps", "period"} <= c.options.keys():
        raise ValueError(
            "gem_miner takes steps and period: how long it searches, how often it prunes"
        )
    score = _score(GemMiner, s, c.options)
    return [
        Ticket(prune(s.network, score, of=s.init, density=d.value), s.init, s.recipe)
        for d in c.densities
    ]


def _pruned(
    s: Setting, c: Choices, score: Score, of: Init | State, pattern: MakePattern
) -> list[Mask | None]:
    """A mask for each density, all by the same scores of the same weights."""
    masks: list[Mask | None] = []
    at_density: Callable[[float, Pattern | None], Mask] | None = None
    for density in (d.value for d in c.densities):
        blocks = pattern(density, c.options)
        if at_density is not None and density != 1:
            masks.append(at_density(density, blocks))
            continue
        masks.append(mask := _mask(s, c, score, of, density, pattern=blocks))
        at_density = varying(mask, "density", "pattern") if mask else None
    return masks


def _mask(
    s: Setting,
    c: Choices,
    score: Score,
    of: Init | State,
    density: float,
    *,
    pattern: Pattern | None = None,
) -> Mask | None:
    return prune(
        s.network,
        score,
        of=of,
        density=density,
        scope=c.scope,
        keep_dense=c.keep_dense,
        rates=c.layer_rates,
        pattern=pattern,
    )


def _retrained(
    s: Setting, c: Choices, mask: Mask | None, trained: Init | State, default: str
) -> Ticket:
    """Training after a trained network is pruned (Renda et al. 2020, section 2)."""
    match c.options.get("retrain", default):
        case "finetune":
            return Ticket(mask, trained, c.finetune or s.recipe)
        case "learning_rate":
            return Ticket(mask, trained, s.recipe, first_step=c.rewind_step)
        case "weights":
            start = at(s.dense, c.rewind_step)
            return Ticket(mask, start, s.recipe, first_step=c.rewind_step)
        case other:
            raise ValueError(f"retrain takes weights, learning_rate or finetune, not {other!r}")


def ablate(s: Setting, ticket: Ticket, ablation: AblationName) -> Run:
    """The run of a ticket, or of its ablation.

    reinit trains the mask from other initial weights, from step 0; shuffle permutes the mask
    within each layer, shuffle_global over all of them; invert prunes what the score would
    keep first. A ticket that prunes nothing is the dense run.
    """
    mask = ticket.mask
    if ablation == "reinit":
        return s.train(s.reinit, mask)
    if mask is None:
        return s.dense
    if ablation.startswith("shuffle") and not isinstance(mask.score, Random):
        scope: Scope = "global" if ablation == "shuffle_global" else "layerwise"
        mask = changed(mask, ablation=s.shuffled[scope])
    elif ablation == "invert" and not isinstance(mask.score, Random):
        if isinstance(mask.score, GemMiner) or isinstance(mask.pattern, Units):
            raise ValueError("invert applies to scores of single weights alone")
        mask = changed(mask, ablation=Inverted())
    return s.train(ticket.start, mask, recipe=ticket.recipe, first_step=ticket.first_step)


# ---------------------------------------------------------------- their names

Tickets = Callable[[Setting, Choices], list[Ticket]]


@dataclass(frozen=True)
class Method:
    """A method of a sweep file: what makes its tickets, and what a grid may say about it."""

    tickets: Tickets
    takes: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    users: Callable[[Options], Options] | None = None

    def typed(self, name: str, given: Options) -> Options:
        """Check one choice of options by their names; those of a user's function get its types.

        Raises
        ------
        ValueError
            When the method has no such option.
        """
        shared = {option: value for option, value in given.items() if option in self.options}
        others = {option: value for option, value in given.items() if option not in shared}
        if self.users is not None:
            return {**shared, **self.users(others)}
        for option in others:
            hint = nearest(str(option), tuple(self.options)) if self.options else "it has none"
            raise ValueError(f"{name} has no option {option!r}; {hint}")
        return shared

    def finetunes(self, options: Options) -> bool:
        """Return whether training goes on at the last learning rate after pruning."""
        default = "weights" if "prune_fraction" in self.takes else "finetune"
        return "finetune" in self.takes and options.get("retrain", default) == "finetune"


def _score(record: type[Score], s: Setting, options: Options) -> Score:
    """Make a score: its options by name, seed and data of the replicate."""
    fields = fields_of(record)
    given: Options = {name: value for name, value in options.items() if name in fields}
    if "examples" in fields:
        drawn = {name: value for name, value in options.items() if name in EXAMPLES}
        given["examples"] = Examples(dataset=s.dataset, seed=s.score_seed, **drawn)
    if "dataset" in fields:
        given["dataset"] = s.dataset
    if "seed" in fields:
        given["seed"] = s.score_seed
    return record(**given)


def _pattern(record: type[Pattern] | None) -> MakePattern:
    if record is NofM:
        return _n_of_m
    return _units if record is Units else _unstructured


def _n_of_m(density: float, options: Options) -> Pattern | None:
    m = options.get("m", 4)
    if density == 1:
        return None
    if not isinstance(m, int) or m < 2 or abs(density * m - round(density * m)) > 1e-9:
        raise ValueError(f"n_of_m takes densities that are n/m with m {m}, not {density:g}")
    return NofM(n=round(density * m), m=m)


def _units(_: float, options: Options) -> Pattern:
    return Units(norm=options.get("norm", "l1"))


def _imp_score(s: Setting, options: Options) -> Score:
    entry = methods.METHODS["imp"]
    scores = {score.kind: score for score in (entry.score, *entry.other_scores)}
    name = options.get("score", entry.score.kind)
    if name not in scores:
        raise ValueError(f"score takes {' or '.join(scores)}, not {name!r}")
    return _score(scores[name], s, options)


def _made(entry: methods.Method) -> Method:
    """Return a built-in method by its entry."""
    score, pattern = partial(_score, entry.score), _pattern(entry.pattern)
    tickets: dict[methods.Procedure, Tickets] = {
        "early": early(score, pattern),
        "after_training": after_training(score, pattern),
        "levels": imp,
        "search": gem_miner,
    }
    return Method(tickets[entry.procedure], entry.takes, entry.options)


METHODS = {name: _made(entry) for name, entry in methods.METHODS.items()}


def _users(name: str) -> Method:
    """A user's score. Its own options come before those of its examples, of the same name."""
    source, found = user_code.digest(name), user_code.signature_of(name, "score")
    examples = EXAMPLES - (found.options if found else {}).keys()

    def score(s: Setting, options: Options) -> Score:
        typed = {option: v for option, v in options.items() if option not in examples}
        of_examples = {option: v for option, v in options.items() if option in examples}
        written = user_code.written(name, "score", typed)
        return Own(
            name=name,
            source=source,
            options=tuple(Option(name=option, value=value) for option, value in written),
            examples=Examples(dataset=s.dataset, seed=s.score_seed, **of_examples),
        )

    return Method(
        early(score),
        METHODS["magnitude"].takes,
        frozenset(examples),
        lambda given: user_code.options(name, "score", given),
    )


def method(name: str) -> Method:
    """The method of a name; `module:function` is a user's own score, pruned early.

    Raises
    ------
    ValueError
        When there is none of that name.
    """
    if ":" in name:
        return _users(name)
    if name not in METHODS:
        raise ValueError(f"no method {name!r}")
    return METHODS[name]
