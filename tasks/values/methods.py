"""Every built-in pruning method, an entry each: its record, its name on paper, its looks.

A new method is a record in tasks/values/scores.py, its function in tasks/pruning/scores.py,
and an entry here. Its options in a sweep file are the fields of its record.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tasks.values.key import Record, fields_of
from tasks.values.scores import (
    Examples,
    GemMiner,
    Grasp,
    Magnitude,
    NofM,
    Obd,
    Pattern,
    Random,
    Score,
    Snip,
    Synflow,
    Units,
)

Procedure: TypeAlias = Literal["early", "after_training", "levels", "search"]
"""When a method prunes (orchestrator.sweep.methods).

early           the weights at a step of training, by default the initial ones
after_training  the trained network, which is then retrained
levels          a little of the trained network, again and again
search          the initial weights, by training the mask
"""

_GIVEN = frozenset({"dataset", "seed", "examples"})
"""Fields of a score that are no options: the sweep and the replicate say them."""

_TAKES: dict[Procedure, frozenset[str]] = {
    "early": frozenset({"prune_step"}),
    "after_training": frozenset({"finetune", "rewind_step"}),
    "levels": frozenset({"finetune", "rewind_step", "prune_fraction"}),
    "search": frozenset(),
}
_OF_LAYERS = frozenset({"keep_dense", "layer_rates"})


def _options(record: type[Record]) -> frozenset[str]:
    return fields_of(record) - _GIVEN


EXAMPLES = _options(Examples)
"""Options of every score that looks at training examples."""


@dataclass(frozen=True)
class Method:
    """A method, whole but for its function.

    Attributes
    ----------
    label, colour, marker : str
        Its name, colour and matplotlib marker in every figure and table.
    score : type of Score
        The record of its score.
    procedure : str
        When it prunes.
    pattern : type of Pattern, optional
        What it prunes where that is not single weights.
    other_scores : tuple of type of Score
        Scores that a sweep may name in place of `score`, by the option `score`.
    """

    label: str
    colour: str
    marker: str
    score: type[Score]
    procedure: Procedure = "early"
    pattern: type[Pattern] | None = None
    other_scores: tuple[type[Score], ...] = ()

    @property
    def takes(self) -> frozenset[str]:
        """Keys of a grid that apply to the method, beside those that apply to all."""
        layers = self.pattern is None and self.procedure != "search"
        return _TAKES[self.procedure] | (_OF_LAYERS if layers else frozenset())

    @property
    def options(self) -> frozenset[str]:
        """Names of the method's own options in a sweep file."""
        names: set[str] = set()
        for score in (self.score, *self.other_scores):
            names |= _options(score) | (EXAMPLES if "examples" in fields_of(score) else set())
        if self.other_scores:
            names.add("score")
        if self.pattern is not None:
            names |= fields_of(self.pattern) - {"n"}  # n is density × m
        if self.procedure in ("after_training", "levels"):
            names.add("retrain")
        return frozenset(names)


METHODS: dict[str, Method] = {
    "random": Method("Random", "#7F7F7F", "x", Random),
    "magnitude": Method("Magnitude", "#0072B2", "s", Magnitude),
    "snip": Method("SNIP", "#D55E00", "^", Snip),
    "grasp": Method("GraSP", "#E69F00", "v", Grasp),
    "synflow": Method("SynFlow", "#009E73", "D", Synflow),
    "magnitude_after_training": Method(
        "Magnitude after training", "#56B4E9", "P", Magnitude, "after_training"
    ),
    "imp": Method("IMP", "#CC79A7", "o", Magnitude, "levels", other_scores=(Obd,)),
    "obd_after_training": Method("OBD after training", "#882255", "d", Obd, "after_training"),
    "gem_miner": Method("Gem-Miner", "#117733", "p", GemMiner, "search"),
    "n_of_m": Method("N:M", "#332288", "h", Magnitude, pattern=NofM),
    "n_of_m_after_training": Method(
        "N:M after training", "#6699CC", "8", Magnitude, "after_training", NofM
    ),
    # Their density is another: at 50 % of the units about a quarter of the weights remain.
    "structured": Method("Structured (share of units)", "#999933", "<", Magnitude, pattern=Units),
    "structured_after_training": Method(
        "Structured after training (share of units)",
        "#AA4499",
        ">",
        Magnitude,
        "after_training",
        Units,
    ),
}
"""By name in a sweep file, in the order of legends and palettes."""
