"""The values that everything computed is one of: `Run`, `State` and `Mask`.

Run   one training trajectory, fully determined
State a run at a step: its weights and buffers
Mask  which weights are kept

A pruning method is an expression of these (orchestrator/sweep/methods.py); equal expressions are
equal work. Fields hold only what changes the result. Lengths are in iterations.
"""

from typing import Literal

from tasks.values.key import Record, Seed, added, known
from tasks.values.scores import Ablation, LayerRate, Magnitude, NofM, Pattern, Random, Score, Units
from tasks.values.training import Dataset, Init, Network, Recipe


class Run(Record, kind="run", referenced=True):
    """One training trajectory: from `start` at `first_step` to the recipe's last step.

    `mask` None trains the dense network. A mask may have been found on a dataset of other
    shape: layers whose shapes differ, such as the classifier, are then dense. Pruned
    weights are zero at every step. Optimizer state starts afresh; learning rate and data
    order are those of the step.
    """

    network: Network
    dataset: Dataset
    recipe: Recipe
    start: "Init | State"
    order_seed: Seed
    mask: "Mask | None" = None
    first_step: int = 0

    def check(self) -> None:
        if not 0 <= self.first_step < self.recipe.steps:
            raise ValueError(
                f"first_step takes 0 to {self.recipe.steps - 1}, not {self.first_step}"
            )
        _same_network(self.network, self.start, self.mask)


class State(Record, kind="state"):
    """A run's weights and buffers after `step` iterations (make it with `at`)."""

    run: Run
    step: int

    def check(self) -> None:
        if not known(self.run):
            return
        first, last = self.run.first_step, self.run.recipe.steps
        if not first < self.step <= last:
            raise ValueError(f"a state of this run takes step {first + 1} to {last}")


class Mask(Record, kind="mask", referenced=True):
    """Which weights are kept (make it with `prune`, which folds equal work).

    Keeps exactly round(density × prunable weights), the largest scores of `of`, ties by
    index, among those `within` keeps. `of` is None for scores that look at no weights.

    `keep_dense` names layers that are not pruned: "first", "last", or tensors; the others
    make up for them, so that the density is that of the network. A `pattern` keeps blocks
    or whole units instead: `density` is then n/m, or the share of units kept. With `rates`
    it is the density of the layers that they do not name.
    """

    network: Network
    score: Score
    of: "Init | State | None"
    density: float
    scope: Literal["global", "layerwise"] = "global"
    within: "Mask | None" = None
    ablation: Ablation | None = None
    keep_dense: tuple[str, ...] = added(default=())
    pattern: Pattern | None = added(default=None)
    rates: tuple[LayerRate, ...] = added(default=())

    def check(self) -> None:
        if self.rates and (self.scope != "layerwise" or self.keep_dense or self.pattern):
            raise ValueError(
                "layer_rates take scope: layerwise, no pattern, and rate 0 in place of keep_dense"
            )
        if self.rates and not self.score.is_one_shot:
            raise ValueError("layer_rates take a score of one iteration")
        if isinstance(self.pattern, NofM) and self.density != float(
            f"{self.pattern.n / self.pattern.m:.12g}"
        ):
            raise ValueError("the density of an n_of_m pattern is n/m")
        if isinstance(self.pattern, Units) and not isinstance(self.score, Magnitude):
            raise ValueError("units are pruned by the norm of their weights: score magnitude")
        if self.pattern is not None and (self.within is not None or self.keep_dense):
            raise ValueError("a pattern takes neither `within` nor keep_dense")
        if not 0 < self.density < 1:
            raise ValueError(f"density takes a number above 0 and below 1, not {self.density}")
        if isinstance(self.score, Random) != (self.of is None):
            raise ValueError("a random mask scores no weights, every other mask does")
        if isinstance(self.score, Random) and self.ablation is not None:
            raise ValueError("a shuffled or inverted random mask is a random mask")
        within = self.within
        if within is not None and known(within) and within.density < self.density:
            raise ValueError(f"density takes at most {within.density}, that of `within`")
        _same_network(self.network, self.of, self.within)


def _same_network(network: Network, start: "Init | State | None", mask: "Mask | None") -> None:
    if isinstance(start, State) and known(start.run) and start.run.network != network:
        raise ValueError("the weights to start from belong to another network")
    if mask is None or not known(mask) or mask.network is network:
        return
    if _architecture(mask.network) != _architecture(network):
        raise ValueError("the mask belongs to another network")


def _architecture(network: Network) -> tuple[object, ...]:
    """What networks for different datasets may have in common."""
    return network.name, network.width, network.options, network.prunable, network.semantics


# ---------------------------------------------------------------- folding equal work


def at(run: Run, step: int) -> Init | State:
    """The weights of `run` after `step` iterations; a dense run's first are its start's."""
    if step == run.first_step and run.mask is None:
        return run.start
    return State(run=run, step=step)


def prune(
    network: Network,
    score: Score,
    *,
    of: Init | State,
    density: float,
    scope: Literal["global", "layerwise"] = "global",
    within: Mask | None = None,
    ablation: Ablation | None = None,
    keep_dense: tuple[str, ...] = (),
    pattern: Pattern | None = None,
    rates: tuple[LayerRate, ...] = (),
) -> Mask | None:
    """The mask, or None where it keeps every weight (density 1 of any method is dense).

    A random mask looks at no weights, and shuffled or inverted it is a random mask again.
    """
    if density == 1:
        return None
    drawn = isinstance(score, Random)
    return Mask(
        network=network,
        score=score,
        of=None if drawn else of,
        density=density,
        scope=scope,
        within=within,
        ablation=None if drawn else ablation,
        keep_dense=tuple(sorted(set(keep_dense))),
        pattern=pattern,
        rates=tuple(sorted(rates, key=lambda rate: rate.layer)),
    )
