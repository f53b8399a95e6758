"""Each pruning method as one expression of runs, states and masks, beside its paper.

A method answers a list of densities with a ticket for each: the mask, and the weights and
recipe with which training goes on. An ablation is a change of the ticket.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from tasks.spec import (
    Dataset,
    Examples,
    Grasp,
    Init,
    Inverted,
    Magnitude,
    Mask,
    Network,
    Random,
    Recipe,
    Run,
    Score,
    Shuffled,
    Snip,
    State,
    Synflow,
    at,
    prune,
)

AblationName = Literal["none", "reinit", "shuffle", "invert"]
Scope = Literal["global", "layerwise"]


@dataclass(frozen=True)
class Density:
    """A fraction of prunable weights to keep; `level` n where it is said as (1 - p)^n."""

    value: float
    level: int | None = None


@dataclass(frozen=True)
class Setting:
    """What one replicate fixes for every method: the training problem and its seeds."""

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
        return Run(
            network=self.network,
            dataset=self.dataset,
            recipe=recipe or self.recipe,
            start=start,
            order_seed=self.order_seed,
            mask=mask,
            first_step=first_step,
        )


@dataclass(frozen=True)
class Ticket:
    """A mask and the training that follows: from which weights, at which step, how."""

    mask: Mask | None
    start: Init | State
    recipe: Recipe
    first_step: int = 0


@dataclass(frozen=True)
class Choices:
    """What a grid fixes for a method besides the setting."""

    densities: tuple[Density, ...]
    scope: Scope = "global"
    prune_step: int = 0
    rewind_step: int = 0
    prune_fraction: float = 0.2
    finetune: Recipe | None = None
    options: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- the methods


def early(score: Callable[[Setting, dict[str, Any]], Score]) -> "Tickets":
    """Prune θ_k in one shot and train on from it; k = 0 is pruning at initialization.

    Frankle et al. 2021 ("Missing the Mark"), sections 3 and 6.
    """

    def tickets(s: Setting, c: Choices) -> list[Ticket]:
        start = at(s.dense, c.prune_step)
        scored = score(s, c.options)
        return [
            Ticket(
                mask=prune(s.network, scored, of=start, density=d.value, scope=c.scope),
                start=start,
                recipe=s.recipe,
                first_step=c.prune_step,
            )
            for d in c.densities
        ]

    return tickets


def magnitude_after_training(s: Setting, c: Choices) -> list[Ticket]:
    """Prune the trained network in one shot, then fine-tune (Han et al. 2015)."""
    trained = at(s.dense, s.recipe.steps)
    return [
        Ticket(
            mask=prune(s.network, Magnitude(), of=trained, density=d.value, scope=c.scope),
            start=trained,
            recipe=c.finetune or s.recipe,
        )
        for d in c.densities
    ]


def imp(s: Setting, c: Choices) -> list[Ticket]:
    """Iterative magnitude pruning with rewinding to step k.

    Train, prune a fraction of the survivors, reset them to θ_k, again. k = 0 is the lottery
    ticket (Frankle and Carbin 2019, section 2); k > 0 is rewinding (Frankle et al. 2020,
    algorithm 2).
    """
    rewound = at(s.dense, c.rewind_step)
    chain = [Ticket(mask=None, start=s.init, recipe=s.recipe)]
    for level in range(1, max((d.level or 0 for d in c.densities), default=0) + 1):
        last = chain[-1]
        run = s.train(last.start, last.mask, first_step=last.first_step)
        mask = prune(
            s.network,
            Magnitude(),
            of=at(run, s.recipe.steps),
            density=(1 - c.prune_fraction) ** level,
            scope=c.scope,
            within=last.mask,
        )
        chain.append(Ticket(mask, rewound, s.recipe, first_step=c.rewind_step))
    return [chain[d.level or 0] for d in c.densities]


def ablate(s: Setting, ticket: Ticket, ablation: AblationName) -> Run:
    """The run of a ticket, or of its ablation.

    reinit trains the mask from other initial weights, from step 0; shuffle permutes the mask
    within each layer; invert prunes what the score would keep first. A ticket that prunes
    nothing is the dense run.
    """
    mask = ticket.mask
    if ablation == "reinit":
        return s.train(s.reinit, mask)
    if mask is None:
        return s.dense
    if ablation == "shuffle" and not isinstance(mask.score, Random):
        mask = replace(mask, ablation=Shuffled(seed=s.shuffle_seed))
    elif ablation == "invert" and not isinstance(mask.score, Random):
        mask = replace(mask, ablation=Inverted())
    return s.train(ticket.start, mask, recipe=ticket.recipe, first_step=ticket.first_step)


# ---------------------------------------------------------------- their names

Tickets = Callable[[Setting, Choices], list[Ticket]]


@dataclass(frozen=True)
class Method:
    """A method by name: what makes its tickets, and what a grid may say about it."""

    tickets: Tickets
    takes: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()


_EARLY = frozenset({"prune_step"})
_ON_EXAMPLES = frozenset({"per_class", "batch_norm"})


def _examples(s: Setting, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a score on examples, with the examples themselves."""
    rest = {name: value for name, value in options.items() if name != "per_class"}
    chosen = {"per_class": options["per_class"]} if "per_class" in options else {}
    return {**rest, "examples": Examples(dataset=s.dataset, seed=s.score_seed, **chosen)}


METHODS: dict[str, Method] = {
    "random": Method(early(lambda s, _: Random(seed=s.score_seed)), _EARLY),
    "magnitude": Method(early(lambda *_: Magnitude()), _EARLY),
    "snip": Method(early(lambda s, o: Snip(**_examples(s, o))), _EARLY, _ON_EXAMPLES),
    "grasp": Method(
        early(lambda s, o: Grasp(**_examples(s, o))), _EARLY, _ON_EXAMPLES | {"temperature"}
    ),
    "synflow": Method(early(lambda _, o: Synflow(**o)), _EARLY, frozenset({"iterations"})),
    "magnitude_after_training": Method(magnitude_after_training, frozenset({"finetune"})),
    "imp": Method(imp, frozenset({"rewind_step", "prune_fraction"})),
}
