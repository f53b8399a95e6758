"""The values that everything computed is one of: `Run`, `State` and `Mask`.

Run   one training trajectory, fully determined
State a run at a step: its weights and buffers
Mask  which weights are kept

A pruning method is an expression of these (orchestrator/methods.py); equal expressions are
equal work. Fields hold only what changes the result. Lengths are in iterations.
"""

from typing import Literal, TypeAlias

from tasks.key import Record

# ---------------------------------------------------------------- what is trained, on what


class Network(Record, kind="network"):
    """An architecture, shaped for a dataset.

    `input_shape` is (channels, height, width); `name` is one of tasks.networks.
    """

    name: str
    input_shape: tuple[int, ...]
    classes: int

    def check(self) -> None:
        if len(self.input_shape) != 3 or min(*self.input_shape, self.classes) < 1:
            raise ValueError("a network takes (channels, height, width) and at least one class")


class Dataset(Record, kind="dataset"):
    """A dataset of tasks.data, by name, with its fixed split."""

    name: str


class Constant(Record, kind="constant"):
    """Learning rate held at `Recipe.lr`."""


class StepDecay(Record, kind="step_decay"):
    """Learning rate multiplied by `factor` at each step of `at`."""

    at: tuple[int, ...]
    factor: float = 0.1

    def check(self) -> None:
        if list(self.at) != sorted(set(self.at)) or min(self.at, default=1) < 1:
            raise ValueError(f"at takes rising steps from 1, not {list(self.at)}")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor takes a number between 0 and 1, not {self.factor}")


class Cosine(Record, kind="cosine"):
    """Learning rate annealed to 0 along half a cosine over the recipe's steps."""


Schedule: TypeAlias = Constant | StepDecay | Cosine


class Recipe(Record, kind="recipe"):
    """How to train: SGD on cross-entropy, in iterations.

    `warmup` steps rise linearly to the scheduled rate. Each epoch is a new order of all
    training examples, its last batch short when they do not divide. Train and test are
    evaluated at the first step, after every `evaluate_every` steps and at the end.
    """

    steps: int
    batch_size: int
    lr: float
    evaluate_every: int
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Schedule = Constant()
    warmup: int = 0

    def check(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every"):
            if not 1 <= getattr(self, name) < 2**31:
                raise ValueError(f"{name} takes at least 1, below 2^31, not {getattr(self, name)}")
        if self.lr <= 0:
            raise ValueError(f"lr takes a number above 0, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum takes a number from 0 to below 1, not {self.momentum}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov takes a momentum above 0")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay takes 0 or more, not {self.weight_decay}")
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup takes 0 to {self.steps} steps, not {self.warmup}")


class Init(Record, kind="init"):
    """Weights at step 0.

    Biases are 0. `batch_norm` is the scale γ of batch norm: ones, or uniform in [0, 1) as
    OpenLTH draws it.
    """

    seed: int
    weights: Literal["kaiming_normal", "glorot_normal"] = "kaiming_normal"
    batch_norm: Literal["ones", "uniform"] = "ones"


# ---------------------------------------------------------------- scores: larger is kept


class Examples(Record, kind="examples"):
    """Scoring data: `per_class` unaugmented training examples of each class, drawn by seed."""

    dataset: Dataset
    seed: int
    per_class: int = 10

    def check(self) -> None:
        if self.per_class < 1:
            raise ValueError(f"per_class takes at least 1, not {self.per_class}")


class Random(Record, kind="random"):
    """U(0, 1): the same density everywhere, in expectation."""

    seed: int


class Magnitude(Record, kind="magnitude"):
    """|θ| (Han et al. 2015; at initialization: Frankle et al. 2021)."""


class Snip(Record, kind="snip"):
    """|θ ⊙ ∂L/∂θ| (Lee et al. 2019, eq. 6)."""

    examples: Examples
    batch_norm: Literal["train", "eval"] = "train"


class Grasp(Record, kind="grasp"):
    """θ ⊙ Hg of the loss at softmax temperature T (Wang et al. 2020, eq. 8; largest kept)."""

    examples: Examples
    temperature: float = 200.0
    batch_norm: Literal["train", "eval"] = "train"

    def check(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature takes a number above 0, not {self.temperature}")


class Synflow(Record, kind="synflow"):
    """|θ ⊙ ∂R/∂θ|, R = 1ᵀ ∏|θ| 1, over `iterations` exponential steps (Tanaka 2020, alg. 1)."""

    iterations: int = 100

    def check(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations takes at least 1, not {self.iterations}")


Score: TypeAlias = Random | Magnitude | Snip | Grasp | Synflow


class Shuffled(Record, kind="shuffled"):
    """The finished mask's entries permuted, within each layer or over the whole network."""

    seed: int
    scope: Literal["layerwise", "global"] = "layerwise"


class Inverted(Record, kind="inverted"):
    """The weights that the score would keep first are pruned first."""


Ablation: TypeAlias = Shuffled | Inverted


# ---------------------------------------------------------------- the three nouns


class Run(Record, kind="run", referenced=True):
    """One training trajectory: from `start` at `first_step` to the recipe's last step.

    `mask` None trains the dense network. Pruned weights are zero at every step. Optimizer
    state starts afresh; learning rate and data order are those of the step.
    """

    network: Network
    dataset: Dataset
    recipe: Recipe
    start: "Init | State"
    order_seed: int
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
        first, last = self.run.first_step, self.run.recipe.steps
        if not first < self.step <= last:
            raise ValueError(f"a state of this run takes step {first + 1} to {last}")


class Mask(Record, kind="mask", referenced=True):
    """Which weights are kept (make it with `prune`, which folds equal work).

    Keeps exactly round(density × prunable weights), the largest scores of `of`, ties by
    index, among those `within` keeps. `of` is None for scores that look at no weights.
    """

    network: Network
    score: Score
    of: "Init | State | None"
    density: float
    scope: Literal["global", "layerwise"] = "global"
    within: "Mask | None" = None
    ablation: Ablation | None = None

    def check(self) -> None:
        if not 0 < self.density < 1:
            raise ValueError(f"density takes a number above 0 and below 1, not {self.density}")
        if isinstance(self.score, Random) != (self.of is None):
            raise ValueError("a random mask scores no weights, every other mask does")
        if isinstance(self.score, Random) and self.ablation is not None:
            raise ValueError("a shuffled or inverted random mask is a random mask")
        if self.within is not None and self.within.density < self.density:
            raise ValueError(f"density takes at most {self.within.density}, that of `within`")
        _same_network(self.network, self.of, self.within)


def _same_network(network: Network, start: "Init | State | None", mask: "Mask | None") -> None:
    if isinstance(start, State) and start.run.network != network:
        raise ValueError("the weights to start from belong to another network")
    if mask is not None and mask.network != network:
        raise ValueError("the mask belongs to another network")


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
    )
